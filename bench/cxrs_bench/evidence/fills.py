"""A fill that choosing critical factors never saw, to judge them by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve

from cxrs_edge.evidence.fills import FILLS, Fill, Mask, Plane

COARSE = 120
"""Side at which the membrane is computed; it is smooth, so finer brings nothing."""
UNSEEN = "membrane"


def membrane(plane: Plane, mask: Mask) -> Plane:
    """Grays that go over smoothly from one side of the region to the other: the solution of Laplace's equation.

    The region is filled as by a membrane spanned over its border. Without any border the plane's mean.
    """
    small = np.asarray(Image.fromarray(plane).resize((COARSE, COARSE), Image.Resampling.BOX), np.float64)
    # A coarse pixel that is partly inside is inside: nothing of the region leaks into its border.
    inside = (
        np.asarray(Image.fromarray(mask.astype(np.float32)).resize((COARSE, COARSE), Image.Resampling.BOX))
        > 0
    )
    if not inside.any():
        return plane.copy()
    spanned = small.copy()
    spanned[inside] = plane.mean() if inside.all() else _solve(small, inside)
    smooth = Image.fromarray(spanned.astype(np.float32)).resize(plane.shape[::-1], Image.Resampling.BILINEAR)
    return np.where(mask, np.asarray(smooth).round().clip(0, 255).astype(np.uint8), plane)


ALL_FILLS: Mapping[str, Fill] = {**FILLS, UNSEEN: membrane}


def _solve(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], inside: Mask
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Each inner pixel is the mean of its neighbours; those beyond the image's edge don't exist."""
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    places = np.argwhere(inside)
    rows, columns, entries = [], [], []
    right = np.zeros(len(places))
    for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        beside = places + step
        there = ((beside >= 0) & (beside < inside.shape)).all(axis=1)
        own, other = np.flatnonzero(there), beside[there]
        rows.append(own)
        columns.append(own)
        entries.append(np.ones(len(own)))
        unknown = number[tuple(other.T)]
        rows.append(own[unknown >= 0])
        columns.append(unknown[unknown >= 0])
        entries.append(-np.ones((unknown >= 0).sum()))
        known = unknown < 0
        np.add.at(right, own[known], values[tuple(other[known].T)])
    shape = (len(places), len(places))
    matrix = csr_matrix((np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), shape)
    return np.asarray(spsolve(matrix, right))
