"""The folder of a training run: its settings, its history and the checkpoint that it goes on from.

It holds ``config.toml``, ``data.sha256``, ``history.csv``, ``curves.png``, ``epoch-NNNN.keras`` (the last finished
epoch, optimizer included), and at the end ``model.keras`` and, with a held-out fold, ``held-out.csv``.
"""

from __future__ import annotations

import csv
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrs_edge.errors import TrainingError
from cxrs_edge.extras import import_extra
from cxrs_edge.files import write_atomically
from cxrs_export.train_config import TrainConfig, read_config, write_config

if TYPE_CHECKING:
    import keras

CONFIG, HISTORY, MODEL, DIGEST = "config.toml", "history.csv", "model.keras", "data.sha256"
HELD_OUT = "held-out.csv"


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


def claim_folder(run: Path, config: TrainConfig, starting_point: str) -> None:
    """Write the settings of a new run, or refuse to go on with other ones.

    Parameters
    ----------
    starting_point : text that names the data and the weights that the run starts from.

    Raises
    ------
    TrainingError : the folder holds a run with other settings or another starting point, or can't be written.
    """
    # Without a finished epoch nothing would be lost, so a run that never got there binds nobody.
    if finished_epochs(run) or (run / MODEL).exists():
        if read_config(run / CONFIG) != config:
            raise TrainingError(
                f"{run}: holds a run with other settings (its {CONFIG}); use them or another folder"
            )
        if not (run / DIGEST).exists() or (run / DIGEST).read_text() != starting_point:
            raise TrainingError(
                f"{run}: holds a run on other images or from other weights; use the same or another folder"
            )
        return
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_config(config, run / CONFIG)
        write_atomically(run / DIGEST, starting_point.encode())
    except OSError as error:
        raise TrainingError(f"{run}: can't be written: {error.strerror}; name a folder that can") from error


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


def write_history(run: Path, results: list[EpochResult]) -> None:
    """Replace a run's ``history.csv``."""
    names = list(asdict(results[0])) if results else []
    lines = [names, *([repr(value) for value in asdict(r).values()] for r in results)]
    write_atomically(run / HISTORY, "".join(",".join(line) + "\n" for line in lines).encode())


def finished_epochs(run: Path) -> int:
    """How many epochs have a checkpoint behind them."""
    epochs = (path.stem.removeprefix("epoch-") for path in run.glob("epoch-*.keras"))
    return max((int(epoch) for epoch in epochs if epoch.isdecimal()), default=0)


def checkpoint_path(run: Path, epoch: int) -> Path:
    """Where the model stands as it was after that epoch (from 1)."""
    return run / f"epoch-{epoch:04d}.keras"


def read_checkpoint(path: Path) -> Any:
    """The compiled model with its optimizer's state; raises `TrainingError` for a damaged file."""
    keras = import_extra("keras", "export")
    try:
        return keras.saving.load_model(path)
    except Exception as error:  # Keras raises nearly anything on a damaged file.
        raise TrainingError(
            f"{path}: damaged checkpoint; remove it, and its run starts again from the beginning"
        ) from error


def finish_epoch(model: keras.Model, run: Path, result: EpochResult) -> None:
    """Write an epoch's row and checkpoint, and remove the checkpoint before it."""
    # History first: the checkpoint's name decides what is finished.
    write_history(run, [*read_history(run), result])
    target = checkpoint_path(run, result.epoch)
    partial = run / "unfinished.keras"
    model.save(partial)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.rename(target)
    checkpoint_path(run, result.epoch - 1).unlink(missing_ok=True)
