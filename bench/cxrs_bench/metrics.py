"""Figures of a two-level grading: level 1 against level 2, where level 2 is the positive class.

Every function takes n images as `levels` (int, n, values 1 or 2) and `level2` (float, n, the
probability of level 2 in 0..1), and optionally `weights` (float, ... x n, not negative): leading
axes of the weights are many weightings of the same images, measured at once. An undefined figure
(a level without images, or never predicted) is NaN, never 0 and never a warning.

An image is graded level 2 when its probability >= the threshold, so a tie is level 2. The runtime
grades level 2 when p2 >= p1; both rules agree at 0.5 if `level2` is p2 / (p1 + p2). An int8 softmax
rounds its two outputs separately and they need not sum to 1, so divide, don't take p2 as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
T = TypeVar("T")


class Figures(NamedTuple, Generic[T]):
    """One value per figure; the sensitivity of level 1 is the specificity of level 2."""

    sensitivity_level1: T
    sensitivity_level2: T
    ppv_level1: T
    ppv_level2: T
    accuracy: T
    balanced_accuracy: T
    auc: T


def figures(
    levels: IntArray,
    level2: FloatArray,
    *,
    threshold: float = 0.5,
    weights: FloatArray | None = None,
) -> Figures[FloatArray]:
    """Every figure, each an array of the weights' leading axes (0-d when there are none).

    Raises DataError when the arrays disagree in length, a level isn't 1 or 2, or a probability or
    the threshold isn't in 0..1.
    """
    confusion = confusion_matrix(levels, level2, threshold=threshold, weights=weights)
    sensitivities = sensitivity(confusion)
    ppvs = ppv(confusion)
    return Figures(
        sensitivity_level1=sensitivities[..., 0],
        sensitivity_level2=sensitivities[..., 1],
        ppv_level1=ppvs[..., 0],
        ppv_level2=ppvs[..., 1],
        accuracy=accuracy(confusion),
        balanced_accuracy=balanced_accuracy(confusion),
        auc=auc(levels, level2, weights=weights),
    )


def predicted_levels(level2: FloatArray, threshold: float = 0.5) -> IntArray:
    """Level (1 or 2) of each probability of level 2; a tie with the threshold is level 2."""
    if not 0 <= threshold <= 1:
        raise DataError(f"threshold: got {threshold}; expected a probability from 0 to 1")
    return np.where(level2 >= threshold, 2, 1).astype(np.int64)


def confusion_matrix(
    levels: IntArray,
    level2: FloatArray,
    *,
    threshold: float = 0.5,
    weights: FloatArray | None = None,
) -> FloatArray:
    """Summed weights, ... x 2 x 2: rows are the true level (1, 2), columns the predicted level."""
    _check(levels, level2, weights)
    cells = 2 * (levels - 1) + predicted_levels(level2, threshold) - 1
    image_weights = np.ones(levels.size) if weights is None else weights
    summed: FloatArray = image_weights @ np.eye(4)[cells]
    return summed.reshape(*summed.shape[:-1], 2, 2)


def sensitivity(confusion: FloatArray) -> FloatArray:
    """Share of each true level (1, 2) that is predicted as it: ... x 2."""
    return _ratio(_agreeing(confusion), confusion.sum(axis=-1))


def ppv(confusion: FloatArray) -> FloatArray:
    """Positive predictive value, the share of each predicted level (1, 2) that is true: ... x 2."""
    return _ratio(_agreeing(confusion), confusion.sum(axis=-2))


def accuracy(confusion: FloatArray) -> FloatArray:
    """Share of all images whose level is predicted right."""
    return _ratio(_agreeing(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def balanced_accuracy(confusion: FloatArray) -> FloatArray:
    """Mean of both levels' sensitivities; NaN unless both levels are present."""
    return np.asarray(sensitivity(confusion).mean(axis=-1))


def auc(levels: IntArray, level2: FloatArray, *, weights: FloatArray | None = None) -> FloatArray:
    """Area under the ROC curve: the Mann-Whitney probability that a level-2 image scores above a
    level-1 image, equal scores counted half; O(n log n)."""
    _check(levels, level2, weights)
    image_weights = np.ones(levels.size) if weights is None else weights
    order = np.argsort(level2)
    scores = level2[order]
    first_of_score = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))

    def weight_per_score(level: int) -> FloatArray:
        of_level = image_weights[..., order] * (levels[order] == level)
        return np.add.reduceat(of_level, first_of_score, axis=-1)

    negatives, positives = weight_per_score(1), weight_per_score(2)
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    won = (positives * below).sum(axis=-1)
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    # Fractional weights round differently in both sums, which would let a perfect order exceed 1.
    return np.asarray(np.minimum(_ratio(won, pairs), 1.0))


def patient_index(patients: Sequence[str]) -> IntArray:
    """Number of each image's patient (int, n): 0 for the first named, 1 for the next new one."""
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    return np.array([numbers[patient] for patient in patients], dtype=np.int64)


def patient_weights(patients: Sequence[str]) -> FloatArray:
    """Weight of each image (float, n) under which every patient counts equally: 1 / the number of
    that patient's images."""
    index = patient_index(patients)
    return np.asarray(1.0 / np.bincount(index)[index])


def _agreeing(confusion: FloatArray) -> FloatArray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    undefined = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=undefined, where=np.asarray(whole) > 0))


def _check(levels: IntArray, level2: FloatArray, weights: FloatArray | None) -> None:
    if levels.ndim != 1 or levels.size == 0 or level2.shape != levels.shape:
        raise DataError(
            f"metrics: got levels of shape {levels.shape} and probabilities of shape "
            f"{level2.shape}; expected one of each for every image, and at least one image"
        )
    if not np.isin(levels, (1, 2)).all():
        raise DataError(f"metrics: got levels {np.unique(levels)}; expected only 1 and 2")
    if not ((level2 >= 0) & (level2 <= 1)).all():
        raise DataError("metrics: got a probability that is NaN or outside 0..1; expected 0 to 1")
    if weights is not None and (weights.shape[-1:] != levels.shape or not (weights >= 0).all()):
        raise DataError(
            f"metrics: got weights of shape {weights.shape}; "
            f"expected {levels.size} in the last axis, none negative or NaN"
        )
