"""RICORD-1C's clinical spreadsheet -> its studies."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from cxrs_edge.errors import DataError
from cxrs_edge.extras import import_extra

SHEET = "CR Pos - TCIA Submission"
PATIENT, DATE, EXAM, STUDY = "Anon MRN", "Anon TCIA Study Date", "Anon Exam Description", "Anon Study UID"
MAX_BYTES = 500_000_000
"""Inflated size of a spreadsheet; RICORD's is far below."""
TAIL = 5
"""Characters of a study's UID that name it in folders and images."""


@dataclass(frozen=True)
class Study:
    """One exam; `date` is ISO 8601 or as the spreadsheet writes it, both shifted by the anonymization."""

    patient: str
    uid: str
    date: str = ""
    exam: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Patient and the last characters of the UID."""
        return self.patient, self.uid[-TAIL:]


def read_studies(path: Path) -> tuple[Study, ...]:
    """Read the sheet of COVID-19 positive exams. Raises `DataError`."""
    openpyxl = import_extra("openpyxl", "data")
    try:
        with zipfile.ZipFile(path) as archive:
            inflated = sum(entry.file_size for entry in archive.infolist())
        if inflated > MAX_BYTES:
            raise DataError(f"{path}: inflates to {inflated:,} bytes; expected a spreadsheet")
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            studies = tuple(_read_sheet(workbook, path))
        finally:
            workbook.close()
    except DataError:
        raise
    except Exception as error:  # openpyxl raises nearly anything on damaged files.
        raise DataError(f"{path}: can't be read as an .xlsx spreadsheet: {error}") from error
    if not studies:
        raise DataError(f"{path}: sheet {SHEET!r} has no rows; expected one exam a row")
    return studies


def _read_sheet(workbook: Any, path: Path) -> Iterator[Study]:
    if SHEET not in workbook.sheetnames:
        raise DataError(f"{path}: no sheet {SHEET!r}; it has: {', '.join(workbook.sheetnames)}")
    rows = workbook[SHEET].iter_rows(values_only=True)
    header = [_text(cell) for cell in next(rows, ())]
    for column in (PATIENT, DATE, EXAM, STUDY):
        if header.count(column) != 1:
            raise DataError(f"{path}: {header.count(column)} columns {column!r} in {SHEET!r}; expected one")
    places = [header.index(column) for column in (PATIENT, STUDY, DATE, EXAM)]
    for cells in rows:
        patient, uid, day, exam = (_text(cells[place]) for place in places)
        # A sheet's last rows are often empty but formatted.
        if patient and uid:
            yield Study(patient, uid, day, exam)


def _text(cell: Any) -> str:
    if isinstance(cell, datetime):
        return cell.date().isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    return "" if cell is None else str(cell).strip()
