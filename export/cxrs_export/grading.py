"""Predictions of a labelled set by a Keras model or an exported file, both through the device's preparation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrs_bench.grading import Report, collect, predict_file
from cxrs_bench.labelled import LabelledImage, LabelledSet
from cxrs_bench.out_of_fold import Judged, judged
from cxrs_bench.predictions import Predictions
from cxrs_bench.severity_predictions import SeverityPrediction
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import InputSpec, Pixels, pixels_needed, prepare

if TYPE_CHECKING:
    import keras

    from cxrs_export.keras_file import Provenance


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


def judge_labelled(
    network: keras.Model,
    provenance: Provenance,
    rows: LabelledSet,
    *,
    report: Report = lambda *_: None,
) -> Judged:
    """What a Keras network with zones and extents says of every image of a labelled set."""
    from cxrs_export.keras_file import infer

    predictions = []
    for number, row in enumerate(rows, 1):
        found = infer(network, _prepared(row, provenance.input))
        predictions.append(
            SeverityPrediction(
                row.image_id,
                float(found["evidence"].astype(np.float64).sum()),
                tuple(found["zones"][0].tolist()),
                *found["extents"][0].tolist(),
            )
        )
        report("grading", number, len(rows))
    return judged(rows, predictions)


def _keras_levels(model: Path, rows: LabelledSet) -> Iterator[float]:
    from cxrs_export.keras_file import infer, load_model

    network, provenance = load_model(model)
    spec = provenance.input
    for row in rows:
        level1, level2 = infer(network, _prepared(row, spec))["probabilities"][0].astype(np.float64)
        margin = math.log(max(level2, 1e-7) / max(level1, 1e-7)) / provenance.temperature
        yield 1 / (1 + math.exp(-margin))


def _prepared(row: LabelledImage, spec: InputSpec) -> Pixels:
    image = read_image(read_file(row.path), name=str(row.path), at_least=pixels_needed(spec))
    return prepare(image, spec)
