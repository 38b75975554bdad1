"""Every method on every image: removal, curves, zones, and how steady the evidence map is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from cxrs_bench.evidence.fills import ALL_FILLS
from cxrs_bench.evidence.measures import correlation, removal_curves, zone_auc
from cxrs_bench.evidence.methods import OURS, Method, strongest_cells
from cxrs_bench.evidence.record import Records
from cxrs_bench.evidence.subject import Map, Subject
from cxrs_bench.labelled import LabelledImage, LabelledSet
from cxrs_bench.progress import Report
from cxrs_edge.evidence.factors import Removal
from cxrs_edge.evidence.fills import FILLS
from cxrs_edge.evidence.regions import Cells, Region, find_regions
from cxrs_edge.grader import Grader

FEWEST_ZONES, MOST_ZONES = 1, 5
"""Affected zones of an image whose zones can be told apart."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes
    ----------
    steps : of the deletion and insertion curves; 0 leaves them out.
    other_maps : name -> the evidence for the decided level by another network, such as the float one; its correlation
        with the evidence map is measured.
    """

    methods: Mapping[str, Method]
    steps: int
    other_maps: Mapping[str, Callable[[Subject], Map]] = field(default_factory=dict)


def measure_all(
    grader: Grader, rows: LabelledSet, settings: Settings, records: Records, report: Report
) -> None:
    """Add the record of each image that isn't in `records` yet; those without an explanation get the reason."""
    for number, row in enumerate(rows, start=1):
        if not records.has(row.image_id):
            records.add({"image_id": row.image_id, **_measure(grader, row, settings)})
        report("explaining", number, len(rows))


def _measure(grader: Grader, row: LabelledImage, settings: Settings) -> dict[str, Any]:
    examination = grader.examine(row.path)
    if examination.grade.level not in (1, 2):
        return {"skipped": examination.grade.outcome, "level": examination.grade.level}
    return measure_image(Subject(grader, examination), row, settings)


def measure_image(subject: Subject, row: LabelledImage, settings: Settings) -> dict[str, Any]:
    """One image's record, plain values; ``skipped`` if the map has no region to remove.

    Every method removes as many cells as all candidates have together: the evidence the candidates, the others their
    strongest cells.
    """
    regions = find_regions(subject.support)
    if not regions:
        return {"skipped": "no region"}
    cells = np.any([region.cells for region in regions], axis=0)
    affected = _affected(row)
    found = {
        name: _measure_method(subject, name, method, cells, affected, settings.steps)
        for name, method in settings.methods.items()
    }
    factors = _critical_cells(subject, regions)
    mirrored = subject.support_of(subject.plane[:, ::-1])[:, ::-1]
    return {
        "patient": row.patient,
        "level": subject.level,
        "probability": subject.probability,
        "cells": int(cells.sum()),
        "methods": found,
        "factor_cells": 0 if factors is None else int(factors.sum()),
        "factors": {} if factors is None else _removals(subject.remove(factors, ALL_FILLS)),
        "maps": {
            "flipped": correlation(subject.support, mirrored),
            **{
                name: correlation(subject.support, other(subject))
                for name, other in settings.other_maps.items()
            },
        },
    }


def _measure_method(
    subject: Subject, name: str, method: Method, ours: Cells, affected: tuple[bool, ...], steps: int
) -> dict[str, Any]:
    started = perf_counter()
    values = method(subject)
    seconds = perf_counter() - started
    cells = ours if name == OURS else strongest_cells(values, int(ours.sum()))
    deletion, insertion = removal_curves(subject, values, steps) if steps else (math.nan, math.nan)
    return {
        "seconds": seconds,
        "removed": _removals(subject.remove(cells, ALL_FILLS)),
        "deletion": deletion,
        "insertion": insertion,
        "zone_auc": zone_auc(values if subject.level == 2 else -values, affected) if affected else math.nan,
    }


def _critical_cells(subject: Subject, regions: tuple[Region, ...]) -> Cells | None:
    """The cells of all critical factors; None if no region passes."""
    critical = [
        region.cells for region in regions if all(r.changed for r in subject.remove(region.cells, FILLS))
    ]
    return np.any(critical, axis=0) if critical else None


def _removals(removals: tuple[Removal, ...]) -> dict[str, Any]:
    return {r.fill: {"probability": r.probability, "changed": r.changed} for r in removals}


def _affected(row: LabelledImage) -> tuple[bool, ...]:
    """The senior's affected zones, a to f; empty where nobody read them, or all or none are."""
    if row.readings.senior is None:
        return ()
    affected = tuple(score > 0 for score in row.readings.senior)
    return affected if FEWEST_ZONES <= sum(affected) <= MOST_ZONES else ()
