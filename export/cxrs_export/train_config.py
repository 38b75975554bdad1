"""What a training run is: the paper's protocol as defaults, saved with the run as TOML."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from cxrs_edge.errors import TrainingError
from cxrs_edge.prepare import InputSpec
from cxrs_export.augment import Augmentation
from cxrs_export.backbones import NETWORKS, NetworkName
from cxrs_export.disguise import Disguise

Schedule = Literal["constant", "cosine"]
SCHEDULES: tuple[Schedule, ...] = ("constant", "cosine")
LIMITS = {
    "augmentation": {"translate": 1.0, "rotate": 180.0, "zoom": 0.9, "intensity": 1.0},
    "disguise": {"stretch": 1.0, "gamma": 2.0, "contrast": 0.9, "border": 0.4, "blur": 7.0},
    "tasks": {"zones": 100.0, "extents": 100.0, "weak": 1.0, "normals": 0.5},
}
"""Largest values: beyond those of the images, nothing is left of one."""


@dataclass(frozen=True)
class Tasks:
    """What is learned beside the level, as weights of the losses; all 0 is the paper's network, the level alone.

    Attributes
    ----------
    zones : of the cross-entropy of the six zones.
    extents : of the cross-entropy of geographic and opacity extent.
    weak : how much a level counts that no reader of zones stands behind.
    normals : share of an epoch's images that are films without a finding of another set, on which zones and extents
        learn what none is; the labelled images are seen as often as without them.
    """

    zones: float = 0.0
    extents: float = 0.0
    weak: float = 1.0
    normals: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """A run's settings; the defaults are the paper's (section 2).

    Attributes
    ----------
    network : ``cxrs``, or one of those it is compared with, ``resnet50`` and ``chexnet``.
    size, channels, crop_top : of the input, see `cxrs_edge.prepare.InputSpec`.
    epochs, batch : an epoch is ceil(images / batch) steps; a batch is half level 1, half level 2.
    learning_rate : Adam's, constant in the paper; ``cosine`` lets it fall to zero over the run.
    seed : of weights, order and augmentation.
    fold : images of this fold are held out for validation; -1 trains on the whole split.
    frozen_stages : stages, counted from the image with the stem, whose weights stay as they are.
    augmentation, disguise, tasks : see `Augmentation`, `Disguise` and `Tasks`; the paper has no disguise.
    """

    network: NetworkName = "cxrs"
    size: int = 480
    channels: int = 3
    crop_top: float = 0.08
    epochs: int = 137
    batch: int = 50
    learning_rate: float = 1e-4
    schedule: Schedule = "constant"
    seed: int = 0
    fold: int = -1
    frozen_stages: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    disguise: Disguise = field(default_factory=Disguise)
    tasks: Tasks = field(default_factory=Tasks)

    def __post_init__(self) -> None:
        _require(self.network in NETWORKS, "network", self.network, " or ".join(NETWORKS))
        _require(self.size >= 32 and self.size % 32 == 0, "size", self.size, "a multiple of 32")
        _require(self.channels in (1, 3), "channels", self.channels, "1 or 3")
        _require(0 <= self.crop_top <= 0.5, "crop_top", self.crop_top, "0 to 0.5")
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(self.batch >= 2 and self.batch % 2 == 0, "batch", self.batch, "an even number")
        _require(0 < self.learning_rate <= 1, "learning_rate", self.learning_rate, "above 0, at most 1")
        # NumPy's and Keras's generators take no others.
        _require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 2**32 - 1")
        _require(self.fold >= -1, "fold", self.fold, "-1 or more")
        _require(0 <= self.frozen_stages <= 4, "frozen_stages", self.frozen_stages, "0 to 4")
        stages = self.network == "cxrs" or not self.frozen_stages
        _require(stages, "frozen_stages", self.frozen_stages, f"0: {self.network} has no such stages")
        for table, limits in LIMITS.items():
            for key, limit in limits.items():
                value = getattr(getattr(self, table), key)
                _require(0 <= value <= limit, f"{table}.{key}", value, f"0 to {limit}")
        normals = self.several_tasks or not self.tasks.normals
        _require(normals, "tasks.normals", self.tasks.normals, "0 without tasks.zones or tasks.extents")
        _require(self.schedule in SCHEDULES, "schedule", self.schedule, " or ".join(SCHEDULES))

    @property
    def several_tasks(self) -> bool:
        """Whether more is learned than the level."""
        return self.tasks.zones > 0 or self.tasks.extents > 0

    @property
    def input_spec(self) -> InputSpec:
        return InputSpec(size=self.size, channels=self.channels, crop_top=self.crop_top)


def read_config(path: Path) -> TrainConfig:
    """Read a TOML file; unknown keys and wrong types are `TrainingError`s that name the key."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: can't be read: {error}") from error
    augmentation = Augmentation(**_table(values, "augmentation", Augmentation(), path))
    disguise = Disguise(**_table(values, "disguise", Disguise(), path))
    tasks = Tasks(**_table(values, "tasks", Tasks(), path))
    return TrainConfig(
        **_typed(values, TrainConfig(), path, ""), augmentation=augmentation, disguise=disguise, tasks=tasks
    )


def write_config(config: TrainConfig, path: Path) -> None:
    """Save as TOML; `read_config` gives the same configuration back."""
    values = asdict(config)
    tables = {name: cast("dict[str, Any]", values.pop(name)) for name in LIMITS}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for name, ranges in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in ranges.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(values: dict[str, Any], name: str, defaults: object, path: Path) -> dict[str, Any]:
    ranges = values.pop(name, {})
    if not isinstance(ranges, dict):
        raise TrainingError(f"{path}: {name}: got {ranges!r}; expected a table")
    return _typed(ranges, defaults, path, f"{name}.")


def _typed(values: dict[str, Any], defaults: object, path: Path, prefix: str) -> dict[str, Any]:
    known = {f.name: type(getattr(defaults, f.name)) for f in fields(cast("Any", defaults))}
    typed = {}
    for key, value in values.items():
        if key not in known:
            raise TrainingError(f"{path}: {prefix}{key}: unknown; expected {', '.join(known)}")
        if known[key] is float and type(value) is int:
            value = float(value)
        if type(value) is not known[key]:
            raise TrainingError(f"{path}: {prefix}{key}: got {value!r}; expected {known[key].__name__}")
        typed[key] = value
    return typed


def _require(ok: bool, key: str, value: object, expected: str) -> None:
    if not ok:
        raise TrainingError(f"{key}: got {value!r}; expected {expected}")
