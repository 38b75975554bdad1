"""The CSVs that a booklet exports, read strictly: one reader's zones and judgements of every case."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.label_table import SEPARATORS, Row, filled, read_table
from cxrs_bench.review.answers import NETWORK, Answers
from cxrs_edge.card import ZONES
from cxrs_edge.errors import DataError
from cxrs_edge.review.booklet import COLUMNS, RATINGS

MOST_BYTES = 10_000_000
"""A hundred times what 500 cases without comments take, and more than with the longest ones."""
NOT_RATED = -1


@dataclass(frozen=True)
class Reading:
    """One reader's reading of a case.

    Attributes
    ----------
    zones : a to f, affected or not; None if the case wasn't read.
    ratings : of each region that the case has: its place in `RATINGS`, or `NOT_RATED`.
    """

    zones: tuple[bool, ...] | None
    ratings: tuple[int, ...]


@dataclass(frozen=True)
class Reader:
    """One CSV: case n is `cases[n - 1]`."""

    name: str
    cases: tuple[Reading, ...]


def read_readers(paths: Sequence[Path], answers: Answers) -> tuple[Reader, ...]:
    """Read one CSV for each reader.

    Raises `DataError`, naming the file and the line: what can't be read or is no such CSV, is of another booklet,
    lacks cases or has one twice, holds a cell that the booklet can't have written; a reader who comes twice.
    """
    readers: dict[str, Reader] = {}
    for path in paths:
        reader = read_reader(path, answers)
        if reader.name.casefold() in readers:
            raise DataError(
                f"{path}: reader {reader.name!r} again; expected one CSV for each reader: keep the last one"
            )
        readers[reader.name.casefold()] = reader
    return tuple(readers.values())


def read_reader(path: Path, answers: Answers) -> Reader:
    """Read one CSV; raises as `read_readers`."""
    names: set[str] = set()
    cases: dict[int, Reading] = {}
    for where, row in _rows(path):
        booklet = filled(row, "booklet", where)
        if booklet != answers.booklet:
            raise DataError(f"{where}: of booklet {booklet}; expected {answers.booklet}, that of the answers")
        names.add(filled(row, "reader", where))
        number = _number(row, where, len(answers.cases))
        if number in cases:
            raise DataError(f"{where}: case {number} again; expected each case once")
        cases[number] = _reading(row, where, len(answers.cases[number - 1].critical))
    missing = [number for number in range(1, len(answers.cases) + 1) if number not in cases]
    if missing:
        raise DataError(
            f"{path}: {len(cases)} of {len(answers.cases)} cases, case {missing[0]} is missing; "
            "the file is cut off: export it again"
        )
    if len(names) > 1:
        raise DataError(f"{path}: readers {', '.join(sorted(names))}; expected one reader in a file")
    name = names.pop()
    if name.casefold() == NETWORK:
        raise DataError(f"{path}: reader {name!r}, as the network is called in tables; rename the reader")
    return Reader(name, tuple(cases[number] for number in sorted(cases)))


def _rows(path: Path) -> list[tuple[str, Row]]:
    try:
        # Opening a FIFO would wait for its writer.
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no such file"
            raise DataError(f"{path}: {kind}; expected a CSV that the booklet exported")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path}: {size} bytes; no booklet exports more than {MOST_BYTES}")
        separator = _separator(path)
        # A spreadsheet may end its table with rows of nothing.
        return [
            (where, row)
            for where, row in read_table(path, COLUMNS, separator)
            if any(map(str.strip, row.values()))
        ]
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text; expected a CSV that the booklet exported; a spreadsheet saves such a one as "
            '"CSV UTF-8"'
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: not CSV: {error}; export it again") from error


def _separator(path: Path) -> str:
    """The one that makes the header the booklet's, a comma if none does: spreadsheets write others."""
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DataError(f'{path}: UTF-16 text; expected UTF-8: a spreadsheet saves it as "CSV UTF-8"')
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
    fits = (one for one in SEPARATORS if {*COLUMNS} <= {*next(csv.reader([header], delimiter=one), ())})
    return next(fits, ",")


def _cell(row: Row, column: str) -> str:
    """Without what a spreadsheet adds: blanks, and to a whole number ``.0`` or ``,0``."""
    return re.sub(r"(?<=[0-9])[.,]0+$", "", row[column].strip())


def _number(row: Row, where: str, count: int) -> int:
    cell = _cell(row, "case")
    # A number of a million digits would take Python's patience, or its error.
    if not (cell.isascii() and cell.isdigit() and len(cell) < 9 and 1 <= int(cell) <= count):
        raise DataError(f"{where}: case {cell!r}; expected 1 to {count}")
    return int(cell)


def _reading(row: Row, where: str, regions: int) -> Reading:
    cells = [_cell(row, f"zone_{zone}") for zone in ZONES]
    if any(cells) and not all(cell in ("0", "1") for cell in cells):
        raise DataError(f"{where}: zones {','.join(cells)}; expected six of 0 and 1, or six empty cells")
    zones = tuple(cell == "1" for cell in cells) if any(cells) else None
    ratings = tuple(_rating(row, f"region_{number}", where) for number in (1, 2, 3))
    if any(rating != NOT_RATED for rating in (ratings if zones is None else ratings[regions:])):
        raise DataError(
            f"{where}: a region is judged that this case doesn't have, or before its zones were read"
        )
    return Reading(zones, ratings[:regions])


def _rating(row: Mapping[str, str], column: str, where: str) -> int:
    cell = row[column].strip()
    if not cell:
        return NOT_RATED
    if cell not in RATINGS:
        raise DataError(f"{where}: {column} {cell!r}; expected {', '.join(RATINGS)} or nothing")
    return RATINGS.index(cell)
