"""Training for the airspace severity level, alone as in the paper or with zones and extents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrs_bench.labelled import LabelledSet, set_digest
from cxrs_bench.metrics import figures
from cxrs_bench.normals import NORMAL
from cxrs_bench.progress import Report
from cxrs_edge.errors import TrainingError
from cxrs_edge.extras import import_extra
from cxrs_export.baselines import level_network
from cxrs_export.batches import balanced_order, changed_batches, load_planes, plain_batches
from cxrs_export.keras_file import Provenance, package_versions, save_model
from cxrs_export.loop import (
    Task,
    copy_weights,
    init_provenance,
    make_deterministic,
    run_epochs,
    starting_point,
)
from cxrs_export.run_folder import HELD_OUT, MODEL, EpochResult, claim_folder
from cxrs_export.train_config import TrainConfig

if TYPE_CHECKING:
    import keras

Part = tuple[LabelledSet, NDArray[np.uint8]]
"""Images with their planes, N x H x H."""


def train(
    rows: LabelledSet,
    config: TrainConfig,
    run: Path,
    *,
    normals: LabelledSet = (),
    init: Path | None = None,
    report: Report = lambda *_: None,
    on_epoch: Callable[[EpochResult], None] = lambda _: None,
) -> Path:
    """Train, or go on training, in the folder `run`; returns the path of ``model.keras``. A finished run stays.

    Parameters
    ----------
    rows : training images of levels 1 and 2, and of level 0 where `config.tasks` are learned too; those of
        `config.fold` are held out: epochs are judged by them, and with several tasks what the trained network
        says of them is written to ``held-out.csv``.
    normals : training images without a finding (`cxrs_bench.normals`), for the share `config.tasks.normals`.
    init : a Keras model with the same backbone, whose weights the run starts from (any input size): one that
        `cxrs_export.pretraining` made, or an earlier stage.
    report, on_epoch : progress.

    Raises
    ------
    TrainingError : the folder holds a run with other settings or other data, or nothing to train on.
    """
    make_deterministic(config.seed)
    held_out = tuple(r for r in rows if 0 <= config.fold == r.fold)
    training_rows = tuple(r for r in rows if not 0 <= config.fold == r.fold)
    _check_rows(training_rows, held_out, config)
    _check_normals(normals, held_out, config)
    training_rows += normals
    claim_folder(run, config, starting_point(set_digest(training_rows), init))
    if (run / MODEL).exists():
        return run / MODEL
    # Before the training, so that nothing can be missing after it.
    provenance = _provenance(training_rows, config, init)
    spec = config.input_spec
    planes, unseen = (
        load_planes([row.path for row in part], spec, report) for part in (training_rows, held_out)
    )
    task = (_severity_task if config.several_tasks else _level_task)(
        config, init, (training_rows, planes), (held_out, unseen)
    )
    model = run_epochs(task, config, run, report=report, on_epoch=on_epoch)
    if config.several_tasks and held_out:
        _write_held_out(model, held_out, unseen, config, run / HELD_OUT)
    save_model(model, run / MODEL, provenance)
    return run / MODEL


def _level_task(config: TrainConfig, init: Path | None, training: Part, held_out: Part) -> Task:
    (rows, planes), (unseen_rows, unseen) = training, held_out
    return _LevelTask(config, init, planes, _levels(rows), unseen, _levels(unseen_rows))


def _severity_task(config: TrainConfig, init: Path | None, training: Part, held_out: Part) -> Task:
    from cxrs_export.severity_targets import severity_targets
    from cxrs_export.severity_task import NORMAL_KIND, SeverityTask

    (rows, planes), (unseen_rows, unseen) = training, held_out
    targets = severity_targets(rows, weak=config.tasks.weak)
    kinds = np.array([NORMAL_KIND if row.basis == NORMAL else row.level for row in rows], np.int64)
    return SeverityTask(config, init, planes, targets, kinds, unseen, _levels(unseen_rows))


def _write_held_out(
    model: keras.Model, rows: LabelledSet, planes: NDArray[np.uint8], config: TrainConfig, path: Path
) -> None:
    from cxrs_bench.severity_predictions import write_severity_predictions
    from cxrs_export.severity_network import logits_model
    from cxrs_export.severity_task import predict_logits, severity_predictions

    logits = predict_logits(logits_model(model), planes, config)
    write_severity_predictions(severity_predictions(rows, logits), path)


@dataclass(frozen=True)
class _LevelTask:
    """A `cxrs_export.loop.Task`: level 1 or 2, equally many of both in a batch."""

    config: TrainConfig
    init: Path | None
    planes: NDArray[np.uint8]
    levels: NDArray[np.int64]
    held_out: NDArray[np.uint8]
    held_out_levels: NDArray[np.int64]

    @property
    def steps(self) -> int:
        return -(-len(self.levels) // self.config.batch)

    def build(self) -> keras.Model:
        keras = import_extra("keras", "export")
        model = level_network(self.config.network, self.config.size, self.config.channels)
        if self.init is not None:
            copy_weights(self.init, model)
        model.compile(
            optimizer=keras.optimizers.Adam(self.config.learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model

    def batches(self, epoch: int) -> Iterator[tuple[Any, Any]]:
        order = balanced_order(self.levels, self.config.batch, self.config.seed, epoch)
        for batch in changed_batches(self.planes, order, self.config, epoch):
            yield batch.pixels, self.levels[batch.indices] - 1

    def validate(self, model: keras.Model, result: EpochResult) -> EpochResult:
        if not len(self.held_out):
            return result
        batches = plain_batches(self.held_out, self.config.channels)
        level2 = np.concatenate([np.asarray(model.predict_on_batch(pixels))[:, 1] for pixels in batches])
        probabilities = level2.astype(np.float64)
        truth = np.where(self.held_out_levels == 2, probabilities, 1 - probabilities)
        found = figures(self.held_out_levels, probabilities)
        return replace(
            result,
            validation_loss=float(-np.log(np.clip(truth, 1e-7, 1)).mean()),
            validation_accuracy=float(found.accuracy),
            validation_auc=float(found.auc),
        )

    def finish(self, model: keras.Model) -> keras.Model:
        return model


def _check_rows(training: LabelledSet, held_out: LabelledSet, config: TrainConfig) -> None:
    levels = {row.level for row in training}
    if levels - {0} != {1, 2} or (0 in levels and not config.several_tasks):
        raise TrainingError(
            f"training images: got levels {sorted(levels)}; expected level 1 and level 2, no others"
        )
    if config.fold >= 0 and not held_out:
        raise TrainingError(f"fold {config.fold}: no images; expected a fold of the data set")
    _check_patients(training, held_out, config)


def _check_normals(normals: LabelledSet, held_out: LabelledSet, config: TrainConfig) -> None:
    if normals and not config.tasks.normals:
        raise TrainingError(
            f"--normals: {len(normals)} normal images, but the recipe's tasks.normals is 0: give it a share, or "
            "leave them out"
        )
    if config.tasks.normals and not normals:
        raise TrainingError(
            f"tasks.normals: {config.tasks.normals:g} without normal images; name a set of findings with --normals"
        )
    _check_patients(normals, held_out, config)


def _check_patients(training: LabelledSet, held_out: LabelledSet, config: TrainConfig) -> None:
    shared = {row.patient for row in training} & {row.patient for row in held_out}
    if shared:
        raise TrainingError(
            f"fold {config.fold} shares patients with the rest: {', '.join(sorted(shared)[:5])}"
        )


def _levels(rows: LabelledSet) -> NDArray[np.int64]:
    return np.array([row.level for row in rows], np.int64)


def _provenance(rows: LabelledSet, config: TrainConfig, init: Path | None) -> Provenance:
    training = {
        "data_sha256": set_digest(rows),
        "split": ", ".join(sorted({row.split for row in rows})),
        "images": sum(row.basis != NORMAL for row in rows),
        "normals": sum(row.basis == NORMAL for row in rows),
        "patients": len({row.patient for row in rows}),
        "recipe": asdict(config),
        "packages": package_versions(),
        **init_provenance(init),
    }
    return Provenance(input=config.input_spec, training=training)
