"""Films spoiled in the ways that the quality gate must notice. Gray planes in, gray planes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.uint8]
"""uint8, height x width."""
Spoil = Callable[[Plane, np.random.Generator], Plane]

LEAST_SHOWN, MOST_SHOWN = 0.25, 0.6
LARGEST_PART = 0.3
"""Of the film's area, at most, in a heavy crop that is no half."""
FADED_LEVELS = 6
SMALL_SIDE = (64, 127)


def turn_left(film: Plane, _rng: np.random.Generator) -> Plane:
    """Lying on its side, the head to the left."""
    return np.ascontiguousarray(np.rot90(film))


def turn_right(film: Plane, _rng: np.random.Generator) -> Plane:
    """Lying on its side, the head to the right."""
    return np.ascontiguousarray(np.rot90(film, -1))


def turn_over(film: Plane, _rng: np.random.Generator) -> Plane:
    """Upside down."""
    return np.ascontiguousarray(film[::-1, ::-1])


def invert(film: Plane, _rng: np.random.Generator) -> Plane:
    """Air bright and bone dark."""
    return 255 - film


def cut_part(film: Plane, rng: np.random.Generator) -> Plane:
    """A heavy crop: one half, or a window of at most 0.3 of the area."""
    height, width = film.shape
    if rng.random() < 0.4:
        down, across = height // 2, width // 2
        halves = film[:, :across], film[:, across:], film[:down], film[down:]
        return halves[rng.integers(4)]
    while True:
        shown = rng.uniform(LEAST_SHOWN, MOST_SHOWN, 2)
        if shown.prod() <= LARGEST_PART:
            break
    rows, columns = (shown * film.shape).astype(int)
    top, left = (rng.random(2) * (height - rows + 1, width - columns + 1)).astype(int)
    return film[top : top + rows, left : left + columns]


def fade(film: Plane, rng: np.random.Generator) -> Plane:
    """Nearly blank: all of the film in a few gray levels."""
    return (rng.integers(0, 240) + film.astype(np.float32) * (FADED_LEVELS / 255)).astype(np.uint8)


def make_small(film: Plane, rng: np.random.Generator) -> Plane:
    """A copy whose shorter side has 64 to 127 pixels."""
    height, width = film.shape
    scale = rng.integers(*SMALL_SIDE) / min(film.shape)
    size = max(SMALL_SIDE[0], round(width * scale)), max(SMALL_SIDE[0], round(height * scale))
    return np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BOX))


TURNS: Mapping[str, Spoil] = {
    "turned_left": turn_left,
    "turned_right": turn_right,
    "upside_down": turn_over,
    "inverted": invert,
    "part": cut_part,
}
"""Class of the gate's network -> what makes an image of it out of a film."""
SPOILS: Mapping[str, Spoil] = {**TURNS, "nearly blank": fade, "small": make_small}
"""All kinds that are measured."""
