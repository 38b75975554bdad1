"""Records of images, one JSON object a line: what was measured stays when the work is interrupted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cxrs_edge.errors import DataError

SCHEMA = "cxrs-edge/evidence/1"


class Records:
    """A file of records, made or gone on with.

    Parameters
    ----------
    path : the first line says how it is measured, each other one is an image.
    how : plain values; a file with others is refused (`DataError`), as is what is no such file.
    """

    def __init__(self, path: Path, how: dict[str, Any]) -> None:
        self._path = path
        head = {"schema": SCHEMA, **how}
        self.images: list[dict[str, Any]] = []
        try:
            if path.exists() and path.stat().st_size:
                self._read(head)
            else:
                self._append(head)
        except OSError as error:
            raise DataError(f"{path}: can't be used: {error.strerror}") from error

    def has(self, image_id: str) -> bool:
        """Whether an image is in it, measured or skipped."""
        return any(image["image_id"] == image_id for image in self.images)

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The images that could be explained."""
        return [image for image in self.images if "methods" in image]

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record; raises `DataError` if it can't be written."""
        try:
            self._append(record)
        except OSError as error:
            raise DataError(f"{self._path}: can't be written: {error.strerror}") from error
        self.images.append(record)

    def _read(self, head: dict[str, Any]) -> None:
        lines = self._path.read_text("utf-8", errors="replace").splitlines(keepends=True)
        try:
            found = json.loads(lines[0])
            # What was killed amid a line has no newline at its end.
            self.images = [json.loads(line) for line in lines[1:] if line.endswith("\n")]
        except ValueError as error:
            raise DataError(f"{self._path}: no records of evidence; name another file") from error
        if found != json.loads(json.dumps(head)):
            raise DataError(f"{self._path}: measured otherwise ({found}); expected {head}; name another file")
        if not lines[-1].endswith("\n"):
            self._path.write_text("".join(lines[:-1]), "utf-8")

    def _append(self, value: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(value)}\n")
            file.flush()
            os.fsync(file.fileno())
