"""Intervals of medians, against values computed by hand or by drawing every resample."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("msgspec")

from cxrs_bench.latency.intervals import (
    _drawn_medians,
    median_interval,
    ratio_interval,
    resampled_medians,
    summarize,
)


def test_summary_by_hand() -> None:
    summary = summarize([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0]])
    # Medians of the rounds are 2, 5 and 9.
    assert summary.median.value == 5.0
    assert (summary.samples, summary.rounds, summary.mean) == (11, 3, 6.0)
    assert (summary.p5, summary.p25, summary.p95) == (1.5, 3.5, 10.5)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_medians_are_distributed_as_those_of_drawn_resamples(n: int) -> None:
    samples = np.random.default_rng(n).gamma(2.0, size=n)
    fast = _drawn_medians(samples, (40_000, 1), np.random.default_rng(0))[:, 0]
    drawn = np.median(np.random.default_rng(1).choice(samples, (40_000, n)), axis=1)
    # Rounding makes one value of sums in another order.
    values = np.unique(np.round(drawn, 9))
    shares = [[np.mean(np.round(found, 9) <= value) for value in values] for found in (fast, drawn)]
    assert np.abs(np.subtract(*shares)).max() < 0.015


def test_constant_samples_have_no_width() -> None:
    interval = median_interval([[7.0] * 9] * 4)
    assert (interval.low, interval.value, interval.high) == (7.0, 7.0, 7.0)


def test_few_rounds_have_no_interval() -> None:
    interval = median_interval([[7.0, 8.0], [7.5]])
    assert interval.value == pytest.approx(7.5)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_the_interval_widens_with_what_differs_between_rounds_not_with_samples() -> None:
    calm = [[10.0, 10.1, 10.2]] * 5
    drifting = [[10.0 + r, 10.1 + r, 10.2 + r] for r in range(5)]
    more_samples = [one * 50 for one in drifting]
    widths = [i.high - i.low for i in map(median_interval, (calm, drifting, more_samples))]
    assert widths[0] < 0.3
    assert min(widths[1:]) > 3.0


def test_resamples_are_drawn_by_round() -> None:
    medians = resampled_medians([[1.0], [2.0], [3.0]], seed=0)
    # The median of three draws of 1, 2, 3 is 2 in 13 of 27 cases.
    assert set(medians) == {1.0, 2.0, 3.0}
    assert np.mean(medians == 2.0) == pytest.approx(13 / 27, abs=0.03)


def test_ratio_of_known_medians() -> None:
    ratio = ratio_interval([[11.0, 11.0]] * 3, [[10.0, 10.0]] * 3)
    assert ratio.value == pytest.approx(1.1)
    assert ratio.low == pytest.approx(1.1)
    assert ratio.high == pytest.approx(1.1)


def test_coverage_with_few_rounds() -> None:
    """Of simulated runs whose rounds differ by more than their samples, 95 % of the intervals hold the truth."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(120):
        rounds = [rng.normal(rng.normal(100.0, 2.0), 1.0, 20) for _ in range(5)]
        interval = median_interval([list(one) for one in rounds])
        held += interval.low <= 100.0 <= interval.high
    assert held >= 0.9 * 120
