"""Honest probabilities: temperature, how well calibrated they are, and when to say `uncertain`.

Levels are 1 or 2; a margin is the logit of level 2 minus that of level 1, so level 2's probability is
1 / (1 + exp(-margin / temperature)) (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from cxrs_bench.metrics import BoolArray, FloatArray, IntArray
from cxrs_edge.card import Conformal

BINS = 10


@dataclass(frozen=True)
class Calibrated:
    """How far probabilities are from frequencies: means over images.

    Attributes
    ----------
    log_loss : nats.
    brier : squared difference to 0 or 1.
    ece : expected calibration error over `BINS` bins with equally many images.
    """

    log_loss: float
    brier: float
    ece: float


def level2_probability(margins: FloatArray, temperature: float) -> FloatArray:
    """N probabilities of level 2."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(margins) / temperature)))


def fit_temperature(margins: FloatArray, levels: IntArray) -> float:
    """The temperature with the least log loss, from 0.05 to 20."""

    def loss(log_temperature: float) -> float:
        return judge_calibration(margins, levels, math.exp(log_temperature)).log_loss

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return float(math.exp(found.x))


@dataclass(frozen=True)
class Platt:
    """Logits that are made honest by a scale and a shift (Platt, 1999)."""

    scale: float
    shift: float

    def apply(self, probabilities: FloatArray) -> FloatArray:
        """Probabilities in and out, any shape; 0 and 1 stay short of certainty."""
        p = np.clip(probabilities, 1e-7, 1 - 1e-7)
        return np.asarray(1 / (1 + np.exp(-(self.scale * np.log(p / (1 - p)) + self.shift))))


def fit_platt(probabilities: FloatArray, truth: BoolArray) -> Platt:
    """The scale and shift with the least log loss; where nothing was read, or all alike, nothing is changed."""
    if truth.all() or not truth.any():
        return Platt(1.0, 0.0)
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    logits, sign = np.log(p / (1 - p)), np.where(truth, 1.0, -1.0)

    def loss(x: FloatArray) -> float:
        # A touch of ridge keeps a set that can be told apart perfectly from an endless scale.
        return float(np.logaddexp(0, -sign * (x[0] * logits + x[1])).mean() + 1e-3 * (x[0] - 1) ** 2)

    scale, shift = minimize(loss, np.array([1.0, 0.0])).x
    return Platt(float(scale), float(shift))


def judge_calibration(margins: FloatArray, levels: IntArray, temperature: float) -> Calibrated:
    """Log loss, Brier score and expected calibration error at a temperature."""
    level2 = level2_probability(margins, temperature)
    right = np.where(levels == 2, level2, 1 - level2)
    bins = reliability(level2, levels)
    return Calibrated(
        log_loss=float(-np.log(np.clip(right, 1e-12, 1)).mean()),
        brier=float(((1 - right) ** 2).mean()),
        ece=float(sum(b.images * abs(b.predicted - b.observed) for b in bins) / len(levels)),
    )


@dataclass(frozen=True)
class Bin:
    """Images with similar probabilities: the mean probability of level 2, and the share that is level 2."""

    predicted: float
    observed: float
    images: int


def reliability(level2: FloatArray, levels: IntArray, bins: int = BINS) -> tuple[Bin, ...]:
    """The points of a reliability diagram: bins with equally many images (to one), by rising probability."""
    parts = np.array_split(np.argsort(level2, kind="stable"), min(bins, len(level2)))
    return tuple(
        Bin(float(level2[part].mean()), float((levels[part] == 2).mean()), len(part)) for part in parts
    )


def fit_conformal(level2: FloatArray, levels: IntArray, error_rate: float) -> Conformal:
    """Thresholds from calibrated probabilities of images that the network was not trained on.

    A level of which there are too few images for the error rate gets the threshold 0: it is always possible.
    """
    return Conformal(
        error_rate,
        level1=_threshold(1 - level2[levels == 1], error_rate),
        level2=_threshold(level2[levels == 2], error_rate),
    )


def _threshold(of_true_level: FloatArray, error_rate: float) -> float:
    """The largest threshold that a further image of the level misses with at most the error rate."""
    allowed = math.floor(error_rate * (len(of_true_level) + 1))
    return float(np.sort(of_true_level)[allowed - 1]) if allowed else 0.0


def risk_coverage(level2: FloatArray, levels: IntArray) -> tuple[FloatArray, FloatArray]:
    """Share of images graded, and of those the share graded wrong, when the least certain are left out.

    N and N, from the single most certain image to all.
    """
    certainty = np.abs(level2 - 0.5)
    wrong = (level2 >= 0.5) != (levels == 2)
    order = np.argsort(-certainty, kind="stable")
    graded = np.arange(1, len(levels) + 1)
    return graded / len(levels), np.cumsum(wrong[order]) / graded
