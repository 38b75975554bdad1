"""Decoded Pillow image -> gray array, strip by strip: a second copy in colour would not fit a small board."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrs_edge.errors import ImageError

Gray = NDArray[np.uint8] | NDArray[np.uint16]

STRIP_PIXELS = 1_000_000
TRANSPARENT = "transparent areas were set to black"
COLOUR = "colour image, turned to gray"
UPRIGHT: dict[int, Callable[[Gray], Gray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a.T[:, ::-1],
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: a.T[::-1],
}
"""EXIF orientation -> stored pixels as they are meant to be seen, without copying them."""
SIDEWAYS = (5, 6, 7, 8)
"""Those that swap width and height."""


def to_gray(image: Image.Image, name: str) -> tuple[Gray, tuple[str, ...]]:
    """Gray of full bit depth, H x W, and what a reader should know of how it was made.

    Raises `ImageError` for values that don't fit into 16 bits.
    """
    if image.mode == "I":
        _check_range(image, name)
    if image.mode.startswith("I"):
        return _fill(np.empty((image.height, image.width), np.uint16), image, _deep), ()
    notes: set[str] = set()
    pixels = np.empty((image.height, image.width), np.uint8)
    _fill(pixels, image, lambda strip: _flat(strip, notes))
    return pixels, tuple(note for note in (TRANSPARENT, COLOUR) if note in notes)


def _fill(pixels: Gray, image: Image.Image, convert: Callable[[Image.Image], Gray]) -> Gray:
    for top, bottom in _strips(image):
        pixels[top:bottom] = convert(image.crop((0, top, image.width, bottom)))
    return pixels


def _strips(image: Image.Image) -> Iterator[tuple[int, int]]:
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, min(top + rows, image.height)


def _check_range(image: Image.Image, name: str) -> None:
    """32 bit integers are taken when they hold no more than 16 bit values, as some exporters write them."""
    low, high = cast("tuple[int, int]", image.getextrema())
    if low < 0 or high > 65535:
        raise ImageError(f"{name}: pixel values {low} to {high}; expected 8 or 16 bit (0 to 65535)")


def _deep(strip: Image.Image) -> NDArray[np.uint16]:
    return np.asarray(strip).astype(np.uint16)


def _flat(strip: Image.Image, notes: set[str]) -> NDArray[np.uint8]:
    if strip.mode in ("L", "1"):
        return np.asarray(strip.convert("L"))
    if strip.has_transparency_data:
        rgba = strip.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            notes.add(TRANSPARENT)
        strip = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
    rgb = strip.convert("RGB")
    red, green, blue = (np.asarray(channel) for channel in rgb.split())
    if not (np.array_equal(red, green) and np.array_equal(green, blue)):
        notes.add(COLOUR)
    return np.asarray(rgb.convert("L"))
