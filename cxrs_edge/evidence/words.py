"""What an explanation says: in lines of text, and in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from cxrs_edge.evidence.factors import Candidate, Explanation, Removal
from cxrs_edge.evidence.outline import Ring, to_original, trace
from cxrs_edge.prepare import Frame
from cxrs_edge.render import printable, to_json

BARELY_DECIDED: Final = 0.6
"""Probability of the decided level below which a removal tells little: within 0.1 of the limit of 0.5, and marks at a
film's edge, which have nothing to do with severity, shift it by up to 0.075 (docs/evidence.md)."""


def verdict(explanation: Explanation) -> str:
    """How many regions passed, and whether that tells little; or why there are none."""
    if explanation.reason:
        return f"Not explained: {explanation.reason}"
    count, passed = len(explanation.candidates), len(explanation.critical_factors)
    if not count:
        return "No region speaks for this level."
    if not passed:
        region = "the one region" if count == 1 else f"any one of {count} regions"
        return f"No critical factor: removing {region} doesn't change the decision under both fills."
    factors = "1 critical factor" if passed == 1 else f"{passed} critical factors"
    among = "" if count == 1 else f" among {count} regions"
    removing = "removing it" if passed == 1 else "removing any one of them"
    return f"{factors}{among}: {removing} changes the decision under both fills.{_doubt(explanation)}"


def _doubt(explanation: Explanation) -> str:
    """A sentence where the factors may be none; empty elsewhere."""
    if explanation.probability >= BARELY_DECIDED:
        return ""
    return f" Barely decided (p {explanation.probability:.3f}): removing nearly anything changes it."


def legend(explanation: Explanation) -> list[str]:
    """What the colours and lines of a picture mean, and what the network saw."""
    level, frame = explanation.examination.grade.level, frame_of(explanation)
    return [
        f"Tint: speaks for level {level}, the strongest the most.",
        "Red: critical factor. Dashed: tried, not critical.",
        f"Bright square: what the network saw, {frame.side} x {frame.side} pixels at {frame.left}, {frame.top}.",
    ]


def frame_of(explanation: Explanation) -> Frame:
    """The square of the upright original that the network saw."""
    info = explanation.examination.grade.image
    assert info is not None  # `Grader.examine` says how the pixels were made
    return info.crop


def word_for(candidate: Candidate) -> str:
    """Whether it passed."""
    return "verified by removal" if candidate.is_critical else "not critical"


def describe_removals(removals: Sequence[Removal], before: float) -> str:
    """For example ``p 0.503 -> 0.495 (blur), 0.381 (ring mean)``: two decimals wouldn't show a fall across 0.5."""
    after = ", ".join(f"{removal.probability:.3f} ({removal.fill})" for removal in removals)
    return f"p {before:.3f} -> {after}"


def describe_together(explanation: Explanation) -> str:
    """The same for all regions at once; empty where there are fewer than two."""
    if len(explanation.candidates) < 2:
        return ""
    changed = all(removal.changed for removal in explanation.together)
    word = "changes the decision" if changed else "doesn't change the decision under both fills"
    return f"All together {word}: {describe_removals(explanation.together, explanation.probability)}"


def describe_lines(explanation: Explanation) -> list[str]:
    """The verdict, a line for each region and one for all; for a terminal."""
    regions = [
        f"  {number} {word_for(candidate)}: {describe_removals(candidate.removals, explanation.probability)}"
        for number, candidate in enumerate(explanation.candidates, start=1)
    ]
    together = describe_together(explanation)
    lines = [verdict(explanation), *regions, *([f"  {together}"] if together else [])]
    return [printable(line) for line in lines]


def outline(candidate: Candidate, explanation: Explanation) -> tuple[Ring, ...]:
    """A region's rings in pixels of the upright original image."""
    cells = candidate.region.cells
    return tuple(to_original(ring, len(cells), frame_of(explanation)) for ring in trace(cells))


def origin(explanation: Explanation) -> str:
    """Which model said it, on what."""
    model, engine = explanation.examination.grade.model, explanation.examination.grade.engine
    return f"{model.name} {model.version} {model.precision} on {engine.name} {engine.version}"


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """The grade's JSON (``cxrs-edge/grade/1``) with the key ``evidence``."""
    return {**to_json(explanation.examination.grade), "evidence": _evidence(explanation)}


def _evidence(explanation: Explanation) -> dict[str, Any]:
    """Polygons are lists of rings, the outer one first, then holes: x and y in pixels of the upright original."""
    if explanation.reason:
        return {"explained": False, "reason": explanation.reason}
    candidates = [
        {
            "critical": candidate.is_critical,
            "evidence": candidate.region.evidence,
            "polygon": [[list(point) for point in ring] for ring in outline(candidate, explanation)],
            "removals": [asdict(removal) for removal in candidate.removals],
        }
        for candidate in explanation.candidates
    ]
    return {
        "explained": True,
        "level": explanation.examination.grade.level,
        "probability": explanation.probability,
        "candidates": candidates,
        "together": [asdict(removal) for removal in explanation.together],
    }
