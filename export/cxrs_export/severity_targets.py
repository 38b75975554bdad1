"""What the network is to say of each image, and how much each saying counts.

All targets are probabilities or shares of 1, for a cross-entropy each. Nothing here is a hard label: two readers
disagree on every fifth zone, and an image with three affected zones is nearly one with two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrs_bench.labelled import LabelledImage, LabelledSet
from cxrs_bench.normals import NORMAL
from cxrs_bench.readings import LARGEST_EXTENT, MIRRORED_ZONES, ZONES, Readings, affected_zones

FloatArray = NDArray[np.float32]

SENIOR_SHARE = 2 / 3
"""Of the senior radiologist's word, beside the junior's."""
LEVEL2_FROM_ZONES = 2.5
LEVEL2_FROM_EXTENT = 2.5
"""Between level 1 and level 2: affected zones, and geographic extent (data card of the severity set)."""
SOFTNESS = 0.7
"""Zones, or points of extent, over which the level's target goes from about 1/2 to about 3/4."""


@dataclass(frozen=True)
class Targets:
    """Targets of N images and their weights; a weight of 0 where nobody read it.

    Attributes
    ----------
    level2 : N, probability of level 2.
    zones : N x 6, probability of any opacity.
    extents : N x 2, geographic and opacity, shares of 8.
    level_weights, zone_weights, extent_weights : N.
    """

    level2: FloatArray
    zones: FloatArray
    extents: FloatArray
    level_weights: FloatArray
    zone_weights: FloatArray
    extent_weights: FloatArray


def severity_targets(rows: LabelledSet, *, weak: float) -> Targets:
    """The targets of all images; a level that no reader of zones stands behind counts `weak`.

    An image of a patient with n images counts 1 / sqrt(n), scaled to a mean of 1: films of one patient
    resemble each other, yet each tells something. The level is not learned from films without a finding
    (`cxrs_bench.normals`): nobody graded them, and their source would be all they taught.
    """
    shares = _patient_shares(rows)
    read = [row.readings for row in rows]
    zoned = np.array([r.senior is not None for r in read], np.float32)
    extents = np.array([[r.geographic, r.opacity] for r in read], np.float32) / LARGEST_EXTENT
    sized = ~np.isnan(extents).any(axis=1)
    return Targets(
        level2=np.array([_level2(row) for row in rows], np.float32),
        zones=np.array([_zones(r) for r in read], np.float32),
        extents=np.nan_to_num(extents),
        level_weights=shares * np.array([_level_weight(row, weak) for row in rows], np.float32),
        zone_weights=shares * zoned,
        extent_weights=shares * sized.astype(np.float32),
    )


def batch_targets(
    targets: Targets, indices: NDArray[np.int64], mirrored: NDArray[np.bool_]
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Targets and weights of a batch by output; a mirrored image's lungs change places."""
    zones = targets.zones[indices]
    zones = np.where(mirrored[:, None], zones[:, MIRRORED_ZONES], zones)
    level2 = targets.level2[indices]
    wanted = {"level": np.stack([1 - level2, level2], 1), "zones": zones, "extents": targets.extents[indices]}
    weights = {
        "level": targets.level_weights[indices],
        "zones": targets.zone_weights[indices],
        "extents": targets.extent_weights[indices],
    }
    return wanted, weights


def _readers(readings: Readings) -> list[tuple[float, tuple[int, ...]]]:
    """The readers' zone scores with their shares.

    A junior's row of zeros where the senior sees three zones or more is taken for a row that was skipped.
    """
    senior, junior = readings.senior, readings.junior
    if senior is None:
        return []
    skipped = junior is None or (not any(junior) and affected_zones(senior) >= 3)
    if junior is None or skipped:
        return [(1.0, senior)]
    return [(SENIOR_SHARE, senior), (1 - SENIOR_SHARE, junior)]


def _level2(row: LabelledImage) -> float:
    readers = _readers(row.readings)
    if readers:
        return sum(share * _soft_step(affected_zones(z) - LEVEL2_FROM_ZONES) for share, z in readers)
    if not math.isnan(row.readings.geographic):
        return _soft_step(row.readings.geographic - LEVEL2_FROM_EXTENT)
    return float(row.level == 2)


def _level_weight(row: LabelledImage, weak: float) -> float:
    if row.basis == NORMAL:
        return 0.0
    return 1.0 if row.readings.senior is not None else weak


def _zones(readings: Readings) -> Sequence[float]:
    readers = _readers(readings)
    return [sum(share * (scores[zone] > 0) for share, scores in readers) for zone in range(len(ZONES))]


def _soft_step(distance: float) -> float:
    return 1 / (1 + math.exp(-distance / SOFTNESS))


def _patient_shares(rows: LabelledSet) -> FloatArray:
    images = Counter(row.patient for row in rows)
    shares = np.array([images[row.patient] ** -0.5 for row in rows], np.float32)
    return np.asarray(shares / shares.mean(), np.float32)
