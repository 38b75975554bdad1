"""Published scores of films -> their level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.data.severity.clones import BRIXIA, COVID_NET, key_of, read_table
from cxrs_edge.errors import DataError

Zones = tuple[int, int, int, int, int, int]
"""Brixia scores 0 to 3 of the right lung's upper, middle and lower zone, then the left lung's."""
MAX_BRIXIA = 3
LEVEL1_ZONES = 2
"""Level 1 has opacities in one or two zones, level 2 in more."""
LEVEL0_GEOGRAPHIC, LEVEL1_GEOGRAPHIC = 0.5, 2.5
"""Largest Geographic scores (0 to 8) of level 0 and level 1: fitted on the films with both scores (docs/data.md)."""


@dataclass(frozen=True)
class Brixia:
    """One film as a senior and a junior radiologist scored it."""

    name: str
    senior: Zones
    junior: Zones


@dataclass(frozen=True)
class Geographic:
    """One film of COVID-Net's severity annotations; the rest as they give it."""

    name: str
    geographic: float
    opacity: float
    dataset: str
    patient: str
    view: str
    age: str
    sex: str


def read_brixia(clones: Path) -> dict[str, Brixia]:
    """By key; empty without the clone. Raises `DataError`."""
    columns = [f"{reader}-{zone}" for reader in "sj" for zone in "abcdef"]
    rows = read_table(
        clones,
        BRIXIA,
        ("data/public-annotations.csv", "public-annotations.csv"),
        ["filename", *columns],
    )
    scores = {}
    for row in rows:
        name = row["filename"]
        zones = [_score(row[column], name, MAX_BRIXIA) for column in columns]
        scores[key_of(name)] = Brixia(name, _zones(zones[:6]), _zones(zones[6:]))
    return scores


def read_geographic(clones: Path) -> dict[str, Geographic]:
    """By key, those films that were scored; empty without the clone. Raises `DataError`."""
    needs = ["filename", "geographic", "opacity", "patientid", "dataset", "view", "age", "sex"]
    rows = read_table(clones, COVID_NET, ("annotations/severity_annotations.csv",), needs)
    return {
        key_of(row["filename"]): Geographic(
            name=row["filename"],
            geographic=_score(row["geographic"], row["filename"], 8),
            opacity=_score(row["opacity"], row["filename"], 8),
            dataset=row["dataset"],
            patient=row["patientid"],
            view=row["view"],
            age=row["age"],
            sex=row["sex"],
        )
        for row in rows
        if row["geographic"] and row["opacity"]
    }


def zones_with_opacity(zones: Zones) -> int:
    """How many of the six zones have a score above 0."""
    return sum(zone > 0 for zone in zones)


def level_of_zones(zones: Zones) -> int:
    """0 without a zone with opacity, 1 with one or two, 2 with three or more."""
    count = zones_with_opacity(zones)
    return 0 if count == 0 else 1 if count <= LEVEL1_ZONES else 2


def level_of_geographic(score: float) -> int:
    """The weak label of a Geographic score, 0 to 8."""
    return 0 if score <= LEVEL0_GEOGRAPHIC else 1 if score <= LEVEL1_GEOGRAPHIC else 2


def _zones(scores: Sequence[float]) -> Zones:
    a, b, c, d, e, f = (int(score) for score in scores)
    return a, b, c, d, e, f


def _score(text: str, name: str, highest: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= highest:
        raise DataError(f"{name}: score {text!r}; expected a number from 0 to {highest}")
    return value
