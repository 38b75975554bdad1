"""An explanation as one PNG: the X-ray with its critical factors, and beside it what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from cxrs_edge.evidence.factors import Explanation
from cxrs_edge.evidence.layers import RED, WHITE, draw_view, label_place
from cxrs_edge.evidence.words import (
    describe_removals,
    describe_together,
    legend,
    origin,
    outline,
    verdict,
    word_for,
)
from cxrs_edge.render import MEANING, RESEARCH_USE
from cxrs_edge.show import FOR_LEVEL1, FOR_LEVEL2, to_png

GROUND, QUIET, FAINT = (16, 20, 26), (160, 172, 184), (52, 62, 72)
MARGIN, PANEL, LEAST_HEIGHT = 20, 420, 800
SMALL, NORMAL, LARGE = 14, 16, 26
LEADING = 1.4
COLOURS = {1: tuple(FOR_LEVEL1.tolist()), 2: tuple(FOR_LEVEL2.tolist())}
Colour = tuple[int, ...]


def draw_picture(explanation: Explanation) -> bytes:
    """PNG: no name and no other text of the file is in it, except what is burnt into the X-ray.

    The explanation must be one (its `reason` empty).
    """
    xray = draw_view(explanation)
    _number_regions(xray, explanation)
    height = max(xray.height + 2 * MARGIN, LEAST_HEIGHT)
    picture = Image.new("RGB", (xray.width + PANEL + 3 * MARGIN, height), GROUND)
    picture.paste(xray, (MARGIN, (height - xray.height) // 2))
    pen = _Pen(ImageDraw.Draw(picture), xray.width + 2 * MARGIN, MARGIN)
    _write_decision(pen, explanation)
    _write_regions(pen, explanation)
    _write_origin(pen, explanation)
    return to_png(picture)


@dataclass
class _Pen:
    """Writes lines below each other in the panel; `top` is where the next one begins."""

    draw: ImageDraw.ImageDraw
    left: int
    top: float

    def write(self, text: str, size: int = NORMAL, colour: Colour = WHITE, indent: int = 0) -> None:
        """A paragraph, broken to the panel's width."""
        font = ImageFont.load_default(size)
        for line in self._break(text, font, PANEL - indent):
            self.draw.text((self.left + indent, self.top), line, fill=colour, font=font)
            self.top += size * LEADING

    def skip(self, height: int) -> None:
        self.top += height

    def _break(
        self, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
    ) -> Iterable[str]:
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and self.draw.textlength(longer, font=font) > width:
                yield line
                longer = word
            line = longer
        yield line


def _number_regions(picture: Image.Image, explanation: Explanation) -> None:
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(SMALL)
    scale = picture.width / explanation.examination.image.size[0]
    for number, candidate in enumerate(explanation.candidates, start=1):
        x, y = (place * scale for place in label_place(outline(candidate, explanation)[0]))
        back = RED if candidate.is_critical else FAINT
        draw.rectangle((x, y, x + 16, y + 20), fill=back)
        draw.text((x + 8, y + 10), str(number), fill=WHITE, font=font, anchor="mm")


def _write_decision(pen: _Pen, explanation: Explanation) -> None:
    grade = explanation.examination.grade
    assert grade.level is not None  # what has none isn't explained
    doubt = ", uncertain" if grade.outcome == "uncertain" else ""
    pen.write(f"Level {grade.level}{doubt}", LARGE, COLOURS[grade.level])
    pen.write(MEANING[grade.level], colour=QUIET)
    pen.skip(8)
    for level in (1, 2):
        _draw_bar(pen, f"level {level}", grade.probabilities[f"level{level}"], COLOURS[level])
    if grade.zones:
        pen.skip(12)
        _draw_zones(pen, grade.zones)


def _draw_bar(pen: _Pen, label: str, share: float, colour: Colour) -> None:
    draw, left, top, font = pen.draw, pen.left, pen.top, ImageFont.load_default(SMALL)
    draw.text((left, top), label, fill=QUIET, font=font)
    box = (left + 70, top + 2, PANEL + left - 60, top + 16)
    draw.rectangle(box, fill=FAINT)
    draw.rectangle((*box[:2], box[0] + share * (box[2] - box[0]), box[3]), fill=colour)
    draw.text((left + PANEL, top), f"{share:.2f}", fill=WHITE, font=font, anchor="ra")
    pen.skip(24)


def _draw_zones(pen: _Pen, zones: Mapping[str, float]) -> None:
    """Two columns of three boxes, the right lung on the left as on a film, the likelier the warmer."""
    pen.write("Opacity in each zone (right lung, left lung)", SMALL, QUIET)
    pen.skip(4)
    font, high, wide = ImageFont.load_default(NORMAL), 34, 120
    for number, (zone, share) in enumerate(zones.items()):
        column, row = divmod(number, 3)
        x, y = pen.left + column * (wide + 12), pen.top + row * (high + 4)
        back = tuple(round(a + (b - a) * share * 0.8) for a, b in zip(FAINT, COLOURS[2], strict=True))
        pen.draw.rounded_rectangle((x, y, x + wide, y + high), 6, fill=back)
        pen.draw.text((x + 12, y + high / 2), zone, fill=WHITE, font=font, anchor="lm")
        pen.draw.text(
            (x + wide - 12, y + high / 2), f"{100 * share:.0f} %", fill=WHITE, font=font, anchor="rm"
        )
    pen.skip(3 * (high + 4))


def _write_regions(pen: _Pen, explanation: Explanation) -> None:
    pen.skip(16)
    pen.write(verdict(explanation))
    pen.skip(6)
    for number, candidate in enumerate(explanation.candidates, start=1):
        colour = RED if candidate.is_critical else QUIET
        pen.write(f"{number}  {word_for(candidate)}", colour=colour)
        pen.write(describe_removals(candidate.removals, explanation.probability), SMALL, WHITE, indent=18)
    if together := describe_together(explanation):
        pen.skip(6)
        pen.write(together, SMALL, QUIET)


def _write_origin(pen: _Pen, explanation: Explanation) -> None:
    pen.skip(16)
    for text in (*legend(explanation), *explanation.examination.grade.notes, origin(explanation)):
        pen.write(text, SMALL, QUIET)
    pen.write(RESEARCH_USE, SMALL, WHITE)
