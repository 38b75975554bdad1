"""The drawn chest: repeatable, honest about being drawn, denser where an opacity is asked for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cxrs_bench import phantom as module
from cxrs_bench.phantom import (
    Phantom,
    draw_phantom,
    phantom_level,
    varied_phantoms,
    zone_boxes,
)

CLEAR = (0, 0, 0, 0, 0, 0)
SIDE = 256


def with_grade(zone: int, grade: int) -> tuple[int, ...]:
    return tuple(grade if index == zone else 0 for index in range(6))


def zone_means(zones: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    phantom = Phantom(zones, seed, SIDE, SIDE)
    image = draw_phantom(phantom)
    boxes = zone_boxes(phantom)
    return np.array([image[top:bottom, left:right].mean() for left, top, right, bottom in boxes])


def digest(phantom: Phantom) -> str:
    return hashlib.sha256(draw_phantom(phantom).tobytes()).hexdigest()


def test_another_process_draws_the_same_pixels() -> None:
    phantom = Phantom((0, 1, 2, 3, 0, 1), seed=7, width=200, height=160)
    script = (
        "import hashlib; from cxrs_bench.phantom import Phantom, draw_phantom\n"
        f"print(hashlib.sha256(draw_phantom({phantom!r}).tobytes()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "123", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert run.stdout.strip() == digest(phantom)


def test_the_seed_changes_the_anatomy_beyond_noise() -> None:
    coarse = [
        np.asarray(Image.fromarray(draw_phantom(Phantom(CLEAR, seed, SIDE, SIDE))).resize((16, 16)))
        for seed in range(4)
    ]
    for one, other in combinations(coarse, 2):
        assert np.abs(one.astype(float) - other).mean() > 4


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("zone", range(6))
def test_an_opacity_brightens_its_own_zone_and_no_other(zone: int, seed: int) -> None:
    clear = zone_means(CLEAR, seed)
    rises = np.array([zone_means(with_grade(zone, grade), seed) - clear for grade in (1, 2, 3)])
    own = rises[:, zone]
    assert own[0] > 3
    assert np.all(np.diff(own) > 5)
    # A patch has soft edges, so a neighbour may gain a little at the shared border.
    others = np.delete(rises, zone, axis=1)
    assert np.all(np.abs(others) < 0.16 * own[2])


def test_an_opacity_leaves_everything_far_from_its_zone_untouched() -> None:
    clear = draw_phantom(Phantom(CLEAR, 5, SIDE, SIDE))
    opaque = draw_phantom(Phantom(with_grade(0, 3), 5, SIDE, SIDE))
    np.testing.assert_array_equal(opaque[:, SIDE // 2 :], clear[:, SIDE // 2 :])
    np.testing.assert_array_equal(opaque[SIDE // 2 + 20 :], clear[SIDE // 2 + 20 :])
    assert np.all(opaque.astype(int) >= clear)


def test_zones_a_to_c_lie_on_the_left_of_the_image_from_top_to_bottom() -> None:
    boxes = zone_boxes(Phantom(CLEAR, 1, 640, 512))
    centres = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes]
    assert all(x < 320 for x, _ in centres[:3])
    assert all(x > 320 for x, _ in centres[3:])
    for lung in (centres[:3], centres[3:]):
        heights = [y for _, y in lung]
        assert heights == sorted(heights)
        assert 0 < heights[0] < heights[2] < 512


def test_lungs_are_darker_than_the_heart_and_lighter_than_the_air_around() -> None:
    for seed in range(6):
        image = draw_phantom(Phantom(CLEAR, seed, 512, 512))
        upper_lungs = zone_means(CLEAR, seed)[[0, 3]]
        heart = image[290:330, 262:290].mean()
        assert upper_lungs.max() + 30 < heart
        assert image.min() + 20 < upper_lungs.min()


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (64, 200), (333, 64), (301, 250), (250, 301), (1024, 1024)]
)
def test_the_image_has_the_size_asked_for(width: int, height: int) -> None:
    image = draw_phantom(Phantom((1, 0, 0, 0, 0, 3), 0, width, height))
    assert image.shape == (height, width)
    assert image.dtype == np.uint8


@settings(deadline=None, max_examples=40)
@given(
    zones=st.tuples(*[st.integers(0, 3)] * 6),
    seed=st.integers(0, 2**64),
    width=st.integers(64, 260),
    height=st.integers(64, 260),
)
@example(zones=CLEAR, seed=0, width=64, height=139)  # once left the notice without a pixel
@pytest.mark.filterwarnings("error")  # a NaN cast to uint8 is only a warning
def test_any_valid_phantom_is_a_full_picture(
    zones: tuple[int, ...], seed: int, width: int, height: int
) -> None:
    phantom = Phantom(zones, seed, width, height)
    image = draw_phantom(phantom)
    assert image.shape == (height, width)
    assert image.dtype == np.uint8
    assert image.std() > 20
    for left, top, right, bottom in zone_boxes(phantom):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


@pytest.mark.parametrize(("width", "height"), [(512, 512), (400, 640), (640, 400)])
@pytest.mark.parametrize("seed", range(5))
def test_the_notice_survives_the_crop_to_the_network(
    width: int, height: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom = Phantom(CLEAR, seed, width, height)
    written = draw_phantom(phantom)
    monkeypatch.setattr(module, "_burn_notice", lambda _: None)
    changed = np.abs(written.astype(int) - draw_phantom(phantom)) > 25
    rows, columns = np.nonzero(changed)

    top = 0.08 * height
    side = min(width, height - top)
    first_row, first_column = top + (height - top - side) / 2, (width - side) / 2
    assert first_row + 0.9 * side < rows.min() <= rows.max() < first_row + side
    assert first_column < columns.min() < columns.max() < first_column + side
    # Unobtrusive, and clear of the lungs, but wide enough to be read.
    assert 0.2 * side < np.ptp(columns) < 0.5 * side
    assert 0.01 * side < np.ptp(rows) < 0.03 * side
    assert rows.min() > max(bottom for *_, bottom in zone_boxes(phantom))


@pytest.mark.parametrize(
    ("zones", "level"),
    [
        ((0, 0, 0, 0, 0, 0), 0),
        ((0, 0, 3, 0, 0, 0), 1),
        ((1, 0, 0, 0, 0, 3), 1),
        ((1, 1, 0, 0, 0, 1), 2),
        ((3, 2, 1, 3, 2, 1), 2),
    ],
)
def test_the_level_counts_zones_not_grades(zones: tuple[int, ...], level: int) -> None:
    assert phantom_level(Phantom(zones)) == level


@pytest.mark.parametrize(
    ("zones", "seed", "width", "height", "subject"),
    [
        ((0, 0, 0, 0, 0), 0, 256, 256, "zones"),
        ((0, 0, 0, 0, 0, 0, 0), 0, 256, 256, "zones"),
        ((0, 0, 4, 0, 0, 0), 0, 256, 256, "zones"),
        ((0, 0, -1, 0, 0, 0), 0, 256, 256, "zones"),
        (CLEAR, -1, 256, 256, "seed"),
        (CLEAR, 0, 63, 256, "width"),
        (CLEAR, 0, 256, 63, "height"),
        (CLEAR, 0, 4097, 256, "width"),
    ],
)
def test_a_parameter_out_of_range_is_refused(
    zones: tuple[int, ...], seed: int, width: int, height: int, subject: str
) -> None:
    with pytest.raises(ValueError, match=f"^{subject}: got .*, expected"):
        Phantom(zones, seed, width, height)


def test_varied_phantoms_balance_the_levels_and_never_repeat() -> None:
    phantoms = list(varied_phantoms(400))
    assert Counter(map(phantom_level, phantoms)) == {1: 200, 2: 200}
    assert len(set(phantoms)) == len({phantom.seed for phantom in phantoms}) == 400
    affected = Counter(sum(grade > 0 for grade in phantom.zones) for phantom in phantoms)
    assert set(affected) == {1, 2, 3, 4, 5, 6}
    for zone in range(6):
        assert {phantom.zones[zone] for phantom in phantoms} == {0, 1, 2, 3}
    aspects = [phantom.width / phantom.height for phantom in phantoms]
    assert min(aspects) < 0.85
    assert max(aspects) > 1.18


def test_varied_phantoms_depend_on_the_seed_and_not_on_the_count() -> None:
    assert list(varied_phantoms(3, seed=1)) == list(varied_phantoms(9, seed=1))[:3]
    assert not set(varied_phantoms(20, seed=1)) & set(varied_phantoms(20, seed=2))
    assert list(varied_phantoms(0)) == []


@pytest.mark.parametrize(("count", "seed"), [(-1, 0), (1, -1)])
def test_varied_phantoms_refuse_negative_numbers_at_once(count: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0 or more"):
        varied_phantoms(count, seed)
