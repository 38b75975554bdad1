"""Cross-validation: one training run for each fold, and out-of-fold predictions of every image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrs_bench.labelled import LabelledSet
from cxrs_bench.metrics import FloatArray
from cxrs_bench.out_of_fold import Judged, judged
from cxrs_bench.progress import Report
from cxrs_bench.severity_predictions import read_severity_predictions
from cxrs_edge.errors import TrainingError
from cxrs_export.batches import load_planes
from cxrs_export.keras_file import load_model
from cxrs_export.run_folder import HELD_OUT, MODEL, EpochResult
from cxrs_export.severity_network import logits_model
from cxrs_export.severity_task import predict_logits
from cxrs_export.train_config import TrainConfig
from cxrs_export.training import train

MASKED = 0.08
"""Of the side, at each edge: markers, letters and frames lie there."""


def cross_validate(
    rows: LabelledSet,
    config: TrainConfig,
    run: Path,
    *,
    normals: LabelledSet = (),
    init: Path | None = None,
    report: Report = lambda *_: None,
    on_epoch: Callable[[int, EpochResult], None] = lambda *_: None,
) -> Judged:
    """Train, or go on training, in ``run/fold-K`` for each fold K; returns the out-of-fold predictions.

    Parameters
    ----------
    normals : as for `cxrs_export.training.train`.
    init : what every fold starts from: a Keras model that was trained on none of these images, or the folder of
        another cross-validation of the same folds, whose fold K fold K starts from.
    on_epoch : told the fold and its epoch's result.

    Raises
    ------
    TrainingError : no folds, only the level is to be learned, or what `cxrs_export.training.train` raises.
    """
    folds = sorted({row.fold for row in rows} - {-1})
    if len(folds) < 2:
        raise TrainingError(
            f"folds: got {folds}; expected a set whose labels.csv has a column fold, 0 and up"
        )
    if not config.several_tasks:
        raise TrainingError("tasks: the level alone; expected a recipe with [tasks] zones or extents above 0")
    rows = tuple(row for row in rows if row.fold >= 0)
    for fold in folds:
        train(
            rows,
            replace(config, fold=fold),
            fold_folder(run, fold),
            normals=normals,
            init=_init_of(init, fold),
            report=report,
            on_epoch=partial(on_epoch, fold),
        )
    return read_out_of_fold(rows, run)


def read_out_of_fold(rows: LabelledSet, run: Path) -> Judged:
    """The out-of-fold predictions of a finished cross-validation."""
    folds = sorted({row.fold for row in rows} - {-1})
    files = [fold_folder(run, fold) / HELD_OUT for fold in folds]
    return judged(rows, [p for file in files for p in read_severity_predictions(file)])


def margins_with_masked_borders(of: Judged, run: Path, config: TrainConfig) -> FloatArray:
    """Margins (N) of the same networks when `MASKED` of the side is plain gray at each edge of what they see."""
    margins = np.zeros(len(of.rows))
    for fold in np.unique(of.folds):
        mine = np.flatnonzero(of.folds == fold)
        planes = load_planes([of.rows[number].path for number in mine], config.input_spec)
        network, _ = load_model(fold_folder(run, int(fold)) / MODEL)
        level = predict_logits(logits_model(network), mask_borders(planes), config)["level"]
        margins[mine] = level[:, 1] - level[:, 0]
    return margins


def mask_borders(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each image's edges in its mean gray; N x H x H in and out."""
    edge = round(MASKED * planes.shape[1])
    masked = np.broadcast_to(planes.mean(axis=(1, 2), keepdims=True), planes.shape).astype(np.uint8)
    masked[:, edge:-edge, edge:-edge] = planes[:, edge:-edge, edge:-edge]
    return masked


def fold_folder(run: Path, fold: int) -> Path:
    """Where a fold's run lies."""
    return run / f"fold-{fold}"


def _init_of(init: Path | None, fold: int) -> Path | None:
    return init if init is None or init.is_file() else fold_folder(init, fold) / MODEL
