"""Predictions of a labelled set by an exported file, through the device's own path from image to grade."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from cxrs_bench.labelled import LabelledSet
from cxrs_bench.predictions import Predictions
from cxrs_edge.grader import Grader

Report = Callable[[str, int, int], None]
"""As `cxrs_bench.progress.Report`."""


def predict_file(
    model: Path,
    rows: LabelledSet,
    *,
    engine: str = "auto",
    threads: int | None = None,
    report: Report = lambda *_: None,
) -> Predictions:
    """Grade every image of a labelled set (levels 1 and 2) with a ``.tflite`` or ``.onnx`` file."""
    return collect(rows, _levels(model, rows, engine, threads), report)


def collect(rows: LabelledSet, level2: Iterable[float], report: Report) -> Predictions:
    """The predictions that the probabilities of level 2, in the order of the rows, are."""
    found = []
    for number, probability in enumerate(level2, 1):
        found.append(probability)
        report("grading", number, len(rows))
    return Predictions(
        names=tuple(row.image_id for row in rows),
        patients=tuple(row.patient for row in rows),
        levels=np.array([row.level for row in rows]),
        level2=np.array(found, np.float64),
    )


def _levels(model: Path, rows: LabelledSet, engine: str, threads: int | None) -> Iterator[float]:
    # Figures count every image, also what the quality gate would reject.
    grader = Grader.open(model, engine=engine, threads=threads, gated=False)
    for row in rows:
        yield grader.grade(row.path).probabilities["level2"]
