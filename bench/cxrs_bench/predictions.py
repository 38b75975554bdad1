"""A model's predictions on graded images, and the CSV file they travel in.

The file is UTF-8 with a header and one row per image: image_id, patient_id, level (the truth: 1 or
2), probability_level2. Other columns are ignored. A float is read back as it was written.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from cxrs_bench.metrics import FloatArray, IntArray
from cxrs_edge.errors import DataError
from cxrs_edge.files import write_atomically

COLUMNS = ("image_id", "patient_id", "level", "probability_level2")


# Comparing arrays inside a generated __eq__ raises, so equality stays identity.
@dataclass(frozen=True, eq=False)
class Predictions:
    """n graded images with what a model says of them. The arrays are copied and made read-only.

    Parameters
    ----------
    names : n image ids, each once.
    patients : n patient ids; images of one patient share it, and intervals are taken over patients.
    levels : int, n: the true level, 1 or 2.
    level2 : float64, n: the model's probability of level 2 in 0..1, p2 / (p1 + p2).

    Raises DataError, naming the row and the image, when lengths disagree, there are no images, or a
    row breaks these rules.
    """

    names: tuple[str, ...]
    patients: tuple[str, ...]
    levels: IntArray
    level2: FloatArray

    def __post_init__(self) -> None:
        levels, level2 = np.asarray(self.levels), np.asarray(self.level2)
        _check_shapes(self.names, self.patients, levels, level2)
        rows = zip(self.names, self.patients, levels.tolist(), level2.tolist(), strict=True)
        _check_rows(_Row(f"predictions, row {number}", *row) for number, row in enumerate(rows, start=1))
        object.__setattr__(self, "levels", _read_only(levels.astype(np.int64)))
        object.__setattr__(self, "level2", _read_only(level2.astype(np.float64)))


class _Row(NamedTuple):
    where: str
    name: str
    patient: str
    level: int
    probability: float


def read_predictions(path: Path) -> Predictions:
    """Read a CSV file of predictions.

    Raises DataError, naming the file and the line, for a file that can't be read, isn't UTF-8 or
    CSV, lacks a column or has no rows, and for a row with a bad number, a repeated image or a
    patient that isn't named.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(_parse(path, file))
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save it as CSV in UTF-8") from error
    if not rows:
        raise DataError(f"{path}: no rows under the header; expected one for each image")
    _check_rows(rows)
    _, names, patients, levels, level2 = zip(*rows, strict=True)
    return Predictions(names, patients, np.array(levels), np.array(level2))


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write a CSV file of predictions; on failure the file that was there stays as it was.

    Raises DataError, naming the file, when it can't be written or an image id isn't Unicode text.
    """
    columns = (
        predictions.names,
        predictions.patients,
        predictions.levels.tolist(),
        map(repr, predictions.level2.tolist()),
    )
    text = io.StringIO(newline="")
    # The default line end, \r\n, makes the writer quote a lone \r in an id; "\n" would not.
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(zip(*columns, strict=True))
    try:
        write_atomically(path, text.getvalue().encode())
    except OSError as error:
        raise DataError(f"{path}: can't be written: {error.strerror}") from error
    except UnicodeEncodeError as error:
        row = error.object.splitlines()[error.object.count("\n", 0, error.start)]
        raise DataError(f"{path}: row {row!r} isn't Unicode; rename that image") from error


def _parse(path: Path, file: TextIO) -> Iterator[_Row]:
    # Without strict, a quote that is never closed swallows the rest of the file as one cell.
    reader = csv.reader(file, strict=True)
    try:
        header = next(reader, [])
        positions = [_position(path, header, column) for column in COLUMNS]
        for cells in filter(None, reader):
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(header):
                raise DataError(f"{where}: {len(cells)} cells; the header has {len(header)}")
            yield _row(where, *(cells[position] for position in positions))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV: {error}") from error


def _position(path: Path, header: list[str], column: str) -> int:
    if header.count(column) != 1:
        raise DataError(
            f"{path}, line 1: {header.count(column)} columns named {column!r} among {header}; "
            f"expected the header {','.join(COLUMNS)}"
        )
    return header.index(column)


def _row(where: str, name: str, patient: str, level: str, probability: str) -> _Row:
    try:
        parsed_level = int(level)
    except ValueError as error:
        raise DataError(f"{where} ({name}): level {level!r}; expected 1 or 2") from error
    try:
        return _Row(where, name, patient, parsed_level, float(probability))
    except ValueError as error:
        raise DataError(
            f"{where} ({name}): probability_level2 {probability!r}; expected a number in 0..1"
        ) from error


def _check_rows(rows: Iterable[_Row]) -> None:
    first: dict[str, str] = {}
    for where, name, patient, level, probability in rows:
        if not name:
            raise DataError(f"{where}: empty image_id; expected a name for each image")
        # " 7" beside "7" would be two patients, and would narrow every interval unseen.
        if not patient or patient != patient.strip():
            raise DataError(
                f"{where} ({name}): patient_id {patient!r}; expected an id without blanks around it"
            )
        if level not in (1, 2):
            raise DataError(f"{where} ({name}): level {level}; expected 1 or 2")
        if not 0 <= probability <= 1:
            raise DataError(f"{where} ({name}): probability_level2 {probability}; expected a number in 0..1")
        if name in first:
            raise DataError(f"{where}: image_id {name!r} again, first at {first[name]}; keep one row")
        first[name] = where


def _check_shapes(
    names: tuple[str, ...], patients: tuple[str, ...], levels: IntArray, level2: FloatArray
) -> None:
    shapes = {(len(names),), (len(patients),), levels.shape, level2.shape}
    if len(shapes) != 1 or not names:
        raise DataError(
            f"predictions: got {len(names)} names, {len(patients)} patients, levels of shape "
            f"{levels.shape} and probabilities of shape {level2.shape}; expected one of each for "
            "every image, and at least one image"
        )


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
