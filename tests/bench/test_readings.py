from __future__ import annotations

import math

import pytest

from cxrs_bench.readings import MIRRORED_ZONES, ZONES, Readings, affected_zones, parse_readings
from cxrs_edge.errors import DataError


def row(**cells: str) -> dict[str, str]:
    return {f"brixia_senior_{z}": "1" for z in ZONES} | cells


def test_all_that_was_read() -> None:
    cells = {f"brixia_junior_{z}": str(n % 4) for n, z in enumerate(ZONES)}
    found = parse_readings(row(**cells, geographic="2.6667", opacity="8"), "x:2")
    assert found == Readings((1,) * 6, (0, 1, 2, 3, 0, 1), 2.6667, 8.0)


def test_nothing_was_read() -> None:
    found = parse_readings({"image_id": "a"}, "x:2")
    assert (found.senior, found.junior) == (None, None)
    assert math.isnan(found.geographic)
    assert math.isnan(found.opacity)


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ({"brixia_senior_c": ""}, "brixia_senior_c ''"),
        ({"brixia_senior_a": "4"}, "brixia_senior_a '4'"),
        ({"brixia_senior_f": "1.5"}, "brixia_senior_f '1.5'"),
        ({"geographic": "8.1"}, "geographic '8.1'"),
        ({"geographic": "nan"}, "geographic 'nan'"),
        ({"opacity": "much"}, "opacity 'much'"),
    ],
)
def test_a_wrong_cell_is_named(cells: dict[str, str], named: str) -> None:
    with pytest.raises(DataError, match=r"labels\.csv:7: " + named.replace(".", r"\.")):
        parse_readings(row(**cells), "labels.csv:7")


def test_mirroring_swaps_the_lungs() -> None:
    assert "".join(ZONES[place] for place in MIRRORED_ZONES) == "defabc"


def test_affected_zones() -> None:
    assert affected_zones((0, 1, 3, 0, 0, 2)) == 3
