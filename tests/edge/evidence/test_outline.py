"""Outlines of cells, by hand and painted again by Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw

from cxrs_edge.evidence.outline import to_original, trace
from cxrs_edge.prepare import Frame, InputSpec, find_frame

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def cells_of(rows: str) -> np.ndarray:
    return np.array([[char == "#" for char in row] for row in rows.split()])


def paint(rings, shape) -> np.ndarray:
    """Even-odd: a cell is in if the rings around its middle are odd in number. Eight pixels a cell."""
    inside = np.zeros(shape, bool)
    for ring in rings:
        canvas = Image.new("1", (8 * shape[1], 8 * shape[0]))
        ImageDraw.Draw(canvas).polygon([(8 * x, 8 * y) for x, y in ring], fill=1)
        inside ^= np.asarray(canvas)[4::8, 4::8]
    return inside


def test_a_cell_and_an_l():
    assert trace(cells_of(".. .#")) == (((1, 1), (2, 1), (2, 2), (1, 2)),)
    assert trace(cells_of("#.. #.. ##.")) == (((0, 0), (1, 0), (1, 2), (2, 2), (2, 3), (0, 3)),)


def test_a_hole_comes_after_and_turns_the_other_way():
    outer, hole = trace(cells_of("### #.# ###"))
    assert outer == ((0, 0), (3, 0), (3, 3), (0, 3))
    assert set(hole) == {(1, 1), (2, 1), (2, 2), (1, 2)}
    area = [
        sum(xa * yb - xb * ya for (xa, ya), (xb, yb) in zip(r, r[1:] + r[:1], strict=True))
        for r in (outer, hole)
    ]
    assert area == [18, -2]


def test_where_cells_touch_at_a_corner_no_ring_crosses_itself():
    assert trace(cells_of("#. .#")) == (((0, 0), (1, 0), (1, 1), (0, 1)), ((1, 1), (2, 1), (2, 2), (1, 2)))


def test_nothing_has_no_outline():
    assert trace(np.zeros((3, 3), bool)) == ()


@given(MASKS)
def test_painted_again_it_is_the_same_mask(cells):
    assert (paint(trace(cells), cells.shape) == cells).all()


def test_the_original_is_known_by_hand():
    ring = ((0.0, 0.0), (15.0, 0.0), (15.0, 3.0), (0.0, 3.0))
    assert to_original(ring, 15, Frame(left=20, top=80, side=900)) == (
        (20, 80),
        (920, 80),
        (920, 260),
        (20, 260),
    )


@given(st.integers(64, 5000), st.integers(64, 5000), st.floats(0, 0.5), st.integers(1, 20), st.data())
def test_the_way_there_and_back(width, height, crop_top, grid, data):
    frame = find_frame(width, height, InputSpec(crop_top=crop_top))
    corner = data.draw(st.tuples(st.integers(0, grid), st.integers(0, grid)))
    ((x, y),) = to_original((corner,), grid, frame)
    assert 0 <= x <= width
    assert int(height * crop_top) <= y <= height
    # As `prepare` does it: cut the frame out, then scale it to the network's square.
    back = ((x - frame.left) / frame.side * grid, (y - frame.top) / frame.side * grid)
    assert back == pytest.approx(corner, abs=1e-6)
