"""GrayImage -> pixels: the only preprocessing there is. Training imports it too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrs_edge.errors import ImageError
from cxrs_edge.image import GrayImage

Pixels = NDArray[np.uint8]
"""uint8, 1 x H x W x C: what every exported network takes."""

Resize = Literal["box", "bilinear", "bicubic", "lanczos"]
RESIZE_FILTERS: tuple[Resize, ...] = ("box", "bilinear", "bicubic", "lanczos")
BIT_DEPTHS = (8, 10, 12, 14, 16)
MAX_ASPECT = 4
"""A film is at most about 1.3 times as long as wide; a strip is no chest X-ray."""


@dataclass(frozen=True)
class InputSpec:
    """What a network wants to see; it travels in the model's card.

    Attributes
    ----------
    size : height and width in pixels.
    channels : 1, or 3 times the same gray values (which makes RGB and BGR the same).
    crop_top : share of the height cut off at the top before anything else (paper, section 2: 8 %,
        where hospitals burn in text).
    resize : Pillow's filter, antialiased when shrinking.
    """

    size: int = 480
    channels: int = 3
    crop_top: float = 0.08
    resize: Resize = "bilinear"


@dataclass(frozen=True)
class Frame:
    """The part of the upright image that the network sees, in pixels: left, top and side of the square."""

    left: int
    top: int
    side: int


def pixels_needed(spec: InputSpec) -> int:
    """Pixels a side that a decoded image must keep so that preparing it never enlarges it more."""
    return math.ceil(spec.size / (1 - spec.crop_top))


def find_frame(width: int, height: int, spec: InputSpec) -> Frame:
    """Crop the top, then take the centre square (github lindawangg/COVID-Net, data.py)."""
    top = int(height * spec.crop_top)
    side = min(width, height - top)
    return Frame(left=(width - side) // 2, top=top + (height - top - side) // 2, side=side)


def prepare(image: GrayImage, spec: InputSpec) -> Pixels:
    """Crop, square and resize an X-ray to what the network takes.

    Returns uint8, 1 x size x size x channels, 0..255. Raises `ImageError` for a strip no film has the shape of.
    """
    height, width = image.pixels.shape
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{image.name}: {width} x {height} pixels, a strip; expected a film at most {MAX_ASPECT} times "
            "as long as wide"
        )
    frame = find_frame(width, height, spec)
    # Cut first: resize(box=...) would blend what lies outside, such as burnt-in text, into the border.
    rows = slice(frame.top, frame.top + frame.side)
    columns = slice(frame.left, frame.left + frame.side)
    square = Image.fromarray(to_8_bit(image.pixels)[rows, columns])
    gray = square.resize((spec.size, spec.size), Image.Resampling[spec.resize.upper()])
    plane = np.asarray(gray)[np.newaxis, :, :, np.newaxis]
    pixels: Pixels = np.repeat(plane, spec.channels, axis=3)
    return pixels


def nominal_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> int:
    """Bits of the nominal range: 8, or of 16 bit pixels the smallest usual depth that holds the brightest one.

    Detectors deliver 10 to 14 bits inside 16 bit files, which would otherwise come out black.
    """
    if pixels.dtype == np.uint8:
        return 8
    brightest = int(pixels.max())
    return next(bits for bits in BIT_DEPTHS if brightest < 2**bits)


def to_8_bit(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Scale the nominal range to 0..255; H x W in and out."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    nominal = 2 ** nominal_bits(pixels) - 1
    table = np.round(np.arange(nominal + 1) * (255 / nominal)).astype(np.uint8)
    scaled = np.empty(pixels.shape, np.uint8)
    # Row by row, since an index takes 8 bytes for each pixel.
    for row, values in zip(scaled, pixels, strict=True):
        row[:] = table[values]
    return scaled
