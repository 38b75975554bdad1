from __future__ import annotations

import numpy as np
import pytest

from cxrs_bench.paired import paired_difference, render_difference
from cxrs_bench.predictions import Predictions


def said(level2: list[float]) -> Predictions:
    """Six patients: three images of level 1, then three of level 2."""
    names = tuple("abcdef")
    return Predictions(names, names, np.array([1, 1, 1, 2, 2, 2]), np.array(level2))


def test_hand_computed() -> None:
    a = said([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    b = said([0.6, 0.7, 0.3, 0.65, 0.8, 0.4])
    found = paired_difference(a, b, resamples=200)
    assert (found.right_by_a_only, found.right_by_b_only) == (3, 0)
    # Two-sided exact binomial of 3 in 3: 2 / 8.
    assert found.mcnemar_p == pytest.approx(0.25)
    # b orders 6 of 9 pairs: 0.65 beats 0.6 and 0.3; 0.8 beats all; 0.4 beats 0.3.
    assert found.auc_difference.value == pytest.approx(1 - 6 / 9)
    assert "by the first only: 3" in render_difference(found)


def test_the_same_model_differs_in_nothing() -> None:
    a = said([0.1, 0.9, 0.3, 0.7, 0.2, 0.9])
    found = paired_difference(a, a, resamples=200)
    assert found.mcnemar_p == 1
    assert (found.auc_difference.value, found.auc_difference.low, found.auc_difference.high) == (0, 0, 0)
