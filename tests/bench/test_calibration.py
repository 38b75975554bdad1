from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrs_bench.calibration import (
    fit_conformal,
    fit_platt,
    fit_temperature,
    judge_calibration,
    level2_probability,
    reliability,
    risk_coverage,
)
from cxrs_edge.card import Conformal


def test_temperature_divides_the_margin() -> None:
    np.testing.assert_allclose(level2_probability(np.array([0.0, 2.0]), 2.0), [0.5, 1 / (1 + math.exp(-1))])


def test_hand_computed_losses() -> None:
    # Probabilities of level 2: 0.8 and 0.5; true levels 2 and 1.
    found = judge_calibration(np.array([math.log(4), 0.0]), np.array([2, 1]), 1.0)
    assert found.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.5)) / 2)
    assert found.brier == pytest.approx((0.2**2 + 0.5**2) / 2)
    # Two bins of one image each: |0.5 - 0| and |0.8 - 1|.
    assert found.ece == pytest.approx((0.5 + 0.2) / 2)


def test_an_overconfident_network_is_cooled_to_the_temperature_that_made_it() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, 4000)
    levels = np.where(rng.random(4000) < 1 / (1 + np.exp(-honest)), 2, 1)
    assert fit_temperature(honest * 3, levels) == pytest.approx(3, rel=0.1)
    assert fit_temperature(honest, levels) == pytest.approx(1, rel=0.1)


def test_platt_finds_the_scale_and_shift_that_were_lost() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0.5, 1.5, 6000)
    truth = rng.random(6000) < 1 / (1 + np.exp(-honest))
    shown = 1 / (1 + np.exp(-(honest - 0.8) / 2))
    found = fit_platt(shown, truth)
    assert found.scale == pytest.approx(2, rel=0.1)
    assert found.shift == pytest.approx(0.8, abs=0.1)
    np.testing.assert_allclose(
        found.apply(shown), 1 / (1 + np.exp(-(found.scale * (honest - 0.8) / 2 + found.shift))), rtol=1e-6
    )


def test_without_both_kinds_platt_changes_nothing() -> None:
    p = np.array([0.0, 0.25, 1.0])
    np.testing.assert_allclose(fit_platt(p, np.array([True] * 3)).apply(p), p, atol=1e-6)


def test_reliability_bins_hold_equally_many() -> None:
    level2 = np.array([0.9, 0.1, 0.2, 0.8])
    low, high = reliability(level2, np.array([2, 1, 2, 2]), bins=2)
    assert (low.images, low.predicted, low.observed) == (2, pytest.approx(0.15), 0.5)
    assert (high.images, high.predicted, high.observed) == (2, pytest.approx(0.85), 1.0)


def test_conformal_thresholds_by_hand() -> None:
    # Nine images of each level: floor(0.2 * 10) = 2, so the second smallest probability is the threshold.
    of_level2 = np.arange(1, 10) / 10
    level2 = np.concatenate([of_level2, 1 - of_level2 / 2])
    levels = np.repeat([2, 1], 9)
    assert fit_conformal(level2, levels, 0.2) == Conformal(0.2, pytest.approx(0.1), pytest.approx(0.2))


def test_too_few_images_leave_a_level_always_possible() -> None:
    found = fit_conformal(np.array([0.9, 0.2]), np.array([2, 1]), 0.1)
    assert (found.level1, found.level2) == (0.0, 0.0)


@given(st.integers(0, 1000), st.integers(30, 200), st.floats(0.05, 0.3))
@settings(max_examples=30, deadline=None)
def test_of_the_fitted_images_no_more_than_the_error_rate_fall_out(
    seed: int, count: int, rate: float
) -> None:
    rng = np.random.default_rng(seed)
    levels = np.tile([1, 2], count)
    level2 = rng.random(2 * count)
    rule = fit_conformal(level2, levels, rate)
    assert (1 - level2[levels == 1] < rule.level1).mean() <= rate
    assert (level2[levels == 2] < rule.level2).mean() <= rate


def test_risk_falls_with_the_least_certain_left_out() -> None:
    # Certain and right, less certain and wrong, on the fence and right.
    coverage, risk = risk_coverage(np.array([0.6, 0.99, 0.5]), np.array([1, 2, 2]))
    np.testing.assert_allclose(coverage, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3])
