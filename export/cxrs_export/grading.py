"""Predictions of a labelled set by a Keras model or an exported file, both through the device's preparation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cxrs_bench.grading import Report, collect, predict_file
from cxrs_bench.labelled import LabelledSet
from cxrs_bench.predictions import Predictions
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import pixels_needed, prepare


def predict_labelled(
    model: Path,
    rows: LabelledSet,
    *,
    engine: str = "auto",
    threads: int | None = None,
    report: Report = lambda *_: None,
) -> Predictions:
    """Grade every image of a labelled set (levels 1 and 2) with a ``.keras``, ``.tflite`` or ``.onnx`` file."""
    if model.suffix == ".keras":
        return collect(rows, _keras_levels(model, rows), report)
    return predict_file(model, rows, engine=engine, threads=threads, report=report)


def _keras_levels(model: Path, rows: LabelledSet) -> Iterator[float]:
    from cxrs_export.keras_file import load_model

    network, provenance = load_model(model)
    spec = provenance.input
    for row in rows:
        image = read_image(read_file(row.path), name=str(row.path), at_least=pixels_needed(spec))
        pixels = prepare(image, spec).astype(np.float32)
        level1, level2 = np.asarray(network.predict_on_batch(pixels), np.float64)[0]
        margin = math.log(max(level2, 1e-7) / max(level1, 1e-7)) / provenance.temperature
        yield 1 / (1 + math.exp(-margin))
