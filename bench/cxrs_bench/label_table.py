"""Rows of a ``labels.csv``, read strictly: a label under a wrong name is worse than no label."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cxrs_edge.errors import DataError
from cxrs_edge.image import SUFFIXES

Row = Mapping[str, str]


SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def read_table(path: Path, required: Sequence[str], separator: str = ",") -> Iterator[tuple[str, Row]]:
    """Yield ``file:line`` and the cells of each row; raises `DataError` for a torn table or a missing column.

    `separator` is one of `SEPARATORS`.
    `OSError`, `UnicodeDecodeError` and `csv.Error` are the caller's.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        # Without strict, a quote that is never closed swallows the rest of the file as one cell.
        reader = csv.DictReader(file, delimiter=separator, strict=True)
        header = list(reader.fieldnames or ())
        for column in required:
            if header.count(column) != 1:
                raise DataError(
                    f"{path}: {header.count(column) or 'no'} columns named {column}; "
                    f"expected each of {', '.join(required)} once"
                )
        for row in reader:
            where = f"{path}:{reader.line_num}"
            # A cell too many or too few moves the others under a wrong name.
            if None in row or None in row.values():
                raise DataError(
                    f"{where}: more or fewer cells than the header has columns; "
                    f"quote cells with {SEPARATORS[separator]}"
                )
            yield where, row


def filled(row: Row, key: str, where: str) -> str:
    """A cell that must hold something; raises `DataError`."""
    value = row.get(key, "").strip()
    if not value:
        raise DataError(f"{where}: {key} is empty; expected a value")
    return value


def with_suffix(image_id: str) -> str:
    """The file of an image: its id, which may end in a suffix; else it is a JPEG."""
    return image_id if image_id.lower().endswith(SUFFIXES) else f"{image_id}.jpg"


def image_path(images: Path, file: str, where: str) -> Path:
    """A file inside a folder: a list from elsewhere must not make the program read other files."""
    if not Path(file).name or Path(file).is_absolute() or ".." in Path(file).parts:
        raise DataError(f"{where}: file {file!r}; expected a name inside {images}")
    return images / file


def refuse_duplicates(image_ids: Sequence[str], path: Path) -> None:
    """Raise `DataError` naming an image that stands twice."""
    seen: set[str] = set()
    for image_id in image_ids:
        if image_id in seen:
            raise DataError(f"{path}: image_id {image_id} stands twice; expected it once")
        seen.add(image_id)
