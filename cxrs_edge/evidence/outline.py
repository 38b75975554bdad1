"""Cells -> polygons, in the network's frame and back in the original image's pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cxrs_edge.evidence.regions import Cells
from cxrs_edge.prepare import Frame

Point = tuple[float, float]
"""Across and down."""
Ring = tuple[Point, ...]
"""A closed polygon's corners, the first one not repeated."""

Corner = tuple[int, int]
Edge = tuple[Corner, Corner]


def trace(cells: Cells) -> tuple[Ring, ...]:
    """The outlines of a mask, in cells: clockwise around what is inside, counterclockwise around holes.

    Where two cells touch at a corner alone, the outline keeps to one of them, so that no ring crosses itself. A point
    is inside if an odd number of rings are around it. The outer ring of a connected mask comes first.
    """
    follow = _edges(cells)
    rings = []
    while follow:
        rings.append(_straighten(_follow(follow)))
    return tuple(rings)


def to_original(ring: Sequence[Point], grid: int, frame: Frame) -> Ring:
    """A ring in cells of a `grid` x `grid` map -> pixels of the upright original image, undoing crop and resize.

    Pixel (0, 0) covers 0 to 1 on both axes, so that a ring around the whole map is the frame's border.
    """
    scale = frame.side / grid
    return tuple((frame.left + across * scale, frame.top + down * scale) for across, down in ring)


def _edges(cells: Cells) -> dict[Edge, None]:
    """The cells' sides that have no cell on the other side, walked with the cell on the right."""
    padded = np.pad(cells, 1)
    edges: dict[Edge, None] = {}
    for down, across in np.argwhere(cells).tolist():
        corners = [(across, down), (across + 1, down), (across + 1, down + 1), (across, down + 1)]
        beside = [(down, across + 1), (down + 1, across + 2), (down + 2, across + 1), (down + 1, across)]
        for start, end, neighbour in zip(corners, corners[1:] + corners[:1], beside, strict=True):
            if not padded[neighbour]:
                edges[start, end] = None
    return edges


def _follow(edges: dict[Edge, None]) -> list[Corner]:
    """Take the edges of one ring out of `edges`, beginning with its first one."""
    first = start, end = next(iter(edges))
    ring = []
    while True:
        ring.append(start)
        del edges[start, end]
        if end == first[0]:
            return ring
        start, end = end, _next_corner(edges, start, end)


def _next_corner(edges: Mapping[Edge, None], before: Corner, here: Corner) -> Corner:
    """Turning right first keeps to the same cell where two touch at a corner."""
    across, down = here[0] - before[0], here[1] - before[1]
    for step in ((-down, across), (across, down), (down, -across)):
        there = (here[0] + step[0], here[1] + step[1])
        if (here, there) in edges:
            return there
    raise AssertionError(f"an outline that ends at {here}")


def _straighten(ring: list[Corner]) -> Ring:
    """Without the corners at which the outline goes straight on."""
    around = zip(ring[-1:] + ring[:-1], ring, ring[1:] + ring[:1], strict=True)
    return tuple(
        (float(x), float(y)) for (xa, ya), (x, y), (xb, yb) in around if (x - xa, y - ya) != (xb - x, yb - y)
    )
