"""Candidate regions by hand-made maps and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cxrs_edge.evidence.regions import MOST_AREA, MOST_REGIONS, connected_components, find_regions, grow

MAPS = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=15), elements=st.floats(-1, 1))


def cells_of(rows: str) -> np.ndarray:
    return np.array([[char == "#" for char in row] for row in rows.split()])


def test_the_strongest_connected_cells_come_first():
    support = np.zeros((8, 8))
    support[1, 1:4] = 0.6  # 1.8 in all, though no cell is the strongest
    support[6, 5] = 1.0
    support[3, 7] = support[4, 7] = 0.55
    support[7, 0] = 0.5
    support[0, 7] = 0.49  # below half of the strongest
    found = find_regions(support)
    assert [region.evidence for region in found] == pytest.approx([1.8, 1.1, 1.0])
    assert np.argwhere(found[0].cells).tolist() == [[1, 1], [1, 2], [1, 3]]


def test_corner_to_corner_is_not_connected():
    found = find_regions(np.diag([1.0, 0.9, 0, 0, 0, 0, 0, 0]))
    assert [region.evidence for region in found] == pytest.approx([1.0, 0.9])


def test_of_a_flat_map_only_a_third_is_taken():
    (region,) = find_regions(np.ones((15, 15)))
    assert region.cells.sum() == 75
    assert region.cells[:5].all()


@pytest.mark.parametrize("support", [np.zeros((15, 15)), -np.ones((15, 15)), np.zeros((1, 1))])
def test_where_nothing_speaks_for_the_level_there_is_no_region(support):
    assert find_regions(support) == ()


@given(MAPS)
def test_regions_are_few_small_connected_apart_and_sorted(support):
    found = find_regions(support)
    assert len(found) <= MOST_REGIONS
    assert bool(found) == bool((support > 0).any())
    masks = np.array([region.cells for region in found]).reshape(-1, *support.shape)
    assert masks.sum(axis=0).max(initial=0) <= 1
    assert masks.sum() <= max(MOST_AREA * support.size, 1)
    assert [region.evidence for region in found] == sorted((r.evidence for r in found), reverse=True)
    for region in found:
        assert region.evidence == pytest.approx(support[region.cells].sum())
        assert (support[region.cells] >= support.max() / 2).all()
        assert len(list(connected_components(region.cells))) == 1


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_components_as_scipy_finds_them(cells):
    ndimage = pytest.importorskip("scipy.ndimage")
    labels, count = ndimage.label(cells)
    assert [part.tolist() for part in connected_components(cells)] == [
        (labels == number).tolist() for number in range(1, count + 1)
    ]


def test_growing_goes_side_by_side():
    assert (grow(cells_of("..... ..#.. .....")) == cells_of("..#.. .###. ..#..")).all()
