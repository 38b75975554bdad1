"""What lies upon each other in a picture of an explanation: X-ray, map, frame and outlines."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from cxrs_edge.evidence.factors import Explanation
from cxrs_edge.evidence.outline import Point, Ring
from cxrs_edge.evidence.words import frame_of, outline
from cxrs_edge.prepare import to_8_bit
from cxrs_edge.show import FOR_LEVEL1, FOR_LEVEL2, spread_evenly

VIEW_SIDE = 900
"""Pixels of the longer side of the X-ray in a picture."""
CALM = 0.45
"""Opacity of the map where it is strongest."""
OUTSIDE = 0.45
"""Brightness of what the network didn't see."""
RED, WHITE, SHADE = (235, 33, 46), (235, 240, 245), (10, 12, 16)
DASH, GAP = 9.0, 7.0


def view(explanation: Explanation) -> Image.Image:
    """The whole upright X-ray in gray, its longer side `VIEW_SIDE` pixels, small ones enlarged."""
    shown = Image.fromarray(to_8_bit(explanation.examination.image.pixels))
    return ImageOps.contain(shown, (VIEW_SIDE, VIEW_SIDE), Image.Resampling.BICUBIC)


def evidence_layer(explanation: Explanation, side: int) -> Image.Image:
    """RGBA, side x side: what speaks for the decided level, in its colour, the stronger the less transparent."""
    level = explanation.examination.grade.level
    evidence = explanation.examination.outputs["evidence"][0]
    share = spread_evenly(evidence if level == 2 else -evidence, (side, side)).clip(0, 1)
    layer = np.empty((side, side, 4), np.uint8)
    layer[..., :3] = FOR_LEVEL2 if level == 2 else FOR_LEVEL1
    layer[..., 3] = np.round(255 * CALM * share)
    return Image.fromarray(layer)


def draw_view(explanation: Explanation) -> Image.Image:
    """RGB: the X-ray, dimmed outside of the network's frame, with map, frame and numbered outlines."""
    gray = view(explanation)
    scale = gray.width / explanation.examination.image.size[0]
    frame = frame_of(explanation)
    left, top, side = (round(edge * scale) for edge in (frame.left, frame.top, frame.side))
    picture = gray.point(lambda value: value * OUTSIDE).convert("RGB")
    picture.paste(gray.crop((left, top, left + side, top + side)).convert("RGB"), (left, top))
    layer = evidence_layer(explanation, side)
    picture.paste(layer.convert("RGB"), (left, top), layer.getchannel("A"))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, left + side - 1, top + side - 1), outline=(120, 130, 140))
    for candidate in reversed(explanation.candidates):
        rings = [tuple((x * scale, y * scale) for x, y in ring) for ring in outline(candidate, explanation)]
        _draw_rings(draw, rings, critical=candidate.is_critical)
    return picture


def label_place(ring: Ring) -> Point:
    """Where a region's number stands: at its outer ring's first corner, which is the topmost."""
    return ring[0]


def _draw_rings(draw: ImageDraw.ImageDraw, rings: Iterable[Ring], *, critical: bool) -> None:
    for ring in rings:
        closed = [*ring, ring[0]]
        draw.line(closed, fill=SHADE, width=7 if critical else 4, joint="curve")
        if critical:
            draw.line(closed, fill=RED, width=4, joint="curve")
            continue
        for start, end in itertools.pairwise(closed):
            for dash in _dashes(start, end):
                draw.line(dash, fill=WHITE, width=2)


def _dashes(start: Point, end: Point) -> Iterable[tuple[Point, Point]]:
    (xa, ya), (xb, yb) = start, end
    length = float(np.hypot(xb - xa, yb - ya))
    for begin in np.arange(0, length, DASH + GAP).tolist():
        a, b = begin / length, min(begin + DASH, length) / length
        yield (xa + (xb - xa) * a, ya + (yb - ya) * a), (xa + (xb - xa) * b, ya + (yb - ya) * b)
