"""What can be told of the level without looking at the lungs: the floor under every figure.

A logistic regression on the source, the view and the shape of the film, fitted and judged on the same folds of
patients as the networks. A network that isn't well above it may live on the same shortcuts.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image
from scipy.optimize import minimize

from cxrs_bench.labelled import LabelledImage, LabelledSet
from cxrs_bench.metrics import FloatArray, IntArray

RIDGE = 1.0
"""Weight of the squared coefficients against the summed log loss of the images."""


def shortcut_margins(rows: LabelledSet) -> FloatArray:
    """Margin of level 2 over level 1 of each image (N), out of fold; both levels count the same in each fit.

    Level 0 counts as level 1 in the fit: below level 2.
    """
    features = shortcut_features(rows)
    folds = np.array([row.fold for row in rows])
    is_two = np.array([row.level == 2 for row in rows])
    margins = np.zeros(len(rows))
    for fold in np.unique(folds):
        mine = folds == fold
        margins[mine] = features[mine] @ _fit(features[~mine], is_two[~mine])
    return margins


def shortcut_features(rows: LabelledSet) -> FloatArray:
    """N x features: one column a source and a view, shape and size of the film in standard deviations, and 1."""
    columns = [[row.source == source for row in rows] for source in sorted({row.source for row in rows})]
    columns += [[row.view == view for row in rows] for view in sorted({row.view for row in rows})]
    shapes = np.array([_shape(row) for row in rows])
    spread = shapes.std(axis=0)
    shapes = (shapes - shapes.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.column_stack([np.array(columns, np.float64).T, shapes, np.ones(len(rows))])


def _shape(row: LabelledImage) -> tuple[float, float]:
    """Logarithms of width over height and of the number of pixels."""
    with Image.open(row.path) as image:
        width, height = image.size
    return math.log(width / height), math.log(width * height)


def _fit(features: FloatArray, is_two: IntArray) -> FloatArray:
    """Coefficients of a ridge logistic regression in which both levels weigh the same."""
    share = is_two.mean()
    weights = np.where(is_two, 0.5 / share, 0.5 / (1 - share))
    sign = np.where(is_two, 1.0, -1.0)

    def loss(coefficients: FloatArray) -> tuple[float, FloatArray]:
        margins = sign * (features @ coefficients)
        slope = -weights * sign / (1 + np.exp(margins))
        total = float((weights * np.logaddexp(0, -margins)).sum() + RIDGE * coefficients @ coefficients / 2)
        return total, features.T @ slope + RIDGE * coefficients

    return np.asarray(minimize(loss, np.zeros(features.shape[1]), jac=True).x)
