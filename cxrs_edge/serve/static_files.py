"""The page's files, read once: small, and no request ever names a path on the disk."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def add_static_files(app: FastAPI) -> None:
    """A route for each file, ``/`` for the page itself."""
    for file in sorted(FOLDER.iterdir()):
        _add(app, "/" if file.name == "index.html" else f"/static/{file.name}", file)


def _add(app: FastAPI, path: str, file: Path) -> None:
    content, media_type = file.read_bytes(), TYPES[file.suffix]

    async def send() -> Response:
        return Response(content, media_type=media_type)

    app.add_api_route(path, send, methods=["GET", "HEAD"], include_in_schema=False)
