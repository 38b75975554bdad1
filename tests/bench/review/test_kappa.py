"""Cohen's kappa by hand, and beside another implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrs_bench.review.kappa import cohen_kappa


def raters(table):
    """Two raters' codes whose confusion is this table."""
    pairs = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return np.array(pairs).reshape(-1, 2).T


@pytest.mark.parametrize(
    ("table", "linear", "expected"),
    [
        # Observed 35/50, by chance (25 * 30 + 25 * 20) / 2500 = 0.5: (0.7 - 0.5) / 0.5.
        ([[20, 5], [10, 15]], False, 0.4),
        ([[3, 0], [0, 2]], False, 1.0),
        # Both always say the other's opposite, each as often: observed 0, by chance 0.5.
        ([[0, 4], [4, 0]], False, -1.0),
        # Off by one 3 of 10, by two 2 of 10: 0.3 + 2 * 0.2 = 0.7. Marginals (4, 3, 3) and (4, 2, 4), by chance
        # (4 * 2 + 3 * 4 + 3 * 4 + 3 * 2) / 100 + 2 * (4 * 4 + 3 * 4) / 100 = 0.38 + 0.56.
        ([[2, 1, 1], [1, 1, 1], [1, 0, 2]], True, 1 - 0.7 / 0.94),
    ],
)
def test_by_hand(table, linear, expected):
    a, b = raters(table)
    assert cohen_kappa(a, b, len(table), linear=linear) == pytest.approx(expected)


def test_undefined_where_all_say_the_same_and_without_anything():
    nothing = np.array([], np.int64)
    assert math.isnan(cohen_kappa(np.zeros(5, np.int64), np.zeros(5, np.int64), 2))
    assert math.isnan(cohen_kappa(nothing, nothing, 2))


codes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40)


@given(codes, st.booleans())
def test_as_scikit_learn(pairs, linear):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    a, b = np.array(pairs).T
    ours = cohen_kappa(a, b, 3, linear=linear)
    if len({*a, *b}) == 1:
        assert math.isnan(ours)
        return
    theirs = metrics.cohen_kappa_score(a, b, labels=[0, 1, 2], weights="linear" if linear else None)
    assert ours == pytest.approx(theirs)
