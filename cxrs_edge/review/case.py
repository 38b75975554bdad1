"""One X-ray of a booklet: how it is shown, and what the network said of it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cxrs_edge.evidence.factors import Explanation, explain
from cxrs_edge.evidence.svg import draw_outlines
from cxrs_edge.evidence.words import describe_removals, explanation_json, verdict, word_for
from cxrs_edge.grader import Grader
from cxrs_edge.image import read_file, read_image
from cxrs_edge.intake import enough_memory
from cxrs_edge.prepare import to_8_bit
from cxrs_edge.render import MEANING

SIDE = 1280
"""Most pixels of the X-ray's longer side: enough for hazy opacities on a screen and on paper."""
QUALITY = 85


@dataclass(frozen=True)
class Factor:
    """One outlined region, as it is put to a reader: what it is, and what its removal did."""

    title: str
    removals: str


@dataclass(frozen=True)
class Case:
    """What a booklet and its answers need of one X-ray; the decoded pixels are gone.

    Attributes
    ----------
    digest : SHA-256 of the file, hexadecimal.
    xray : JPEG, gray, nothing of the file but its pixels.
    size : width and height of the upright original, the space of `outlines`.
    outlines : SVG elements; empty without factors.
    told : what is said once the zones are fixed.
    answer : the grade and its evidence as JSON, without ``timing_ms``.
    """

    source: str
    digest: str
    xray: bytes
    size: tuple[int, int]
    outlines: str
    told: tuple[str, ...]
    factors: tuple[Factor, ...]
    answer: dict[str, Any]


def make_case(grader: Grader, path: str) -> Case:
    """Read, grade and explain one image: at most 9 inferences. Raises as `explain`."""
    data = read_file(path)
    explanation = explain(grader, data, name=path)
    # The network's copy may have been decoded at a reduced scale.
    with enough_memory(path):
        xray = _to_jpeg(data, path)
    answer = explanation_json(explanation)
    del answer["timing_ms"]
    return Case(
        source=path,
        digest=hashlib.sha256(data).hexdigest(),
        xray=xray,
        size=explanation.examination.image.size,
        outlines=draw_outlines(explanation),
        told=_told(explanation),
        factors=tuple(
            Factor(
                f"Region {number}: {'critical factor, ' if candidate.is_critical else 'candidate, '}"
                f"{word_for(candidate)}",
                f"Level {answer['level']} without it: "
                f"{describe_removals(candidate.removals, explanation.probability)}",
            )
            for number, candidate in enumerate(explanation.candidates, start=1)
        ),
        answer=answer,
    )


def name_of(case: Case) -> str:
    """The file's name without its folders."""
    return Path(case.source).name


def _to_jpeg(data: bytes, name: str) -> bytes:
    image = Image.fromarray(to_8_bit(read_image(data, name=name, at_least=SIDE).pixels))
    # Small ones stay as they are: the browser enlarges them.
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=QUALITY)
    return jpeg.getvalue()


def _told(explanation: Explanation) -> tuple[str, ...]:
    grade = explanation.examination.grade
    if grade.level is None:
        return (verdict(explanation),)
    doubt = ", uncertain" if grade.outcome == "uncertain" else ""
    return f"The network decided level {grade.level}{doubt}: {MEANING[grade.level]}.", verdict(explanation)
