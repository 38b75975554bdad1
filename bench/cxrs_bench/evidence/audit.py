"""Bias audit: over how many images does a pasted mark move the level?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrs_bench.evaluation import Estimate
from cxrs_bench.evidence.marks import MARKS
from cxrs_bench.labelled import LabelledSet
from cxrs_bench.progress import Report
from cxrs_bench.resampling import patient_interval
from cxrs_edge.grade import grade
from cxrs_edge.grader import Grader


@dataclass(frozen=True)
class Marked:
    """One image with each mark: the level before, and level and level 2's probability with each mark of `MARKS`."""

    patient: str
    level: int | None
    level2: float
    levels: tuple[int | None, ...]
    level2s: tuple[float, ...]


def audit_marks(grader: Grader, rows: LabelledSet, report: Report) -> list[Marked]:
    """Grade each image as it is and with each mark; those that the grader rejects are left out."""
    found = []
    for number, row in enumerate(rows, start=1):
        examination = grader.examine(row.path)
        if examination.grade.outcome != "rejected":
            plane, channels = examination.pixels[0, :, :, 0], examination.pixels.shape[3]
            marked = [
                grade(grader.engine.infer(_to_pixels(mark(plane), channels)), grader.card)
                for mark in MARKS.values()
            ]
            found.append(
                Marked(
                    row.patient,
                    examination.grade.level,
                    examination.grade.probabilities["level2"],
                    tuple(decision.level for decision in marked),
                    tuple(decision.probabilities["level2"] for decision in marked),
                )
            )
        report("marking", number, len(rows))
    return found


def render_audit(marked: Sequence[Marked], *, resamples: int, seed: int) -> str:
    """Markdown: flips of the level, and how far level 2's probability moves, for each mark."""
    rows = [
        _row(
            name,
            [(m.level != m.levels[i], m.level2s[i] - m.level2, m.patient) for m in marked],
            resamples,
            seed,
        )
        for i, name in enumerate(MARKS)
    ]
    titles = "| mark | flips | share of images | mean shift of p(level 2) | largest |\n|---|---|---|---|---|"
    return "\n".join([f"{len(marked)} images.", "", titles, *rows]) + "\n"


def _row(name: str, images: Sequence[tuple[bool, float, str]], resamples: int, seed: int) -> str:
    flips = np.array([flip for flip, _, _ in images], np.float64)
    shifts = np.array([shift for _, shift, _ in images])
    share: Estimate = patient_interval(
        lambda chosen: float(flips[chosen].mean()),
        [patient for *_, patient in images],
        resamples=resamples,
        seed=seed,
    )
    return (
        f"| {name} | {int(flips.sum())} of {len(images)} | {share.value:.3f} ({share.low:.3f} to {share.high:.3f}) "
        f"| {shifts.mean():+.3f} | {np.abs(shifts).max():.3f} |"
    )


def _to_pixels(
    plane: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], channels: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.repeat(plane[np.newaxis, :, :, np.newaxis], channels, axis=3)
