"""The paper's five augmentations, applied to one prepared gray image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes (paper, section 2: +-10 %, +-10 degrees, flip, +-15 %, +-10 %).

    Attributes
    ----------
    translate : largest shift as a share of the side.
    rotate : largest rotation in degrees.
    flip : whether half of the images are mirrored left to right.
    zoom : largest relative change of scale.
    intensity : largest relative change of the gray values.
    """

    translate: float = 0.10
    rotate: float = 10.0
    flip: bool = True
    zoom: float = 0.15
    intensity: float = 0.10


def augment(
    plane: NDArray[np.uint8], ranges: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], bool]:
    """Move, turn, mirror, scale and brighten a square image; H x H in and out, what comes in is black.

    Also tells whether it was mirrored left to right.
    """
    side = plane.shape[0]
    # Always draw all six numbers: switching one augmentation off leaves the others' draws as they were.
    dx, dy, turn, zoom, gain = rng.uniform(-1, 1, 5)
    mirrored = rng.random() < 0.5 and ranges.flip
    matrix = affine_matrix(
        side,
        shift=(dx * ranges.translate * side, dy * ranges.translate * side),
        degrees=turn * ranges.rotate,
        zoom=1 + zoom * ranges.zoom,
        mirrored=mirrored,
    )
    moved = Image.fromarray(plane).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    bright = np.asarray(moved, np.float32) * (1 + gain * ranges.intensity)
    return np.clip(np.round(bright), 0, 255).astype(np.uint8), mirrored


def affine_matrix(
    side: int, *, shift: tuple[float, float], degrees: float, zoom: float, mirrored: bool
) -> tuple[float, float, float, float, float, float]:
    """Pillow's (a, b, c, d, e, f): output pixel (x, y) takes input (ax + by + c, dx + ey + f)."""
    cosine, sine = (f(math.radians(degrees)) / zoom for f in (math.cos, math.sin))
    sign = -1.0 if mirrored else 1.0
    a, b, d, e = sign * cosine, sign * sine, -sine, cosine
    # Pillow adds half a pixel to x and y itself, so the centre is at side / 2.
    x, y, centre = side / 2 + shift[0], side / 2 + shift[1], side / 2
    return a, b, centre - a * x - b * y, d, e, centre - d * x - e * y
