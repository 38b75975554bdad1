"""Regions as SVG, and pictures inside of a page."""

from __future__ import annotations

import base64

from cxrs_edge.evidence.factors import Candidate, Explanation
from cxrs_edge.evidence.words import frame_of, outline


def draw_outlines(explanation: Explanation) -> str:
    """SVG in pixels of the upright original: each candidate's outline and number, the strongest on top."""
    numbered = enumerate(explanation.candidates, start=1)
    return "\n".join(
        _outline(number, candidate, explanation) for number, candidate in reversed(list(numbered))
    )


def data_uri(kind: str, data: bytes) -> str:
    """A file of this MIME type inside of an address."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _outline(number: int, candidate: Candidate, explanation: Explanation) -> str:
    rings = outline(candidate, explanation)
    path = " ".join(f"M{' '.join(f'{x:.1f},{y:.1f}' for x, y in ring)}Z" for ring in rings)
    x, y = rings[0][0]
    # A figure of 1/25 of the frame is read on a phone too.
    high = frame_of(explanation).side / 25
    kind = "region critical" if candidate.is_critical else "region"
    return (
        f'<path class="{kind}" d="{path}"/>'
        f'<text x="{x + high / 3:.1f}" y="{y + 1.2 * high:.1f}" style="font-size: {high:.1f}px">{number}</text>'
    )
