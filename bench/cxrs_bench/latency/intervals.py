"""Medians and their intervals, of samples that come in rounds.

Samples of one round share its process, its memory layout and what else the machine did then, so they are not
independent; rounds are. The bootstrap therefore draws rounds with replacement, then samples within each. Drawn from
few rounds, percentile intervals are too narrow; they are expanded as Hesterberg does (What Teachers Should Know About
the Bootstrap, The American Statistician 69(4), 2015, section 4.3.2), with the number of rounds as the sample size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

FEWEST_ROUNDS = 3
"""From fewer, no interval that means anything can be computed."""
RESAMPLES = 5000
CONFIDENCE = 0.95

Rounds = Sequence[Sequence[float]]
"""The samples of each round, in ms; rounds may differ in length."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """What is told of one run's samples, ms; `median` has no interval (low = high = nan) from too few rounds."""

    samples: int
    rounds: int
    median: Interval
    mean: float
    p5: float
    p25: float
    p75: float
    p95: float
    p99: float


def summarize(rounds: Rounds) -> Summary:
    """Percentiles of all samples and the interval of their median; needs at least one sample."""
    pooled = np.concatenate([np.asarray(one, np.float64) for one in rounds])
    p5, p25, p75, p95, p99 = (float(value) for value in np.percentile(pooled, [5, 25, 75, 95, 99]))
    return Summary(
        samples=len(pooled),
        rounds=len(rounds),
        median=median_interval(rounds),
        mean=float(pooled.mean()),
        p5=p5,
        p25=p25,
        p75=p75,
        p95=p95,
        p99=p99,
    )


def median_interval(rounds: Rounds, *, seed: int = 0) -> Interval:
    """Median over all samples, each round weighing alike, with its interval."""
    low, high = _expanded(resampled_medians(rounds, seed=seed), len(rounds))
    return Interval(_median(rounds), low, high)


def ratio_interval(new: Rounds, old: Rounds, *, seed: int = 0) -> Interval:
    """Ratio of two medians, new / old, of runs measured independently, with its interval."""
    ratios = resampled_medians(new, seed=seed) / resampled_medians(old, seed=seed + 1)
    low, high = _expanded(ratios, min(len(new), len(old)))
    return Interval(_median(new) / _median(old), low, high)


def resampled_medians(rounds: Rounds, *, seed: int) -> NDArray[np.float64]:
    """Median of the drawn rounds' medians, float64, `RESAMPLES`.

    A median of medians weighs a round that was cut short by its time limit like the others.
    """
    rng = np.random.default_rng(seed)
    # A resample that has a round twice has two draws of its samples.
    shape = (RESAMPLES, len(rounds))
    drawn = np.stack([_drawn_medians(np.asarray(one, np.float64), shape, rng) for one in rounds])
    chosen = rng.integers(len(rounds), size=shape)
    medians: NDArray[np.float64] = np.median(
        drawn[chosen, np.arange(RESAMPLES)[:, None], np.arange(len(rounds))], axis=1
    )
    return medians


def _drawn_medians(
    samples: NDArray[np.float64], shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Medians of resamples of one round, float64 of this shape, without drawing the resamples.

    The middle values of n uniform draws are beta distributed (David and Nagaraja, Order Statistics, 2003, section
    2.2); as places in the ordered samples they give the same medians.
    """
    ordered, n = np.sort(samples), len(samples)
    middle = (n + 1) // 2
    low = rng.beta(middle, n - middle + 1, shape)
    high = low if n % 2 else low + (1 - low) * rng.beta(1, n - middle, shape)
    values: NDArray[np.float64] = (ordered[_places(low, n)] + ordered[_places(high, n)]) / 2
    return values


def _places(uniform: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    return np.minimum((uniform * n).astype(np.int64), n - 1)


def _median(rounds: Rounds) -> float:
    return float(np.median([np.median(one) for one in rounds]))


def _expanded(values: NDArray[np.float64], rounds: int) -> tuple[float, float]:
    """The interval of bootstrap values; (nan, nan) for fewer than `FEWEST_ROUNDS`."""
    if rounds < FEWEST_ROUNDS:
        return float("nan"), float("nan")
    quantile = t.ppf((1 + CONFIDENCE) / 2, rounds - 1) * sqrt(rounds / (rounds - 1))
    tail = norm.cdf(-quantile)
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
