"""`prepare` against COVID-Net's own crops written out, hand-made values and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cxrs_edge.errors import ImageError
from cxrs_edge.image import GrayImage
from cxrs_edge.prepare import (
    MAX_ASPECT,
    RESIZE_FILTERS,
    Frame,
    InputSpec,
    Resize,
    find_frame,
    pixels_needed,
    prepare,
    to_8_bit,
)


def gray(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> GrayImage:
    return GrayImage(pixels=pixels, name="scan", format="PNG", size=(pixels.shape[1], pixels.shape[0]))


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def covid_net_crops(pixels: NDArray[np.generic], percent: float) -> NDArray[np.generic]:
    """`crop_top` and `central_crop` of github lindawangg/COVID-Net, data.py, as they are there."""
    offset = int(pixels.shape[0] * percent)
    cropped = pixels[offset:]
    size = min(cropped.shape[0], cropped.shape[1])
    offset_h = int((cropped.shape[0] - size) / 2)
    offset_w = int((cropped.shape[1] - size) / 2)
    return cropped[offset_h : offset_h + size, offset_w : offset_w + size]


# -- the frame ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "crop_top", "frame"),
    [
        (100, 100, 0.0, Frame(left=0, top=0, side=100)),
        (100, 100, 0.08, Frame(left=4, top=8, side=92)),
        (101, 100, 0.08, Frame(left=4, top=8, side=92)),  # 9 spare columns: 4 left, 5 right
        (100, 200, 0.08, Frame(left=0, top=58, side=100)),  # 184 rows stay, 84 spare: 42 above
        (99, 201, 0.08, Frame(left=0, top=59, side=99)),  # crop int(16.08) = 16, 185 stay, 86 spare
        (98, 201, 0.08, Frame(left=0, top=59, side=98)),  # 87 spare: 43 above, 44 below
        (2991, 2990, 0.08, Frame(left=120, top=239, side=2751)),  # crop int(239.2); 240 spare
        (300, 100, 0.5, Frame(left=125, top=50, side=50)),
    ],
)
def test_frame_by_hand(width: int, height: int, crop_top: float, frame: Frame) -> None:
    assert find_frame(width, height, InputSpec(crop_top=crop_top)) == frame


SIDES = st.integers(1, 5000)
SHARES = st.floats(0, 0.5)


@settings(max_examples=300)
@given(width=SIDES, height=SIDES, crop_top=SHARES)
def test_frame_is_a_square_inside_the_image_below_the_crop(width: int, height: int, crop_top: float) -> None:
    frame = find_frame(width, height, InputSpec(crop_top=crop_top))
    assert frame.side >= 1
    assert 0 <= frame.left <= frame.left + frame.side <= width
    assert int(height * crop_top) <= frame.top <= frame.top + frame.side <= height
    assert frame.side in (width, height - int(height * crop_top))


@settings(max_examples=300, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), crop_top=SHARES)
def test_frame_is_that_of_covid_net(width: int, height: int, crop_top: float) -> None:
    numbered = np.arange(width * height).reshape(height, width)
    frame = find_frame(width, height, InputSpec(crop_top=crop_top))
    cut = numbered[frame.top : frame.top + frame.side, frame.left : frame.left + frame.side]
    np.testing.assert_array_equal(cut, covid_net_crops(numbered, crop_top))


@settings(max_examples=500)
@given(size=st.integers(32, 4096), crop_top=SHARES, width=st.integers(0, 3000), height=st.integers(0, 3000))
def test_pixels_needed_are_enough(size: int, crop_top: float, width: int, height: int) -> None:
    spec = InputSpec(size=size, crop_top=crop_top)
    needed = pixels_needed(spec)
    assert find_frame(needed + width, needed + height, spec).side >= size
    assert size <= needed <= 2 * size


def test_pixels_needed_by_hand() -> None:
    assert pixels_needed(InputSpec(size=480, crop_top=0.08)) == 522  # 480 / 0.92 = 521.7
    assert pixels_needed(InputSpec(size=480, crop_top=0.0)) == 480


# -- pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", RESIZE_FILTERS)
def test_identity_when_nothing_is_to_do(channels: int, resize: Resize) -> None:
    pixels = noise(64, 64)
    out = prepare(gray(pixels), InputSpec(size=64, channels=channels, crop_top=0, resize=resize))
    assert (out.dtype, out.shape) == (np.uint8, (1, 64, 64, channels))
    for channel in range(channels):
        np.testing.assert_array_equal(out[0, :, :, channel], pixels)


@pytest.mark.parametrize(("height", "width"), [(200, 300), (301, 200), (199, 200)])
@pytest.mark.parametrize("resize", RESIZE_FILTERS)
def test_crop_then_resize_with_the_card_s_filter(height: int, width: int, resize: Resize) -> None:
    pixels = noise(height, width)
    square = Image.fromarray(np.ascontiguousarray(covid_net_crops(pixels, 0.08)))
    expected = np.asarray(square.resize((96, 96), getattr(Image.Resampling, resize.upper())))
    out = prepare(gray(pixels), InputSpec(size=96, channels=1, crop_top=0.08, resize=resize))
    np.testing.assert_array_equal(out[0, :, :, 0], expected)


def test_filters_differ() -> None:
    results = {
        prepare(gray(noise(200, 200)), InputSpec(size=96, resize=resize)).tobytes()
        for resize in RESIZE_FILTERS
    }
    assert len(results) == len(RESIZE_FILTERS)


def test_box_filter_means_blocks() -> None:
    pixels = noise(128, 128)
    out = prepare(gray(pixels), InputSpec(size=32, channels=1, crop_top=0, resize="box"))
    means = pixels.reshape(32, 4, 32, 4).mean(axis=(1, 3))
    assert np.abs(out[0, :, :, 0] - means).max() <= 1


@settings(max_examples=100, deadline=None)
@given(row=st.integers(0, 99), column=st.integers(0, 119))
def test_one_bright_pixel_ends_where_it_should(row: int, column: int) -> None:
    pixels = np.zeros((100, 120), np.uint8)
    pixels[row, column] = 255
    # 8 rows off the top, then the square of 92 from column 14 on, unscaled.
    out = prepare(gray(pixels), InputSpec(size=92, channels=3, crop_top=0.08))
    expected = np.zeros((1, 92, 92, 3), np.uint8)
    if row >= 8 and 14 <= column < 106:
        expected[0, row - 8, column - 14] = 255
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("resize", RESIZE_FILTERS)
@pytest.mark.parametrize("size", [32, 300])
def test_nothing_outside_the_frame_shows(resize: Resize, size: int) -> None:
    spec = InputSpec(size=size, crop_top=0.08, resize=resize)
    pixels = np.full((200, 260), 90, np.uint8)
    pixels[:16] = 255  # text burnt in above the crop
    pixels[:, :38] = 255  # and beside the square of 184
    pixels[:, 38 + 184 :] = 255
    assert np.unique(prepare(gray(pixels), spec)).tolist() == [90]


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_flat_images_stay_flat(value: int) -> None:
    flat = np.full((130, 110), value, np.uint8)
    assert np.unique(prepare(gray(flat), InputSpec(size=480))).tolist() == [value]


# Not box: Pillow counts a pixel on the edge between two boxes to the one on its left.
@pytest.mark.parametrize("resize", [name for name in RESIZE_FILTERS if name != "box"])
@pytest.mark.parametrize(("width", "size"), [(200, 96), (201, 95), (184, 184), (100, 224)])
def test_flipping_first_or_last_is_the_same(width: int, size: int, resize: Resize) -> None:
    # The frame is symmetric when the spare columns (width - 184, or none) are even in number.
    height = 200 if width % 2 == 0 else 201  # 0.92 of it: 184 or 185 rows
    pixels = noise(height, width)
    spec = InputSpec(size=size, channels=1, resize=resize)
    flipped_first = prepare(gray(np.ascontiguousarray(pixels[:, ::-1])), spec)
    flipped_last = prepare(gray(pixels), spec)[:, :, ::-1]
    assert np.abs(flipped_first.astype(int) - flipped_last).max() <= 1  # Pillow's fixed-point rounding


def test_result_is_writable_and_the_input_untouched() -> None:
    pixels = noise(64, 64)
    before = pixels.copy()
    out = prepare(gray(pixels), InputSpec(size=64, crop_top=0))
    out[:] = 0
    np.testing.assert_array_equal(pixels, before)


def test_a_read_only_image_is_prepared() -> None:
    pixels = noise(64, 64)
    pixels.flags.writeable = False
    assert prepare(gray(pixels), InputSpec(size=32)).shape == (1, 32, 32, 3)


@pytest.mark.parametrize(("height", "width"), [(64, 64 * MAX_ASPECT + 1), (64 * MAX_ASPECT + 1, 64)])
def test_strips_are_refused(height: int, width: int) -> None:
    with pytest.raises(ImageError, match=rf"scan: {width} x {height} pixels, a strip"):
        prepare(gray(noise(height, width)), InputSpec())


@pytest.mark.parametrize(("height", "width"), [(64, 64 * MAX_ASPECT), (64 * MAX_ASPECT, 64)])
def test_the_longest_films_are_taken(height: int, width: int) -> None:
    assert prepare(gray(noise(height, width)), InputSpec(size=32)).shape == (1, 32, 32, 3)


# -- bit depth ------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), brightest=st.integers(64, 255))
def test_8_bit_and_the_same_in_16_bit_are_equal(seed: int, brightest: int) -> None:
    pixels = np.minimum(noise(80, 70, seed), brightest)
    pixels[0, 0] = brightest  # below 64 * 257 a 16 bit file is taken for 14 bit
    spec = InputSpec(size=48)
    wide = pixels.astype(np.uint16) * 257
    np.testing.assert_array_equal(prepare(gray(pixels), spec), prepare(gray(wide), spec))


@pytest.mark.parametrize(
    ("brightest", "nominal"),
    [
        (1, 255),
        (255, 255),
        (256, 1023),
        (1023, 1023),
        (1024, 4095),
        (3000, 4095),
        (4095, 4095),
        (4096, 16383),
        (16383, 16383),
        (16384, 65535),
        (65535, 65535),
    ],
)
def test_the_smallest_usual_depth_that_fits_is_the_range(brightest: int, nominal: int) -> None:
    ramp = np.linspace(0, brightest, 4096).astype(np.uint16).reshape(64, 64)
    out = to_8_bit(ramp)
    assert out.dtype == np.uint8
    assert np.abs(out - ramp / nominal * 255).max() <= 0.5
    assert out.max() == round(brightest / nominal * 255)


def test_all_black_stays_black_in_any_depth() -> None:
    assert not to_8_bit(np.zeros((4, 4), np.uint16)).any()
    assert not to_8_bit(np.zeros((4, 4), np.uint8)).any()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=2, max_size=50))
def test_brighter_stays_brighter(values: list[int]) -> None:
    out = to_8_bit(np.array([sorted(values)], np.uint16))
    assert (np.diff(out.astype(int)) >= 0).all()
