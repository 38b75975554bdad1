"""A training run that survives being killed: one checkpoint an epoch, and the same command resumes it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cxrs_bench.progress import Report
from cxrs_edge.errors import TrainingError
from cxrs_edge.extras import import_extra
from cxrs_export.backbones import is_backbone
from cxrs_export.batches import prefetch
from cxrs_export.keras_file import load_network
from cxrs_export.run_folder import (
    EpochResult,
    checkpoint_path,
    finish_epoch,
    finished_epochs,
    read_checkpoint,
    read_history,
    write_history,
)
from cxrs_export.train_config import TrainConfig

if TYPE_CHECKING:
    import keras


class Task(Protocol):
    """What is to be learned: the part in which training for levels and pretraining differ."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    def build(self) -> keras.Model:
        """The network that is trained, compiled, with the weights it starts from."""

    def batches(self, epoch: int) -> Iterator[tuple[Any, ...]]:
        """Inputs, targets and, where images count differently, their weights, of each step of an epoch (from 0)."""

    def validate(self, model: keras.Model, result: EpochResult) -> EpochResult:
        """The epoch's result with the figures of what was held out."""

    def finish(self, model: keras.Model) -> keras.Model:
        """The network to keep, made of the one that was trained."""


def run_epochs(
    task: Task,
    config: TrainConfig,
    run: Path,
    *,
    report: Report,
    on_epoch: Callable[[EpochResult], None],
) -> keras.Model:
    """Train, or go on after the last finished epoch, in the folder `run`; returns the trained network.

    Raises `TrainingError` when the loss is no longer a number or a checkpoint is damaged.
    """
    model, finished = _start_or_resume(task, run)
    for epoch in range(finished, config.epochs):
        result = task.validate(model, _train_epoch(model, task, config, epoch, report))
        finish_epoch(model, run, result)
        on_epoch(result)
    return task.finish(model)


def make_deterministic(seed: int) -> None:
    """Seed everything; without this a resumed run would end with other weights than an uninterrupted one."""
    keras = import_extra("keras", "export")
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate of a step (from 0) of `steps` in all."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))


def copy_weights(init: Path, model: keras.Model) -> None:
    """Start from another network's weights: its backbone, and its head where that has the same name and shape.

    Raises `TrainingError` when the backbones differ, `ModelError` for what is no network.
    """
    source = {layer.name: layer for layer in load_network(init)[0].layers}
    for layer in model.layers:
        theirs = source[layer.name].get_weights() if layer.name in source else []
        if [w.shape for w in theirs] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(theirs)
        elif is_backbone(layer):
            raise TrainingError(
                f"{init}: has other layers than the network to train; expected a model that cxrs-edge train or "
                f"pretrain wrote of the same network with {model.input_shape[-1]} channels"
            )


def file_sha256(file: Path) -> str:
    """Hash of a file that a run starts from; raises `TrainingError`."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise TrainingError(f"{file}: can't be read: {error.strerror}; name a Keras model") from error


def starting_point(data_digest: str, init: Path | None) -> str:
    """One line for the data and, where there are any, one for the weights that a run starts from."""
    lines = [data_digest] if init is None else [data_digest, f"{file_sha256(init)} init"]
    return "".join(f"{line}\n" for line in lines)


def init_provenance(init: Path | None) -> dict[str, Any]:
    """What a model's provenance says of the weights it started from."""
    if init is None:
        return {}
    return {"init_sha256": file_sha256(init), "init_training": dict(load_network(init)[1].training)}


def _start_or_resume(task: Task, run: Path) -> tuple[Any, int]:
    """The compiled model and the number of finished epochs."""
    finished = finished_epochs(run)
    if not finished:
        return task.build(), 0
    # Rows of an epoch whose checkpoint was not finished are dropped with it.
    write_history(run, read_history(run)[:finished])
    return read_checkpoint(checkpoint_path(run, finished)), finished


def _train_epoch(
    model: keras.Model, task: Task, config: TrainConfig, epoch: int, report: Report
) -> EpochResult:
    logs, total = [], config.epochs * task.steps
    for step, batch in enumerate(prefetch(task.batches(epoch)), epoch * task.steps):
        rate = learning_rate(config, step, total)
        model.optimizer.learning_rate.assign(rate)
        logs.append(model.train_on_batch(*batch, return_dict=True))
        if not math.isfinite(logs[-1]["loss"]):
            raise TrainingError(
                f"epoch {epoch + 1}: the loss is no longer a number; use a lower learning rate in a new folder"
            )
        report(f"epoch {epoch + 1}/{config.epochs}", step + 1, total)
    return EpochResult(
        epoch=epoch + 1,
        learning_rate=rate,
        loss=float(np.mean([log["loss"] for log in logs])),
        accuracy=float(np.mean([log.get("accuracy", math.nan) for log in logs])),
    )
