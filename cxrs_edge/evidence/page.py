"""An explanation as one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from cxrs_edge.evidence.factors import Candidate, Explanation
from cxrs_edge.evidence.layers import evidence_layer, view
from cxrs_edge.evidence.svg import data_uri, draw_outlines
from cxrs_edge.evidence.words import (
    describe_removals,
    describe_together,
    frame_of,
    legend,
    origin,
    verdict,
    word_for,
)
from cxrs_edge.render import MEANING, RESEARCH_USE, printable
from cxrs_edge.show import to_png

QUALITY = 88
LUNGS = (("upper", "a", "d"), ("middle", "b", "e"), ("lower", "c", "f"))


def render_page(explanation: Explanation) -> str:
    """HTML with the X-ray, its map and its regions in it; all text escaped.

    The explanation must be one (its `reason` empty). Unlike the PNG it holds the source's name.
    """
    package = files("cxrs_edge.evidence")
    template = Template(package.joinpath("page.html").read_text("utf-8"))
    style = package.joinpath("page.css").read_text("utf-8")
    return template.substitute(_pictures(explanation), **_words(explanation), style=style)


def _pictures(explanation: Explanation) -> dict[str, object]:
    """Everything in pixels of the upright original: the browser scales it."""
    examination, frame = explanation.examination, frame_of(explanation)
    width, height = examination.image.size
    xray = io.BytesIO()
    view(explanation).save(xray, "JPEG", quality=QUALITY)
    size = examination.pixels.shape[1]
    return {
        "width": width,
        "height": height,
        "left": frame.left,
        "top": frame.top,
        "side": frame.side,
        "xray": data_uri("image/jpeg", xray.getvalue()),
        "map": data_uri("image/png", to_png(evidence_layer(explanation, size))),
        "outlines": draw_outlines(explanation),
    }


def _words(explanation: Explanation) -> dict[str, str]:
    grade = explanation.examination.grade
    assert grade.level is not None  # what has none isn't explained
    together = describe_together(explanation)
    factors = (
        f"<li{_critical(candidate)}><strong>{word_for(candidate)}</strong><br>{escape(removals)}</li>"
        for candidate in explanation.candidates
        for removals in [describe_removals(candidate.removals, explanation.probability)]
    )
    return {
        "name": escape(printable(Path(grade.source).name)),
        "level": str(grade.level),
        "doubt": ", uncertain" if grade.outcome == "uncertain" else "",
        "meaning": MEANING[grade.level],
        "level1": f"{grade.probabilities['level1']:.2f}",
        "level2": f"{grade.probabilities['level2']:.2f}",
        "zones": _zones(grade.zones) if grade.zones else "",
        "verdict": escape(verdict(explanation)),
        "factors": "\n".join(factors),
        "together": f"<p>{escape(together)}</p>" if together else "",
        "legend": _items(legend(explanation)),
        "notes": _items((*grade.notes, origin(explanation))),
        "research_use": escape(RESEARCH_USE),
    }


def _critical(candidate: Candidate) -> str:
    return ' class="critical"' if candidate.is_critical else ""


def _zones(zones: Mapping[str, float]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{height}</th>'
        + "".join(f"<td>{zone} {100 * zones[zone]:.0f} %</td>" for zone in pair)
        + "</tr>"
        for height, *pair in LUNGS
    )
    head = '<tr><td class="none"></td><th scope="col">right lung</th><th scope="col">left lung</th></tr>'
    return f'<table class="zones"><caption>Opacity in each zone</caption>{head}{rows}</table>'


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"<li>{escape(printable(line))}</li>" for line in lines)
