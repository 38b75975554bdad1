"""What stands where a region was, by hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrs_edge.evidence.fills import FILLS, blurred, remove, ring_mean, to_pixels


def cells_at(*places, grid=5):
    cells = np.zeros((grid, grid), bool)
    for place in places:
        cells[place] = True
    return cells


def test_cells_cover_their_squares():
    mask = to_pixels(cells_at((1, 3)), (160, 160))
    expected = np.zeros((160, 160), bool)
    expected[32:64, 96:128] = True
    assert (mask == expected).all()


def test_the_ring_is_half_a_cell_wide():
    plane = np.full((480, 480), 10, np.uint8)
    mask = to_pixels(cells_at((7, 7), grid=15), plane.shape)  # 224 to 255
    plane[mask] = 255
    plane[209:271, 209:271][~mask[209:271, 209:271]] = 90  # 15 pixels on each side
    filled = ring_mean(plane, mask)
    assert set(filled[mask]) == {90}
    assert (filled[~mask] == plane[~mask]).all()


def test_the_ring_is_cut_at_the_border_and_the_whole_image_has_its_mean():
    plane = np.zeros((160, 160), np.uint8)
    plane[:, 80:] = 100
    mask = to_pixels(cells_at((0, 0)), plane.shape)
    assert set(ring_mean(plane, mask)[mask]) == {0}
    assert set(ring_mean(plane, np.ones_like(mask)).ravel()) == {50}


def test_the_blur_keeps_brightness_and_takes_structure():
    stripes = np.tile(np.array([0, 200], np.uint8), (160, 80))
    mask = to_pixels(cells_at((2, 2)), stripes.shape)
    filled = blurred(stripes, mask)
    assert filled[mask].min() >= 98
    assert filled[mask].max() <= 102
    assert (filled[~mask] == stripes[~mask]).all()


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_only_the_region_changes(fill, seed, share):
    random = np.random.default_rng(seed)
    pixels = np.repeat(random.integers(0, 256, (1, 64, 64, 1), dtype=np.uint8), 3, axis=3)
    before = pixels.copy()
    cells = random.random((2, 2)) < share
    filled = remove(pixels, cells, fill)
    assert (pixels == before).all()
    assert (filled.dtype, filled.shape) == (np.uint8, pixels.shape)
    outside = ~to_pixels(cells, (64, 64))
    assert (filled[0][outside] == pixels[0][outside]).all()
    assert (filled == filled[..., :1]).all()
