from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cxrs_export.disguise import Disguise, disguise

SIDE = 40


class Draws:
    """Stands in for a generator: the signed draws, the shares, the edges and the two coins, in this order."""

    def __init__(
        self,
        *signed: float,
        shares: tuple[float, float] = (0, 0),
        edges: tuple[float, ...] = (0, 0, 0, 0),
        coins: tuple[float, float] = (0.9, 0.9),
    ) -> None:
        self._draws = iter(
            [np.array([*signed, *[0.0] * (3 - len(signed))]), np.array(shares), np.array(edges)]
        )
        self._coins = np.array(coins)

    def uniform(self, low: float, high: float, count: int) -> NDArray[np.float64]:
        assert (low, high, count) in ((-1, 1, 3), (0, 1, 2), (0, 1, 4))
        return next(self._draws)

    def random(self, count: int) -> NDArray[np.float64]:
        assert count == 2
        return self._coins


def noise(seed: int = 0, side: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def change(plane: NDArray[np.uint8], draws: Draws, **ranges: float) -> NDArray[np.int64]:
    return disguise(plane, Disguise(**ranges), draws).astype(np.int64)  # type: ignore[arg-type]


@given(side=st.integers(32, 64), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_zero_ranges_change_nothing(side: int, seed: int) -> None:
    plane = noise(seed, side)
    np.testing.assert_array_equal(disguise(plane, Disguise(), np.random.default_rng(seed)), plane)


@given(
    seed=st.integers(0, 1000),
    ranges=st.builds(
        Disguise,
        stretch=st.floats(0, 1),
        gamma=st.floats(0, 2),
        contrast=st.floats(0, 0.9),
        border=st.floats(0, 0.4),
        blur=st.floats(0, 7),
    ),
)
@settings(max_examples=50, deadline=None)
def test_shape_and_type_stay_whatever_is_drawn(seed: int, ranges: Disguise) -> None:
    changed = disguise(noise(seed), ranges, np.random.default_rng(seed))
    assert (changed.shape, changed.dtype) == ((SIDE, SIDE), np.uint8)


@pytest.mark.parametrize(("draw", "axis"), [(1.0, 1), (-1.0, 0)])
def test_stretch_spreads_the_middle_over_one_direction(draw: float, axis: int) -> None:
    # A stretch of 1 makes it twice as wide for its height: of 40 columns the middle 20 are left, rows stay.
    plane = np.zeros((SIDE, SIDE), np.uint8)
    middle: list[Any] = [slice(None), slice(None)]
    middle[axis] = slice(10, 30)
    plane[tuple(middle)] = 200
    # Interpolation looks a pixel beyond what is kept.
    np.testing.assert_array_equal(change(plane, Draws(draw), stretch=1.0)[1:-1, 1:-1], 200)
    other = change(plane.T.copy(), Draws(draw), stretch=1.0)
    np.testing.assert_array_equal(other, plane.T)


def test_gamma_bends_the_tone_curve() -> None:
    # 255 * (51 / 255) ** 2 = 10.2; the square root of 0.2 is 0.4472, times 255 is 114.04.
    plane = np.full((SIDE, SIDE), 51, np.uint8)
    assert set(change(plane, Draws(0, 1.0), gamma=1.0).flat) == {10}
    assert set(change(plane, Draws(0, -1.0), gamma=1.0).flat) == {114}


def test_contrast_spreads_the_grays_about_their_mean() -> None:
    plane = np.full((SIDE, SIDE), 100, np.uint8)
    plane[: SIDE // 2] = 140
    # The mean is 120; 20 times 1.5 and 0.5 is 30 and 10.
    assert set(change(plane, Draws(0, 0, 1.0), contrast=0.5).flat) == {90, 150}
    assert set(change(plane, Draws(0, 0, -1.0), contrast=0.5).flat) == {110, 130}


def test_border_covers_each_edge_by_its_own_width_in_half_of_the_images() -> None:
    plane = noise()
    # Of 40 pixels at most a quarter: 10 at the top, 5 right, none below, 1 left; gray 0.6 * 255.
    edges = (1.0, 0.5, 0.0, 0.1)
    covered = change(plane, Draws(shares=(0, 0.6), edges=edges, coins=(0.9, 0.4)), border=0.25)
    expected = np.full((SIDE, SIDE), 153)
    expected[10:, 1:35] = plane[10:, 1:35]
    np.testing.assert_array_equal(covered, expected)
    left_alone = change(plane, Draws(shares=(0, 0.6), edges=edges, coins=(0.9, 0.5)), border=0.25)
    np.testing.assert_array_equal(left_alone, plane)


def test_blur_loses_detail_in_half_of_the_images() -> None:
    stripes = np.zeros((SIDE, SIDE), np.uint8)
    stripes[:, ::2] = 200
    # Halved, each pixel is the mean of a dark and a bright stripe, but for the antialiased ends.
    blurred = change(stripes, Draws(shares=(1, 0), coins=(0.4, 0.9)), blur=1.0)
    np.testing.assert_allclose(blurred[:, 4:-4], 100, atol=2)
    np.testing.assert_array_equal(change(stripes, Draws(shares=(1, 0)), blur=1.0), stripes)


def test_ranges_are_filled_from_end_to_end() -> None:
    plane = np.full((SIDE, SIDE), 51, np.uint8)
    grays = [
        int(disguise(plane, Disguise(gamma=1.0), np.random.default_rng(seed))[0, 0]) for seed in range(300)
    ]
    assert (min(grays), max(grays)) == pytest.approx((10, 114), abs=3)
