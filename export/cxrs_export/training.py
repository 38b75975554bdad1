"""A training run that survives being killed: one checkpoint an epoch, and the same command resumes it.

A run folder holds ``config.toml``, ``history.csv``, ``curves.png``, ``epoch-NNNN.keras`` (the last finished
epoch, optimizer included), and at the end ``model.keras``.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrs_bench.labelled import LabelledSet, set_digest
from cxrs_bench.metrics import figures
from cxrs_bench.progress import Report
from cxrs_edge.errors import TrainingError
from cxrs_edge.extras import import_extra
from cxrs_edge.files import write_atomically
from cxrs_export.batches import TrainingImages, epoch_batches, load_planes, prefetch
from cxrs_export.keras_file import Provenance, load_model, package_versions, save_model
from cxrs_export.network import build_network
from cxrs_export.train_config import TrainConfig, read_config, write_config

if TYPE_CHECKING:
    import keras

CONFIG, HISTORY, MODEL, DIGEST = "config.toml", "history.csv", "model.keras", "data.sha256"
VALIDATION_BATCH = 8


@dataclass(frozen=True)
class EpochResult:
    """One row of ``history.csv``; validation figures are nan without a held-out fold."""

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float = math.nan
    validation_accuracy: float = math.nan
    validation_auc: float = math.nan


def train(
    rows: LabelledSet,
    config: TrainConfig,
    run: Path,
    *,
    init: Path | None = None,
    report: Report = lambda *_: None,
    on_epoch: Callable[[EpochResult], None] = lambda _: None,
) -> Path:
    """Train, or go on training, in the folder `run`; returns the path of ``model.keras``.

    Parameters
    ----------
    rows : training images of levels 1 and 2; those of `config.fold` are held out for validation.
    init : a Keras model with the same layers, whose weights the run starts from (any input size).
    report, on_epoch : progress.

    Raises
    ------
    TrainingError : the folder holds a run with other settings or other data, or nothing to train on.
    """
    keras = import_extra("keras", "export")
    _make_deterministic(keras, config.seed)
    held_out = tuple(r for r in rows if r.fold == config.fold and config.fold >= 0)
    training_rows = tuple(r for r in rows if r not in held_out)
    _check_rows(training_rows, held_out, config)
    _claim_folder(run, config, training_rows)
    images = _load(training_rows, config, report)
    validation = _load(held_out, config, report)
    model, finished = _start_or_resume(run, config, init)
    for epoch in range(finished, config.epochs):
        result = _train_epoch(model, images, config, epoch, report)
        result = _validate(model, validation, result)
        _finish_epoch(model, run, result)
        on_epoch(result)
    save_model(model, run / MODEL, _provenance(training_rows, config, init))
    return run / MODEL


def read_history(run: Path) -> list[EpochResult]:
    """The rows of a run's ``history.csv``, in order."""
    path = run / HISTORY
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            EpochResult(epoch=int(row.pop("epoch")), **{k: float(v) for k, v in row.items()})
            for row in csv.DictReader(file)
        ]


def _make_deterministic(keras: Any, seed: int) -> None:
    # Without this a resumed run would end with other weights than an uninterrupted one.
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _check_rows(training: LabelledSet, held_out: LabelledSet, config: TrainConfig) -> None:
    for level in (1, 2):
        if not any(row.level == level for row in training):
            raise TrainingError(f"no training images of level {level}; expected both levels")
    if config.fold >= 0 and not held_out:
        raise TrainingError(f"fold {config.fold}: no images; expected a fold of the data set")
    shared = {row.patient for row in training} & {row.patient for row in held_out}
    if shared:
        raise TrainingError(
            f"fold {config.fold} shares patients with the rest: {', '.join(sorted(shared)[:5])}"
        )


def _claim_folder(run: Path, config: TrainConfig, rows: LabelledSet) -> None:
    """Write the settings of a new run, or refuse to go on with other ones."""
    run.mkdir(parents=True, exist_ok=True)
    digest = set_digest(rows)
    if (run / DIGEST).exists():
        if read_config(run / CONFIG) != config:
            raise TrainingError(
                f"{run}: holds a run with other settings (its {CONFIG}); use them or another folder"
            )
        if (run / DIGEST).read_text().strip() != digest:
            raise TrainingError(f"{run}: holds a run on other images; use the same set or another folder")
        return
    write_config(config, run / CONFIG)
    # Written last: a folder with a digest has its configuration too.
    write_atomically(run / DIGEST, f"{digest}\n".encode())


def _load(rows: LabelledSet, config: TrainConfig, report: Report) -> TrainingImages:
    planes = np.empty((len(rows), config.size, config.size), np.uint8)
    for number, plane in enumerate(load_planes(rows, config.input_spec)):
        planes[number] = plane
        report("reading images", number + 1, len(rows))
    return TrainingImages(planes=planes, levels=np.array([r.level for r in rows], np.int64))


def _start_or_resume(run: Path, config: TrainConfig, init: Path | None) -> tuple[Any, int]:
    """The compiled model and the number of finished epochs."""
    keras = import_extra("keras", "export")
    finished = _finished_epochs(run)
    if finished:
        # Rows of an epoch whose checkpoint was not finished are dropped with it.
        _write_history(run, read_history(run)[:finished])
        return keras.saving.load_model(_checkpoint(run, finished)), finished
    model = build_network(size=config.size, channels=config.channels)
    if init is not None:
        model.set_weights(load_model(init)[0].get_weights())
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model, 0


def _finished_epochs(run: Path) -> int:
    return max((int(p.stem.split("-")[1]) for p in run.glob("epoch-*.keras")), default=0)


def _checkpoint(run: Path, epoch: int) -> Path:
    return run / f"epoch-{epoch:04d}.keras"


def _train_epoch(
    model: keras.Model, images: TrainingImages, config: TrainConfig, epoch: int, report: Report
) -> EpochResult:
    steps = -(-len(images.levels) // config.batch)
    batches = epoch_batches(
        images,
        config.augmentation,
        batch=config.batch,
        channels=config.channels,
        seed=config.seed,
        epoch=epoch,
    )
    logs = []
    for step, (pixels, classes) in enumerate(prefetch(batches)):
        rate = learning_rate(config, epoch * steps + step, config.epochs * steps)
        model.optimizer.learning_rate.assign(rate)
        logs.append(model.train_on_batch(pixels, classes, return_dict=True))
        report(f"epoch {epoch + 1}/{config.epochs}", epoch * steps + step + 1, config.epochs * steps)
    return EpochResult(
        epoch=epoch + 1,
        learning_rate=rate,
        loss=float(np.mean([log["loss"] for log in logs])),
        accuracy=float(np.mean([log["accuracy"] for log in logs])),
    )


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate of a step (from 0) of `steps` in all."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))


def _provenance(rows: LabelledSet, config: TrainConfig, init: Path | None) -> Provenance:
    training = {
        "data_sha256": set_digest(rows),
        "split": ", ".join(sorted({row.split for row in rows})),
        "images": len(rows),
        "patients": len({row.patient for row in rows}),
        "recipe": asdict(config),
        "packages": package_versions(),
    }
    if init is not None:
        training["init_training"] = dict(load_model(init)[1].training)
    return Provenance(input=config.input_spec, training=training)


def _validate(model: keras.Model, images: TrainingImages, result: EpochResult) -> EpochResult:
    if not len(images.levels):
        return result
    channels = int(model.input_shape[-1])
    level2 = []
    for start in range(0, len(images.levels), VALIDATION_BATCH):
        planes = images.planes[start : start + VALIDATION_BATCH]
        pixels = np.repeat(planes[..., np.newaxis].astype(np.float32), channels, axis=3)
        level2.append(np.asarray(model.predict_on_batch(pixels))[:, 1])
    probabilities = np.concatenate(level2).astype(np.float64)
    truth = np.where(images.levels == 2, probabilities, 1 - probabilities)
    found = figures(images.levels, probabilities)
    return EpochResult(
        **{
            **asdict(result),
            "validation_loss": float(-np.log(np.clip(truth, 1e-7, 1)).mean()),
            "validation_accuracy": float(found.accuracy),
            "validation_auc": float(found.auc),
        }
    )


def _finish_epoch(model: keras.Model, run: Path, result: EpochResult) -> None:
    """History first, checkpoint second: the checkpoint's name decides what is finished."""
    _write_history(run, [*read_history(run), result])
    target = _checkpoint(run, result.epoch)
    partial = run / "unfinished.keras"
    model.save(partial)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.rename(target)
    _checkpoint(run, result.epoch - 1).unlink(missing_ok=True)


def _write_history(run: Path, results: list[EpochResult]) -> None:
    names = list(asdict(results[0])) if results else []
    lines = [names, *([repr(value) for value in asdict(r).values()] for r in results)]
    write_atomically(run / HISTORY, "".join(",".join(line) + "\n" for line in lines).encode())
