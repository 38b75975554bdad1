"""What radiologists read in an X-ray beyond its level: six zones by two readers, and two extents.

Brixia score (Signoroni et al., Medical Image Analysis 2021): 0 none, 1 interstitial, 2 both with interstitial
predominance, 3 both with alveolar predominance, in the upper, middle and lower zone of the patient's right lung
(a, b, c) and left lung (d, e, f). Geographic and opacity extent (COVID-Net S, Wong et al., arXiv 2005.12855): 0 to 4
for each lung, added up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cxrs_bench.label_table import Row
from cxrs_edge.errors import DataError

ZONES = ("a", "b", "c", "d", "e", "f")
"""As on a film, the patient's right lung (a, b, c) is in the left half of the image."""
MIRRORED_ZONES = (3, 4, 5, 0, 1, 2)
"""Place of the zone that a zone becomes when the image is mirrored left to right."""
LARGEST_SCORE = 3
LARGEST_EXTENT = 8.0
READERS = ("senior", "junior")


@dataclass(frozen=True)
class Readings:
    """One image's readings; None, or nan, where nobody read it.

    Attributes
    ----------
    senior, junior : Brixia score 0..3 of zones a to f.
    geographic, opacity : extents 0..8.
    """

    senior: tuple[int, ...] | None = None
    junior: tuple[int, ...] | None = None
    geographic: float = math.nan
    opacity: float = math.nan


NOT_READ = Readings()


def parse_readings(row: Row, where: str) -> Readings:
    """Read the columns that a row has; raises `DataError` naming the column."""
    senior, junior = (_scores(row, f"brixia_{reader}_", where) for reader in READERS)
    return Readings(senior, junior, _extent(row, "geographic", where), _extent(row, "opacity", where))


def affected_zones(scores: tuple[int, ...]) -> int:
    """Zones with any opacity."""
    return sum(score > 0 for score in scores)


def _scores(row: Row, prefix: str, where: str) -> tuple[int, ...] | None:
    cells = [row.get(prefix + zone, "").strip() for zone in ZONES]
    if not any(cells):
        return None
    for zone, cell in zip(ZONES, cells, strict=True):
        if cell not in {str(score) for score in range(LARGEST_SCORE + 1)}:
            raise DataError(
                f"{where}: {prefix}{zone} {cell!r}; expected 0 to {LARGEST_SCORE}, or all six empty"
            )
    return tuple(int(cell) for cell in cells)


def _extent(row: Row, column: str, where: str) -> float:
    cell = row.get(column, "").strip()
    if not cell:
        return math.nan
    try:
        extent = float(cell)
    except ValueError:
        extent = math.nan
    if not 0 <= extent <= LARGEST_EXTENT:
        raise DataError(f"{where}: {column} {cell!r}; expected 0 to {LARGEST_EXTENT:g}, or nothing")
    return extent
