"""What the network saw of an image: its pixels, and how they were made, as one picture without names."""

from __future__ import annotations

import io
import textwrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxrs_edge.card import ModelCard
from cxrs_edge.grade import ImageInfo
from cxrs_edge.grayscale import Grayscale, LookupTable, Rescale, Window
from cxrs_edge.image import GrayImage
from cxrs_edge.prepare import Pixels, prepare
from cxrs_edge.render import RESEARCH_USE

SHOWN_SIDE = 480
"""Pixels: smaller inputs are enlarged by a whole number, so that each of their pixels stays a square."""
FOR_LEVEL1, FOR_LEVEL2 = np.array([60, 140, 220]), np.array([235, 110, 20])
MOST_COLOUR = 0.65
MARGIN, FONT_SIZE, LINE_HEIGHT, LINE_LENGTH = 10, 13, 18, 68


def draw_shown(image: GrayImage, card: ModelCard) -> bytes:
    """PNG: the prepared square, and `describe`'s lines below it. Raises `ImageError` as `prepare` does.

    Neither the file's name nor anything else that a DICOM file says of the patient is in it, except what is burnt
    into the pixels themselves.
    """
    enlarged = _enlarge(image, card)
    lines = [part for line in describe(image, card) for part in textwrap.wrap(line, LINE_LENGTH)]
    height = enlarged.height + 2 * MARGIN + LINE_HEIGHT * len(lines)
    picture = Image.new("L", (enlarged.width, height), 0)
    picture.paste(enlarged)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT_SIZE)
    for row, line in enumerate(lines):
        draw.text((MARGIN, enlarged.height + MARGIN + row * LINE_HEIGHT), line, fill=255, font=font)
    return to_png(picture)


def draw_square(image: GrayImage, card: ModelCard) -> bytes:
    """PNG: the prepared square alone, for a page that tells the rest in words; raises as `draw_shown`."""
    return to_png(_enlarge(image, card))


def draw_evidence(pixels: Pixels, evidence: NDArray[np.float32]) -> bytes:
    """PNG: what the network saw, coloured by what each of its cells adds to the logit margin.

    Orange speaks for level 2, blue for level 1, the strongest cell the most. `pixels` and `evidence` (1 x h x w) are
    those of `cxrs_edge.grader.Examination`.
    """
    square = pixels[0, :, :, 0]
    share = spread_evenly(evidence[0], square.shape)[:, :, np.newaxis]
    colours = np.where(share > 0, FOR_LEVEL2, FOR_LEVEL1)
    gray = np.repeat(square[:, :, np.newaxis], 3, axis=2)
    mixed = gray + (colours - gray) * np.abs(share) * MOST_COLOUR
    return to_png(Image.fromarray(mixed.astype(np.uint8)))


def spread_evenly(evidence: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The map (h x w) at an image's height and width, -1 to 1: the strongest cell is 1 or -1, 0 stays 0."""
    height, width = shape
    strongest = float(np.abs(evidence).max()) or 1.0
    cells = Image.fromarray((evidence / strongest).astype(np.float32))
    return np.asarray(cells.resize((width, height), Image.Resampling.BILINEAR))


def describe(image: GrayImage, card: ModelCard) -> list[str]:
    """How the pixels were made, one decision in a line, then the notes."""
    info, spec = ImageInfo.of(image, card.input), card.input
    crop = info.crop
    across, down = (100 * crop.side / side for side in (info.width, info.height))
    return [
        f"{info.format}, {info.width} x {info.height} pixels, {info.bits} bit",
        *(_describe_grayscale(info.grayscale) if info.grayscale else ["Gray levels: as in the file"]),
        f"Crop: {crop.side} x {crop.side} pixels, {crop.left} from the left, {crop.top} from the top",
        f"Seen: {across:.0f} % of the width, {down:.0f} % of the height",
        f"Network input: {spec.size} x {spec.size}, {spec.resize}; {card.name} {card.version}",
        *(f"Note: {note}" for note in image.notes),
        RESEARCH_USE,
    ]


def _enlarge(image: GrayImage, card: ModelCard) -> Image.Image:
    square = Image.fromarray(prepare(image, card.input)[0, :, :, 0])
    scale = -(-SHOWN_SIDE // square.width)
    return square.resize((square.width * scale, square.height * scale), Image.Resampling.NEAREST)


def to_png(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    return png.getvalue()


def _describe_grayscale(grayscale: Grayscale) -> list[str]:
    sign = "signed" if grayscale.signed else "unsigned"
    lines = [
        f"{grayscale.photometric}, {grayscale.bits_stored} bit {sign}, transfer syntax "
        f"{grayscale.transfer_syntax}",
        f"Modality LUT: {_describe_step(grayscale.modality)}",
        f"VOI LUT: {_describe_step(grayscale.voi)}",
        f"Inverted: {'yes' if grayscale.inverted else 'no'}",
    ]
    if grayscale.padding:
        lines.append(f"Padding, shown black: stored values {grayscale.padding[0]} to {grayscale.padding[1]}")
    return lines


def _describe_step(step: Rescale | LookupTable | Window | None) -> str:
    match step:
        case Rescale():
            return f"{step.slope:g} x stored value + {step.intercept:g}"
        case LookupTable():
            return f"table of {step.entries} entries from {step.first}, {step.bits} bit"
        case Window():
            return f"window {step.kind}, center {step.center:g}, width {step.width:g}"
        case None:
            return "none"
