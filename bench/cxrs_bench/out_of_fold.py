"""Predictions of images by networks that were trained on other patients, beside what the radiologists read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from cxrs_bench.calibration import (
    Platt,
    fit_conformal,
    fit_platt,
    fit_temperature,
    level2_probability,
)
from cxrs_bench.labelled import LabelledSet
from cxrs_bench.metrics import BoolArray, FloatArray, IntArray
from cxrs_bench.severity_predictions import SeverityPrediction
from cxrs_edge.card import Conformal
from cxrs_edge.errors import DataError

LOST_TO_LEVEL0 = 0.03
"""At most this share of images of level 1 or 2 may be called level 0."""
ERROR_RATE = 0.10
"""Of each level, at most this share may fall out of the set of possible levels."""


@dataclass(frozen=True, eq=False)
class Judged:
    """N images with what was said of them; rows and arrays in the same order.

    Attributes
    ----------
    margins : N.
    zones : N x 6 probabilities.
    extents : N x 2, geographic and opacity, 0..8.
    """

    rows: LabelledSet
    margins: FloatArray
    zones: FloatArray
    extents: FloatArray

    @property
    def levels(self) -> IntArray:
        return np.array([row.level for row in self.rows], np.int64)

    @property
    def folds(self) -> IntArray:
        return np.array([row.fold for row in self.rows], np.int64)

    @property
    def patients(self) -> list[str]:
        return [row.patient for row in self.rows]

    def at(self, chosen: BoolArray | IntArray) -> Judged:
        """Some of the images, by a mask or by numbers."""
        numbers = np.arange(len(self.rows))[chosen]
        rows = tuple(self.rows[number] for number in numbers)
        return Judged(rows, self.margins[numbers], self.zones[numbers], self.extents[numbers])


def judged(rows: LabelledSet, predictions: Sequence[SeverityPrediction]) -> Judged:
    """Join predictions with the set they were made of; raises `DataError` for an image that isn't in it."""
    known = {row.image_id: row for row in rows}
    for prediction in predictions:
        if prediction.image_id not in known:
            raise DataError(
                f"{prediction.image_id}: not in the labelled set; name the set that was predicted"
            )
    return Judged(
        rows=tuple(known[p.image_id] for p in predictions),
        margins=np.array([p.margin for p in predictions], np.float64),
        zones=np.array([p.zones for p in predictions], np.float64).reshape(-1, 6),
        extents=np.array([(p.geographic, p.opacity) for p in predictions], np.float64).reshape(-1, 2),
    )


@dataclass(frozen=True)
class Decision:
    """The numbers by which outputs become an outcome; see the card's field of that name.

    Attributes
    ----------
    temperature : the margin is divided by it.
    zones : what makes zones' probabilities those of the senior reader's zones above 0; a release folds it into
        the network's weights.
    level0 : level 0 when every zone's probability is below it.
    conformal : when to say `uncertain`.
    """

    temperature: float
    zones: Platt
    level0: float
    conformal: Conformal


def fit_decision(of: Judged) -> Decision:
    """Temperature and zones by log loss, thresholds by `LOST_TO_LEVEL0` and `ERROR_RATE` on levels 1 and 2."""
    zones = _fit_zones(of)
    graded = of.at(of.levels > 0)
    temperature = fit_temperature(graded.margins, graded.levels)
    level2 = level2_probability(graded.margins, temperature)
    highest = np.sort(zones.apply(graded.zones).max(axis=1))
    return Decision(
        temperature=temperature,
        zones=zones,
        level0=float(highest[int(LOST_TO_LEVEL0 * len(highest))]),
        conformal=fit_conformal(level2, graded.levels, ERROR_RATE),
    )


def _fit_zones(of: Judged) -> Platt:
    read = np.array([row.readings.senior is not None for row in of.rows])
    senior = np.array([row.readings.senior for row in of.rows if row.readings.senior is not None])
    return fit_platt(of.zones[read], senior.reshape(-1, of.zones.shape[1]) > 0)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What would be printed of N images.

    Attributes
    ----------
    level2 : calibrated probability.
    zones : N x 6, calibrated probabilities.
    levels : 0, 1 or 2.
    certain : bool; False is the outcome `uncertain`.
    possible1, possible2 : bool, whether the level is in the set of possible ones.
    """

    level2: FloatArray
    zones: FloatArray
    levels: IntArray
    certain: BoolArray
    possible1: BoolArray
    possible2: BoolArray


def cross_fitted(of: Judged) -> Outcomes:
    """Each fold's outcomes by the numbers that `fit_decision` finds on the other folds."""
    parts, order = [], []
    for fold in np.unique(of.folds):
        mine = of.folds == fold
        parts.append(outcomes(of.at(mine), fit_decision(of.at(~mine))))
        order.append(np.flatnonzero(mine))
    back = np.argsort(np.concatenate(order))
    names = [field.name for field in fields(Outcomes)]
    return Outcomes(**{name: np.concatenate([getattr(part, name) for part in parts])[back] for name in names})


def outcomes(of: Judged, decision: Decision) -> Outcomes:
    """Apply a decision, as the runtime does."""
    level2 = level2_probability(of.margins, decision.temperature)
    zones = decision.zones.apply(of.zones)
    clear = (zones < decision.level0).all(axis=1)
    one, two = 1 - level2 >= decision.conformal.level1, level2 >= decision.conformal.level2
    likelier2 = level2 >= 0.5
    return Outcomes(
        level2=level2,
        zones=zones,
        levels=np.where(clear, 0, np.where(likelier2, 2, 1)),
        certain=clear | ((one != two) & (two == likelier2)),
        possible1=one,
        possible2=two,
    )
