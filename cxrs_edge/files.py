"""Writing a file so that its name only ever stands for the whole of it, and names that are free."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

LONGEST_NAME = 180
"""Bytes; file systems allow 255, and suffixes are put behind it."""


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


def numbered_names(name: str) -> Iterator[str]:
    """The name itself, then scan-2.png and so on, without an end; a name too long is cut."""
    stem, suffix = Path(name).stem, Path(name).suffix
    if len(os.fsencode(suffix)) > LONGEST_NAME // 2:
        stem, suffix = name, ""
    while len(os.fsencode(stem + suffix)) > LONGEST_NAME:
        stem = stem[:-1]
    yield stem + suffix
    yield from (f"{stem}-{number}{suffix}" for number in itertools.count(2))
