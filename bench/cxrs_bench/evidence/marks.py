"""Things pasted onto films that must not move a level: markers, borders, letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cxrs_edge.evidence.fills import Plane

WHITE = 235
"""Gray of a lead marker on a film."""
Mark = Callable[[Plane], Plane]
"""The network's square, uint8, H x W -> the same with something pasted on it."""


def paste_text(plane: Plane, text: str, place: tuple[float, float], height: float) -> Plane:
    """Text whose letters are `height` of the side, its middle at `place` (across and down, shares of the side)."""
    picture, side = Image.fromarray(plane), len(plane)
    position = (place[0] * side, place[1] * side)
    font = ImageFont.load_default(height * side)
    ImageDraw.Draw(picture).text(position, text, fill=WHITE, font=font, anchor="mm")
    return np.asarray(picture)


def paint_border(plane: Plane, gray: int, width: float) -> Plane:
    """A frame of one gray, `width` of the side broad."""
    pixels = round(width * len(plane))
    framed = np.full_like(plane, gray)
    framed[pixels:-pixels, pixels:-pixels] = plane[pixels:-pixels, pixels:-pixels]
    return framed


MARKS: Mapping[str, Mark] = {
    "L, upper right": lambda plane: paste_text(plane, "L", (0.93, 0.08), 0.09),
    "R, upper left": lambda plane: paste_text(plane, "R", (0.07, 0.08), 0.09),
    "PORTABLE, upper edge": lambda plane: paste_text(plane, "PORTABLE", (0.75, 0.05), 0.05),
    "AP SUPINE, lower edge": lambda plane: paste_text(plane, "AP SUPINE", (0.25, 0.95), 0.05),
    "black border, 5 %": lambda plane: paint_border(plane, 0, 0.05),
    "white border, 5 %": lambda plane: paint_border(plane, 255, 0.05),
    "A, middle of the right lung": lambda plane: paste_text(plane, "A", (0.28, 0.5), 0.09),
}
"""The last one lies on the lung: a reader would look past it all the same."""
