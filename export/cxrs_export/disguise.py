"""Hide what tells one hospital's films from another's, so that a network can't live on it.

In pooled chest X-ray collections the shape of the film, its tone, its border with burnt-in letters and its sharpness
tell the source, and the source tells the label (DeGrave, Janizek, Lee, AI for radiographic COVID-19 detection selects
shortcuts over signal, Nature Machine Intelligence 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.uint8]


@dataclass(frozen=True)
class Disguise:
    """Ranges of the random changes; all 0, as in the paper, changes nothing.

    Attributes
    ----------
    stretch : largest relative change of width against height.
    gamma : largest relative change of the tone curve's exponent.
    contrast : largest relative change of the distances from the mean gray.
    border : in half of the images, largest width of a plain border, as a share of the side, each edge by itself.
    blur : in half of the images, largest relative loss of resolution.
    """

    stretch: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    border: float = 0.0
    blur: float = 0.0


def disguise(plane: Plane, ranges: Disguise, rng: np.random.Generator) -> Plane:
    """Change shape, sharpness, tone and border of a square image; H x H in and out."""
    # Always draw all numbers: switching one change off leaves the others' draws as they were.
    stretch, gamma, contrast = rng.uniform(-1, 1, 3)
    blur, fill = rng.uniform(0, 1, 2)
    edges = rng.uniform(0, 1, 4)
    blurred, bordered = rng.random(2) < 0.5
    plane = _stretch(plane, (1 + ranges.stretch) ** stretch)
    if blurred:
        plane = _blur(plane, 1 + blur * ranges.blur)
    plane = _tone(plane, (1 + ranges.gamma) ** gamma, 1 + contrast * ranges.contrast)
    if bordered:
        plane = _border(plane, np.round(edges * ranges.border * len(plane)).astype(int), round(fill * 255))
    return plane


def _stretch(plane: Plane, ratio: float) -> Plane:
    """Make it `ratio` times as wide for its height; the longer direction loses its ends, so no edge comes in."""
    side = len(plane)
    wide, high = min(side, side / ratio), min(side, side * ratio)
    box = ((side - wide) / 2, (side - high) / 2, (side + wide) / 2, (side + high) / 2)
    return np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BILINEAR, box=box))


def _blur(plane: Plane, factor: float) -> Plane:
    side = len(plane)
    small = Image.fromarray(plane).resize([round(side / factor)] * 2, Image.Resampling.BILINEAR)
    return np.asarray(small.resize((side, side), Image.Resampling.BILINEAR))


def _tone(plane: Plane, exponent: float, contrast: float) -> Plane:
    curve = (np.arange(256) / 255) ** exponent * 255
    bright = curve[plane]
    mean = bright.mean()
    toned: Plane = np.clip(np.round(mean + (bright - mean) * contrast), 0, 255).astype(np.uint8)
    return toned


def _border(plane: Plane, edges: NDArray[np.int_], gray: int) -> Plane:
    top, right, bottom, left = edges
    bordered = np.full_like(plane, gray)
    rows, columns = slice(top, len(plane) - bottom), slice(left, len(plane) - right)
    bordered[rows, columns] = plane[rows, columns]
    return bordered
