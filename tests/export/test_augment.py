from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cxrs_export.augment import Augmentation, affine_matrix, augment

NONE = Augmentation(translate=0, rotate=0, flip=False, zoom=0, intensity=0)
SIDE = 32


class Draws:
    """Stands in for a generator: the five uniform draws (right, down, turn, zoom, gain) and the coin."""

    def __init__(self, *uniform: float, coin: float = 0.9) -> None:
        self._uniform, self._coin = np.array([*uniform, *[0.0] * (5 - len(uniform))]), coin

    def uniform(self, low: float, high: float, count: int) -> NDArray[np.float64]:
        assert (low, high, count) == (-1, 1, 5)
        return self._uniform

    def random(self) -> float:
        return self._coin


def changed(plane: NDArray[np.uint8], ranges: Augmentation, rng: Any) -> NDArray[np.uint8]:
    return augment(plane, ranges, rng)[0]


def noise(side: int = SIDE, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def input_of(output: tuple[float, float], matrix: tuple[float, ...]) -> tuple[float, float]:
    """Where Pillow reads an output point."""
    a, b, c, d, e, f = matrix
    x, y = output
    return a * x + b * y + c, d * x + e * y + f


@given(side=st.integers(32, 64), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_zero_ranges_change_nothing(side: int, seed: int) -> None:
    plane = noise(side, seed)
    np.testing.assert_array_equal(changed(plane, NONE, np.random.default_rng(seed)), plane)


def test_it_tells_whether_the_image_was_mirrored() -> None:
    flips = replace(NONE, flip=True)
    told = [augment(noise(), flips, rng)[1] for rng in (Draws(coin=0.49), Draws(coin=0.5))]  # type: ignore[arg-type]
    assert told == [True, False]
    assert not augment(noise(), NONE, Draws(coin=0.1))[1]  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [32, 33])
def test_flip_is_the_exact_mirror_of_half_of_the_images(side: int) -> None:
    plane = noise(side)
    flips = replace(NONE, flip=True)
    np.testing.assert_array_equal(changed(plane, flips, Draws(coin=0.49)), plane[:, ::-1])
    np.testing.assert_array_equal(changed(plane, flips, Draws(coin=0.5)), plane)
    mirrored = [
        not np.array_equal(changed(plane, flips, np.random.default_rng(seed)), plane) for seed in range(400)
    ]
    # Binomial(400, 1/2): 4 standard deviations are 40.
    assert 160 < sum(mirrored) < 240


@pytest.mark.parametrize("mirrored", [False, True])
def test_shift_by_whole_pixels_moves_them_and_lets_black_in(mirrored: bool) -> None:
    plane = np.maximum(noise(), 1)
    # A quarter of 32 pixels times 1 and -0.5: 8 to the right, 4 up.
    ranges = replace(NONE, translate=0.25, flip=mirrored)
    moved = changed(plane, ranges, Draws(1.0, -0.5, coin=0.0))
    expected = np.zeros_like(plane)
    expected[:-4, 8:] = (plane[:, ::-1] if mirrored else plane)[4:, :-8]
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize(
    ("output", "source"),
    # Turned by 90 degrees about the centre (16, 16), what was at the top comes from the right.
    [
        ((16, 16), (16, 16)),
        ((16, 0), (0, 16)),
        ((0, 16), (16, 32)),
        ((32, 16), (16, 0)),
        ((16, 32), (32, 16)),
    ],
)
def test_quarter_turn(output: tuple[float, float], source: tuple[float, float]) -> None:
    matrix = affine_matrix(SIDE, shift=(0, 0), degrees=90, zoom=1, mirrored=False)
    assert input_of(output, matrix) == pytest.approx(source)


def test_quarter_turn_of_an_image() -> None:
    plane = noise()
    turned = changed(plane, replace(NONE, rotate=90), Draws(0, 0, 1.0))
    # The cosine of 90 degrees is 6e-17, and Pillow cuts off fractions.
    np.testing.assert_allclose(turned.astype(int), np.rot90(plane, -1).astype(int), atol=1)


def test_zoom_is_about_the_centre() -> None:
    matrix = affine_matrix(SIDE, shift=(0, 0), degrees=0, zoom=2, mirrored=False)
    assert input_of((16, 16), matrix) == pytest.approx((16, 16))
    assert input_of((0, 32), matrix) == pytest.approx((8, 24))
    halved = affine_matrix(SIDE, shift=(0, 0), degrees=0, zoom=0.5, mirrored=False)
    assert input_of((24, 16), halved) == pytest.approx((32, 16))


def test_shift_mirror_and_turn_together() -> None:
    # (16 + 3, 16 + 2) is the moved centre; one to the right of it comes, mirrored and turned by 30 degrees at
    # zoom 2, from (-cos 30, -sin 30) / 2 beside the centre.
    matrix = affine_matrix(SIDE, shift=(3, 2), degrees=30, zoom=2, mirrored=True)
    assert input_of((19, 18), matrix) == pytest.approx((16, 16))
    assert input_of((20, 18), matrix) == pytest.approx((16 - math.sqrt(3) / 4, 16 - 1 / 4))


def test_shrunk_image_has_black_around_it() -> None:
    white = np.full((SIDE, SIDE), 255, np.uint8)
    small = changed(white, replace(NONE, zoom=0.5), Draws(0, 0, 0, -1.0))
    assert not small[:8].any()
    assert not small[24:].any()
    assert not small[:, :8].any()
    assert not small[:, 24:].any()
    assert (small[8:24, 8:24] == 255).all()


@pytest.mark.parametrize(("draw", "expected"), [(1.0, [0, 11, 220, 255]), (-1.0, [0, 9, 180, 230])])
def test_intensity_scales_rounds_and_clips(draw: float, expected: list[int]) -> None:
    plane = np.tile(np.array([0, 10, 200, 255], np.uint8), (SIDE, SIDE // 4))
    bright = changed(plane, replace(NONE, intensity=0.1), Draws(0, 0, 0, 0, draw))
    # 255 * 0.9 = 229.5, rounded to even.
    np.testing.assert_array_equal(bright, np.tile(np.array(expected, np.uint8), (SIDE, SIDE // 4)))


def test_same_seed_same_image_and_another_for_another_seed() -> None:
    plane = noise()
    first = changed(plane, Augmentation(), np.random.default_rng(5))
    np.testing.assert_array_equal(first, changed(plane, Augmentation(), np.random.default_rng(5)))
    assert not np.array_equal(first, changed(plane, Augmentation(), np.random.default_rng(6)))
    assert (first.dtype, first.shape) == (np.uint8, plane.shape)


def test_the_plane_itself_stays_as_it_was() -> None:
    plane = noise()
    changed(plane, Augmentation(), np.random.default_rng(0))
    np.testing.assert_array_equal(plane, noise())


def drawn(ranges: Augmentation, seed: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What was drawn for each augmentation: the geometry as asked of `affine_matrix`, the gain as it came out."""
    asked: dict[str, object] = {}

    def record(side: int, **geometry: Any) -> tuple[float, ...]:
        asked.update(geometry)
        return affine_matrix(side, **geometry)

    monkeypatch.setattr("cxrs_export.augment.affine_matrix", record)
    rng = np.random.default_rng(seed)
    gray = changed(np.full((SIDE, SIDE), 100, np.uint8), ranges, rng)
    return {**asked, "intensity": gray[SIDE // 2, SIDE // 2], "drawn next": rng.random()}


@pytest.mark.parametrize(
    ("off", "key"),
    [
        ("translate", "shift"),
        ("rotate", "degrees"),
        ("flip", "mirrored"),
        ("zoom", "zoom"),
        ("intensity", "intensity"),
    ],
)
def test_switching_one_off_leaves_the_others_as_they_were(
    off: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(5):
        every = drawn(Augmentation(), seed, monkeypatch)
        without = drawn(replace(Augmentation(), **{off: getattr(NONE, off)}), seed, monkeypatch)
        none = {"shift": (0, 0), "degrees": 0, "mirrored": False, "zoom": 1, "intensity": 100}
        assert without == {**every, key: none[key]}
        assert every.keys() == {*none, "drawn next"}


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_the_papers_ranges_hold(seed: int) -> None:
    # A white dot in the middle moves at most 10 % of the side along either axis, and loses at most 10 %.
    plane = np.zeros((64, 64), np.uint8)
    plane[30:34, 30:34] = 200
    rows, columns = np.nonzero(changed(plane, Augmentation(), np.random.default_rng(seed)) > 100)
    assert abs(rows.mean() - 31.5) <= 6.4 + 0.5
    assert abs(columns.mean() - 31.5) <= 6.4 + 0.5
