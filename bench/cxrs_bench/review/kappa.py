"""Cohen's kappa: agreement beyond what two raters' own frequencies give by chance."""

from __future__ import annotations

import numpy as np

from cxrs_bench.metrics import FloatArray, IntArray


def cohen_kappa(a: IntArray, b: IntArray, categories: int, *, linear: bool = False) -> float:
    """Kappa of two raters' categories of the same n things.

    Cohen, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 1960; with weights
    Cohen, Psychological Bulletin 1968: 1 - observed / expected disagreement.

    Parameters
    ----------
    a, b : int, n, each 0 to `categories` - 1.
    linear : whether a disagreement counts by the distance of ordered categories, else each counts as one.

    Returns NaN where it is undefined: without things, or if both raters know but one and the same category.
    """
    if not len(a):
        return float("nan")
    table = np.bincount(a * categories + b, minlength=categories**2).reshape(categories, categories) / len(a)
    weights = _disagreement(categories, linear)
    expected = float((weights * np.outer(table.sum(axis=1), table.sum(axis=0))).sum())
    return 1 - float((weights * table).sum()) / expected if expected > 0 else float("nan")


def _disagreement(categories: int, linear: bool) -> FloatArray:
    places = np.arange(categories, dtype=np.float64)
    distance = np.abs(places[:, np.newaxis] - places)
    return distance if linear else np.sign(distance)
