"""Cases -> the booklet: one HTML file with its X-rays and its script in it, for a screen and for paper."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from PIL import Image

from cxrs_edge.card import ZONES
from cxrs_edge.evidence.svg import data_uri
from cxrs_edge.render import RESEARCH_USE, printable
from cxrs_edge.review.case import Case, Factor, name_of

HEIGHTS = ("upper", "middle", "lower")
SIDES = ("right", "left")
RATINGS = ("agree", "partly", "disagree")
"""Of a region, from most to least."""
COLUMNS = (
    "booklet",
    "reader",
    "case",
    *(f"zone_{zone}" for zone in ZONES),
    *(f"region_{number}" for number in (1, 2, 3)),
    "comment",
)
"""Of the exported CSV, a row for each case: a zone is 1 or 0, all six empty if the case wasn't read."""


def render_booklet(cases: Sequence[Case], booklet: str, *, names: bool = False) -> str:
    """HTML; all text escaped.

    Parameters
    ----------
    booklet : the id that the exported CSV carries.
    names : whether file names (never their folders) are shown; else cases only have numbers.
    """
    script = f"{_text('serve', 'static/csv.js')}\n{_text('review', 'booklet.js')}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(_text("review", "booklet.html")).substitute(
        booklet=booklet,
        columns=escape(json.dumps(COLUMNS)),
        count=len(cases),
        cases="\n".join(_case(number, case, len(cases), names) for number, case in enumerate(cases, start=1)),
        research_use=escape(RESEARCH_USE),
        script=script,
        script_hash=digest,
        style=_text("review", "booklet.css"),
    )


def _case(number: int, case: Case, count: int, names: bool) -> str:
    width, height = case.size
    return Template(_text("review", "case.html")).substitute(
        number=number,
        count=count,
        name=f'<span class="name">{escape(printable(name_of(case)))}</span>' if names else "",
        xray=data_uri("image/jpeg", case.xray),
        width=width,
        height=height,
        stored=Image.open(io.BytesIO(case.xray)).width,
        outlines=case.outlines,
        switch=Template(SWITCH).substitute(number=number) if case.factors else "",
        zones="\n".join(_zone(zone, place) for place, zone in _as_on_the_film()),
        told="\n".join(f"<p>{escape(printable(line))}</p>" for line in case.told),
        question=QUESTION.format(level=case.answer["level"]) if case.factors else "",
        factors="\n".join(_factor(number, at, factor) for at, factor in enumerate(case.factors, start=1)),
    )


SWITCH = '<label class="switch" hidden><input type="checkbox" id="regions-$number" checked> Show the regions</label>'
QUESTION = '<p class="question">Would you base level {level} on this region?</p>'


def _as_on_the_film() -> list[tuple[str, str]]:
    """Place and zone, row by row: the patient's right lung is on the left."""
    rows = zip(HEIGHTS, ZONES[:3], ZONES[3:], strict=True)
    return [
        (f"{side} {height}", zone) for height, *pair in rows for side, zone in zip(SIDES, pair, strict=True)
    ]


def _zone(zone: str, place: str) -> str:
    return (
        f'<label class="zone {place}"><input type="checkbox" name="zone" value="{zone}" aria-label="{place} zone">'
        f"<span>{place.split()[1]}</span></label>"
    )


def _factor(case: int, number: int, factor: Factor) -> str:
    choices = "".join(
        f'<label><input type="radio" name="region-{case}-{number}" value="{rating}"> {rating}</label>'
        for rating in RATINGS
    )
    return (
        f'<fieldset class="factor" data-region="{number}"><legend>{escape(factor.title)}</legend>'
        f'<p class="quiet">{escape(factor.removals)}</p><div class="choices">{choices}</div></fieldset>'
    )


@cache
def _text(package: str, path: str) -> str:
    return files(f"cxrs_edge.{package}").joinpath(path).read_text("utf-8")
