"""Evidence map -> at most three candidate regions: connected cells that speak most for the decided level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.bool_]
"""h x w, True where a cell of the evidence map belongs to a region."""

MOST_REGIONS = 3
LEAST_STRENGTH = 0.5
"""Of the strongest cell: what is weaker belongs to no region (half of the maximum, as a peak's width is measured)."""
MOST_AREA = 1 / 3
"""Of the map: all candidates together hide no more, so that most of the X-ray stays when they are removed."""


@dataclass(frozen=True, eq=False)
class Region:
    """Connected cells, and what they say together.

    Attributes
    ----------
    cells : h x w, side by side (not only corner to corner).
    evidence : logits that they add to the decided level's margin over the other one, before temperature; positive.
    """

    cells: Cells
    evidence: float


def find_regions(support: NDArray[np.floating]) -> tuple[Region, ...]:
    """The candidates, strongest first; none where nothing speaks for the level.

    Parameters
    ----------
    support : h x w, what each cell adds to the margin of the decided level, in logits: the evidence for level 2, its
        negative for level 1.

    The threshold: a cell is a candidate's if its support is positive, at least `LEAST_STRENGTH` of the strongest
    cell's, and among the strongest `MOST_AREA` of the map (rounded down, at least one cell; equal ones in reading
    order). Of the connected components of those cells the `MOST_REGIONS` with the largest sums are the regions.
    """
    budget = max(int(MOST_AREA * support.size), 1)
    order = np.argsort(-support, axis=None, kind="stable")
    chosen = np.zeros(support.size, bool)
    chosen[order[:budget]] = True
    strong = (support > 0) & (support >= LEAST_STRENGTH * support.max())
    found = [
        Region(cells, float(support[cells].sum()))
        for cells in connected_components(chosen.reshape(support.shape) & strong)
    ]
    return tuple(sorted(found, key=lambda region: -region.evidence)[:MOST_REGIONS])


def connected_components(cells: Cells) -> Iterator[Cells]:
    """The parts of a mask whose cells are connected side by side, in reading order of their first cells."""
    left = cells.copy()
    while left.any():
        part = np.zeros_like(cells)
        part.flat[left.argmax()] = True
        while True:
            grown = grow(part) & left
            if (grown == part).all():
                break
            part = grown
        left &= ~part
        yield part


def grow(cells: Cells) -> Cells:
    """The mask and every cell beside it: dilation by the 4-neighbourhood."""
    padded = np.pad(cells, 1)
    return padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
