"""What a network says of the severity of each image, and the CSV file it travels in."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.label_table import Row, filled, read_table, refuse_duplicates
from cxrs_bench.readings import LARGEST_EXTENT, ZONES
from cxrs_edge.errors import DataError
from cxrs_edge.files import write_atomically

COLUMNS = ("image_id", "margin", *(f"zone_{zone}" for zone in ZONES), "geographic", "opacity")


@dataclass(frozen=True)
class SeverityPrediction:
    """One image's.

    Attributes
    ----------
    margin : logit of level 2 minus that of level 1, before temperature.
    zones : probability of any opacity in zones a to f.
    geographic, opacity : extents, 0..8.
    """

    image_id: str
    margin: float
    zones: tuple[float, ...]
    geographic: float
    opacity: float


def write_severity_predictions(predictions: Iterable[SeverityPrediction], path: Path) -> None:
    """Write a CSV file, atomically; floats are read back as they were written."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for p in predictions:
        numbers = (p.margin, *p.zones, p.geographic, p.opacity)
        writer.writerow([p.image_id, *map(repr, numbers)])
    write_atomically(path, text.getvalue().encode())


def read_severity_predictions(path: Path) -> tuple[SeverityPrediction, ...]:
    """Read such a file; raises `DataError` naming the line and the column."""
    try:
        rows = list(read_table(path, COLUMNS))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    refuse_duplicates([filled(row, "image_id", where) for where, row in rows], path)
    return tuple(_prediction(row, where) for where, row in rows)


def _prediction(row: Row, where: str) -> SeverityPrediction:
    zones = tuple(_number(row, f"zone_{zone}", where, 0, 1) for zone in ZONES)
    extents = [_number(row, key, where, 0, LARGEST_EXTENT) for key in ("geographic", "opacity")]
    margin = _number(row, "margin", where, -math.inf, math.inf)
    return SeverityPrediction(filled(row, "image_id", where), margin, zones, *extents)


def _number(row: Row, column: str, where: str, low: float, high: float) -> float:
    try:
        number = float(row[column])
    except ValueError:
        number = math.nan
    if not (low <= number <= high and math.isfinite(number)):
        raise DataError(f"{where}: {column} {row[column]!r}; expected a number from {low:g} to {high:g}")
    return number
