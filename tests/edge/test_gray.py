"""Decoded images to gray, in strips of a few rows, against numpy on the whole."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cxrs_edge import gray
from cxrs_edge.errors import ImageError
from cxrs_edge.gray import COLOUR, SIDEWAYS, TRANSPARENT, UPRIGHT, to_gray

HEIGHT, WIDTH = 23, 10
VALUES = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)


@pytest.fixture(autouse=True)
def strips_of_four_rows(monkeypatch):
    monkeypatch.setattr(gray, "STRIP_PIXELS", 4 * WIDTH)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_strips_meet(mode):
    pixels, notes = to_gray(Image.fromarray(VALUES).convert(mode), "scan")
    np.testing.assert_array_equal(pixels, VALUES)
    assert notes == ()


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "<i4")])
def test_strips_of_deep_images_meet(mode, dtype):
    deep = VALUES.astype(np.uint16) * 257
    image = Image.frombytes(mode, (WIDTH, HEIGHT), deep.astype(dtype).tobytes())
    pixels, notes = to_gray(image, "scan")
    assert pixels.dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(pixels, deep)
    assert notes == ()


@pytest.mark.parametrize("row", [0, 3, 4, HEIGHT - 1])
def test_one_row_is_enough_for_a_note(row):
    coloured = np.dstack([VALUES] * 3)
    coloured[row, 2] = (200, 0, 0)
    pixels, notes = to_gray(Image.fromarray(coloured), "scan")
    assert notes == (COLOUR,)
    assert pixels[row, 2] == 60  # 0.299 * 200

    clear = np.dstack([coloured, np.full_like(VALUES, 255)])
    clear[row, 5, 3] = 0
    pixels, notes = to_gray(Image.fromarray(clear), "scan")
    assert notes == (TRANSPARENT, COLOUR)
    assert pixels[row, 5] == 0


@pytest.mark.parametrize("row", [0, HEIGHT - 1])
def test_one_value_out_of_range_is_refused(row):
    values = VALUES.astype(np.int32)
    values[row, 1] = 65536
    with pytest.raises(ImageError, match="pixel values 0 to 65536"):
        to_gray(Image.frombytes("I", (WIDTH, HEIGHT), values.tobytes()), "scan")


def test_turning_copies_nothing():
    for orientation, turn in UPRIGHT.items():
        turned = turn(VALUES)
        assert np.shares_memory(turned, VALUES)
        assert turned.shape == (VALUES.T if orientation in SIDEWAYS else VALUES).shape
