"""LIME and SHAP by their own libraries, on squares of cells; each is imported when it is asked for."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from typing import Any

import numpy as np

from cxrs_bench.evidence.subject import Map, Subject
from cxrs_edge.extras import import_extra

SEGMENT = 2
"""Cells: side of LIME's squares, its superpixels."""
LIME_SEED = 0


def lime_map(subject: Subject, samples: int) -> Map:
    """Ribeiro et al., KDD 2016: lime's linear model of the decided level over squares that are grayed or not.

    The library's defaults but for the superpixels, squares of `SEGMENT` x `SEGMENT` cells instead of quickshift's.
    """
    lime_image = import_extra("lime.lime_image", "explain")
    grid = subject.support.shape
    cells = _squares(grid)
    height, width = (side // cells_of for side, cells_of in zip(subject.plane.shape, grid, strict=True))
    explainer = lime_image.LimeImageExplainer(random_state=LIME_SEED)
    # It draws a progress bar of its own.
    with redirect_stderr(io.StringIO()):
        explained = explainer.explain_instance(
            np.repeat(subject.plane[:, :, np.newaxis], 3, axis=2),
            lambda batch: _probabilities(subject, batch),
            labels=(1,),
            top_labels=None,
            num_samples=samples,
            segmentation_fn=lambda _image: cells.repeat(height, axis=0).repeat(width, axis=1),
            random_seed=LIME_SEED,
        )
    weights = dict(explained.local_exp[1])
    return np.asarray(np.vectorize(lambda square: weights.get(square, 0.0), otypes=[float])(cells))


def shap_map(subject: Subject, samples: int) -> Map:
    """Lundberg and Lee, NeurIPS 2017: shap's partition explainer, what is hidden grayed to the image's mean."""
    shap = import_extra("shap", "explain")
    plane, grid = subject.plane, subject.support.shape
    hidden = np.full((*plane.shape, 1), plane.mean(), np.float64)
    explainer = shap.PartitionExplainer(
        lambda batch: _probabilities(subject, np.asarray(batch)),
        shap.maskers.Image(hidden, (*plane.shape, 1)),
    )
    shown = explainer(plane[np.newaxis, :, :, np.newaxis].astype(np.float64), max_evals=samples, silent=True)
    values = np.asarray(shown.values)[0, :, :, 0, 1]
    height, width = plane.shape[0] // grid[0], plane.shape[1] // grid[1]
    return np.asarray(values.reshape(grid[0], height, grid[1], width).sum(axis=(1, 3)))


def _squares(grid: tuple[int, ...]) -> Any:
    down, across = np.indices(grid) // SEGMENT
    return down * -(-grid[1] // SEGMENT) + across


def _probabilities(subject: Subject, batch: Any) -> Any:
    """N x 2: of the other level and of the decided one."""
    planes = np.asarray(batch)[..., 0].round().clip(0, 255).astype(np.uint8)
    found = np.array([subject.ask(plane) for plane in planes])
    return np.stack([1 - found, found], axis=1)
