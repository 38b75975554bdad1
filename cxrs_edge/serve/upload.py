"""A request's body -> bytes in memory, bounded in size and time; nothing goes through a file."""

from __future__ import annotations

import asyncio
import io

from fastapi import Request

from cxrs_edge.image import MAX_BYTES
from cxrs_edge.serve.refusal import Refusal

PAUSE_SECONDS = 15.0
"""Between two pieces of a body."""
BODY_SECONDS = 300.0
"""For all of it: 100 MB at 3 Mbit/s."""


def declared_size(request: Request) -> int:
    """Bytes that the body will have, at most `MAX_BYTES`; raises `Refusal`."""
    if "transfer-encoding" in request.headers:
        raise Refusal(411, "input", "image: no Content-Length; send the file with its length, in one piece")
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refusal(
            415, "input", "image: a form; send the file itself as the body (curl --data-binary @scan.dcm)"
        )
    size = int(request.headers.get("content-length", "0"))
    if size > MAX_BYTES:
        limit = f"expected one X-ray of at most {MAX_BYTES // 1_000_000} MB; export it smaller"
        raise Refusal(413, "image", f"image: {size} bytes; {limit}")
    return size


async def read_body(request: Request) -> bytes:
    """All of the body.

    Raises `Refusal` when it comes too slowly, `starlette.requests.ClientDisconnect` when the client leaves.
    """
    # Its value is handed out without a copy.
    body = io.BytesIO()
    stream = aiter(request.stream())
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                body.write(await asyncio.wait_for(anext(stream), PAUSE_SECONDS))
    except StopAsyncIteration:
        return body.getvalue()
    except TimeoutError as error:
        raise Refusal(408, "input", "image: sent too slowly; try again nearer to the server") from error
