"""Training for all that is read of severity: level, zones and extents at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cxrs_bench.labelled import LabelledSet
from cxrs_bench.metrics import figures
from cxrs_bench.severity_predictions import SeverityPrediction
from cxrs_export.batches import changed_batches, plain_batches, shared_order
from cxrs_export.loop import copy_weights
from cxrs_export.network import freeze_stages
from cxrs_export.run_folder import EpochResult
from cxrs_export.severity_network import build_severity_network, full_model, logits_model
from cxrs_export.severity_targets import Targets, batch_targets
from cxrs_export.train_config import TrainConfig

Logits = dict[str, NDArray[np.float64]]

LEVEL_SHARES = (0.2, 0.3, 0.5)
"""Of levels 0, 1 and 2 in an epoch: half level 2, as in the paper, though most images are."""
NORMAL_KIND = len(LEVEL_SHARES)
"""In the place of a level: a film without a finding of another set."""


@dataclass(frozen=True)
class SeverityTask:
    """A `cxrs_export.loop.Task`.

    Attributes
    ----------
    planes, targets, kinds : of the training images, N x H x H, and N: levels 0 to 2, or `NORMAL_KIND`.
    held_out, held_out_levels : of the images that epochs are judged by.
    """

    config: TrainConfig
    init: Path | None
    planes: NDArray[np.uint8]
    targets: Targets
    kinds: NDArray[np.int64]
    held_out: NDArray[np.uint8]
    held_out_levels: NDArray[np.int64]

    @property
    def steps(self) -> int:
        labelled = int((self.kinds != NORMAL_KIND).sum())
        return math.ceil(labelled / self.config.batch / (1 - self.config.tasks.normals))

    def build(self) -> keras.Model:
        network = build_severity_network(
            size=self.config.size, channels=self.config.channels, network=self.config.network
        )
        if self.init is not None:
            copy_weights(self.init, network)
        freeze_stages(network, self.config.frozen_stages)
        model = logits_model(network)
        model.compile(
            optimizer=keras.optimizers.Adam(self.config.learning_rate),
            loss={
                "level": keras.losses.CategoricalCrossentropy(from_logits=True),
                "zones": keras.losses.BinaryCrossentropy(from_logits=True),
                "extents": keras.losses.BinaryCrossentropy(from_logits=True),
            },
            loss_weights={
                "level": 1.0,
                "zones": self.config.tasks.zones,
                "extents": self.config.tasks.extents,
            },
        )
        return model

    def batches(self, epoch: int) -> Iterator[tuple[Any, ...]]:
        order = shared_order(
            *_groups(self.kinds, self.config.tasks.normals),
            (self.steps, self.config.batch),
            (self.config.seed, epoch),
        )
        for batch in changed_batches(self.planes, order, self.config, epoch):
            yield batch.pixels, *batch_targets(self.targets, batch.indices, batch.mirrored)

    def validate(self, model: keras.Model, result: EpochResult) -> EpochResult:
        graded = self.held_out_levels > 0
        if not graded.any():
            return result
        level = predict_logits(model, self.held_out, self.config)["level"][graded]
        margins, levels = level[:, 1] - level[:, 0], self.held_out_levels[graded]
        level2 = 1 / (1 + np.exp(-margins))
        found = figures(levels, level2)
        return replace(
            result,
            validation_loss=float(np.logaddexp(0, np.where(levels == 2, -margins, margins)).mean()),
            validation_accuracy=float(found.accuracy),
            validation_auc=float(found.auc),
        )

    def finish(self, model: keras.Model) -> keras.Model:
        return full_model(
            model, size=self.config.size, channels=self.config.channels, network=self.config.network
        )


def _groups(kinds: NDArray[np.int64], normals: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number the kinds that occur, and say how large a share of an epoch each one gets."""
    present, groups = np.unique(kinds, return_inverse=True)
    levels = np.append(LEVEL_SHARES, 0)[present]
    return groups, np.where(present == NORMAL_KIND, normals, levels / levels.sum() * (1 - normals))


def predict_logits(model: keras.Model, planes: NDArray[np.uint8], config: TrainConfig) -> Logits:
    """Logits of all images by a `logits_model`; float64, ``level`` N x 2, ``zones`` N x 6, ``extents`` N x 2."""
    batches = [model.predict_on_batch(pixels) for pixels in plain_batches(planes, config.channels)]
    return {name: np.concatenate([b[name] for b in batches]).astype(np.float64) for name in batches[0]}


def severity_predictions(rows: LabelledSet, outputs: Logits) -> tuple[SeverityPrediction, ...]:
    """The predictions of images by the logits that `predict_logits` gave of them."""
    zones, extents = (1 / (1 + np.exp(-outputs[name])) for name in ("zones", "extents"))
    return tuple(
        SeverityPrediction(
            row.image_id, float(level[1] - level[0]), tuple(zone.tolist()), *(8 * extent).tolist()
        )
        for row, level, zone, extent in zip(rows, outputs["level"], zones, extents, strict=True)
    )
