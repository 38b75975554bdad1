"""Writing a file so that its name only ever stands for the whole of it."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, fsync, rename: a crash leaves the old file or the new one, never half of one."""
    partial = path.with_name(f".{path.name}.unfinished")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
