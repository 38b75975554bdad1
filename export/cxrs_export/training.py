"""A training run that survives being killed: one checkpoint an epoch, and the same command resumes it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrs_bench.labelled import LabelledSet, set_digest
from cxrs_bench.metrics import figures
from cxrs_bench.progress import Report
from cxrs_edge.errors import TrainingError
from cxrs_edge.extras import import_extra
from cxrs_export.batches import TrainingImages, epoch_batches, load_planes, prefetch
from cxrs_export.keras_file import Provenance, load_model, package_versions, save_model
from cxrs_export.network import build_network
from cxrs_export.run_folder import (
    MODEL,
    EpochResult,
    checkpoint_path,
    claim_folder,
    finish_epoch,
    finished_epochs,
    read_checkpoint,
    read_history,
    write_history,
)
from cxrs_export.train_config import TrainConfig

if TYPE_CHECKING:
    import keras

VALIDATION_BATCH = 8


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
    held_out = tuple(r for r in rows if 0 <= config.fold == r.fold)
    training_rows = tuple(r for r in rows if not 0 <= config.fold == r.fold)
    _check_rows(training_rows, held_out, config)
    claim_folder(run, config, _starting_point(training_rows, init))
    # Before the training, so that nothing can be missing after it.
    provenance = _provenance(training_rows, config, init)
    images = _load(training_rows, config, report)
    validation = _load(held_out, config, report)
    model, finished = _start_or_resume(run, config, init)
    for epoch in range(finished, config.epochs):
        result = _train_epoch(model, images, config, epoch, report)
        result = _validate(model, validation, result)
        finish_epoch(model, run, result)
        on_epoch(result)
    save_model(model, run / MODEL, provenance)
    return run / MODEL


def _make_deterministic(keras: Any, seed: int) -> None:
    # Without this a resumed run would end with other weights than an uninterrupted one.
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _check_rows(training: LabelledSet, held_out: LabelledSet, config: TrainConfig) -> None:
    levels = sorted({row.level for row in training})
    if levels != [1, 2]:
        raise TrainingError(f"training images: got levels {levels}; expected level 1 and level 2, no others")
    if config.fold >= 0 and not held_out:
        raise TrainingError(f"fold {config.fold}: no images; expected a fold of the data set")
    shared = {row.patient for row in training} & {row.patient for row in held_out}
    if shared:
        raise TrainingError(
            f"fold {config.fold} shares patients with the rest: {', '.join(sorted(shared)[:5])}"
        )


def _starting_point(rows: LabelledSet, init: Path | None) -> str:
    """One line for the data and, where there are any, one for the weights that a run starts from."""
    lines = [set_digest(rows)] if init is None else [set_digest(rows), f"{_sha256(init)} init"]
    return "".join(f"{line}\n" for line in lines)


def _load(rows: LabelledSet, config: TrainConfig, report: Report) -> TrainingImages:
    planes = np.empty((len(rows), config.size, config.size), np.uint8)
    for number, plane in enumerate(load_planes(rows, config.input_spec)):
        planes[number] = plane
        report("reading images", number + 1, len(rows))
    return TrainingImages(planes=planes, levels=np.array([r.level for r in rows], np.int64))


def _start_or_resume(run: Path, config: TrainConfig, init: Path | None) -> tuple[Any, int]:
    """The compiled model and the number of finished epochs."""
    keras = import_extra("keras", "export")
    finished = finished_epochs(run)
    if finished:
        # Rows of an epoch whose checkpoint was not finished are dropped with it.
        write_history(run, read_history(run)[:finished])
        return read_checkpoint(checkpoint_path(run, finished)), finished
    model = build_network(size=config.size, channels=config.channels)
    if init is not None:
        _copy_weights(init, model)
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model, 0


def _copy_weights(init: Path, model: keras.Model) -> None:
    weights = load_model(init)[0].get_weights()
    if [w.shape for w in weights] != [w.shape for w in model.weights]:
        raise TrainingError(
            f"{init}: has other layers than the network to train; expected a model that cxrs-edge train wrote "
            f"with {model.input_shape[-1]} channels"
        )
    model.set_weights(weights)


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
        if not math.isfinite(logs[-1]["loss"]):
            raise TrainingError(
                f"epoch {epoch + 1}: the loss is no longer a number; use a lower learning rate in a new folder"
            )
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
        training["init_sha256"] = _sha256(init)
        training["init_training"] = dict(load_model(init)[1].training)
    return Provenance(input=config.input_spec, training=training)


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise TrainingError(f"{file}: can't be read: {error.strerror}; name a Keras model") from error


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
