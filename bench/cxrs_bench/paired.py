"""Does one model grade better than another on the same images? McNemar's test and the paired difference of AUCs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest

from cxrs_bench.evaluation import Estimate, rows_of_same_images
from cxrs_bench.metrics import IntArray, auc, figures, predicted_levels
from cxrs_bench.predictions import Predictions
from cxrs_bench.resampling import patient_interval


@dataclass(frozen=True)
class PairedDifference:
    """Model `a` against model `b`.

    Attributes
    ----------
    right_by_a_only, right_by_b_only : images.
    mcnemar_p : exact two-sided p of McNemar's test: how often chance alone would tilt these images as much.
    auc_difference : AUC of `a` minus that of `b`, patients resampled.
    """

    right_by_a_only: int
    right_by_b_only: int
    mcnemar_p: float
    auc_difference: Estimate

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "auc_difference": self.auc_difference.to_json()}


def paired_difference(
    a: Predictions, b: Predictions, *, resamples: int = 2000, seed: int = 0
) -> PairedDifference:
    """Compare two models' predictions of the same images; raises `DataError` when the images differ."""
    b_level2 = b.level2[rows_of_same_images(a, b)]
    right_a, right_b = (predicted_levels(level2) == a.levels for level2 in (a.level2, b_level2))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())

    def difference(images: IntArray) -> float:
        levels = a.levels[images]
        return float(auc(levels, a.level2[images]) - auc(levels, b_level2[images]))

    return PairedDifference(
        right_by_a_only=only_a,
        right_by_b_only=only_b,
        mcnemar_p=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        auc_difference=patient_interval(difference, a.patients, resamples=resamples, seed=seed),
    )


def balanced_accuracy_difference(
    a: Predictions, b: Predictions, *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Balanced accuracy of `a` less that of `b` (-1..1), patients resampled; `DataError` when the images differ."""
    b_level2 = b.level2[rows_of_same_images(a, b)]

    def difference(images: IntArray) -> float:
        levels = a.levels[images]
        of_a, of_b = (figures(levels, level2[images]).balanced_accuracy for level2 in (a.level2, b_level2))
        return float(of_a - of_b)

    return patient_interval(difference, a.patients, resamples=resamples, seed=seed)


def render_difference(difference: PairedDifference) -> str:
    """Plain text."""
    d = difference
    value, low, high = (
        f"{x:+.4f}" for x in (d.auc_difference.value, d.auc_difference.low, d.auc_difference.high)
    )
    return (
        f"Right by the first only: {d.right_by_a_only}, by the second only: {d.right_by_b_only}; "
        f"McNemar's exact p {d.mcnemar_p:.3f}\nAUC difference: {value} ({low} to {high})\n"
    )
