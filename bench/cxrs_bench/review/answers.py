"""The answers file of a booklet, read strictly: what the network said of each case."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrs_edge.card import ZONES
from cxrs_edge.errors import DataError
from cxrs_edge.evidence.regions import MOST_REGIONS
from cxrs_edge.review.answers import SCHEMA, booklet_id

NETWORK = "network"
"""What the network is called among readers."""
THRESHOLD = 0.5
"""Probability from which the network says that a zone is affected."""


@dataclass(frozen=True)
class Answer:
    """What the network said of one case.

    Attributes
    ----------
    source : the file, as it was named when the booklet was made.
    level : 0 to 2; None if rejected.
    zones : a to f, affected or not; None if the network said nothing of them.
    critical : of each region, strongest first, whether it is a critical factor.
    """

    source: str
    level: int | None
    zones: tuple[bool, ...] | None
    critical: tuple[bool, ...]


@dataclass(frozen=True)
class Answers:
    """The answers to one booklet; case n is `cases[n - 1]`."""

    booklet: str
    model: str
    cases: tuple[Answer, ...]


def read_answers(path: Path) -> Answers:
    """Read what `cxrs-edge review` wrote; raises `DataError` for anything else, and for a file that was changed."""
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON; expected the booklet's .answers.json") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise DataError(f"{path}: schema {schema!r}; expected {SCHEMA!r}, the booklet's .answers.json")
    try:
        answers = _parse(found)
        unchanged = booklet_id(found["cases"]) == answers.booklet
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        lacking = f" (no {error.args[0]!r})" if isinstance(error, KeyError) else ""
        raise DataError(
            f"{path}: damaged: not all of a booklet's answers is in it{lacking}; take the file as "
            "`cxrs-edge review` wrote it"
        ) from error
    if not unchanged or not answers.cases:
        raise DataError(
            f"{path}: was changed since it was written: its cases aren't those of booklet {answers.booklet}"
        )
    return answers


def _parse(found: dict[str, Any]) -> Answers:
    cases = tuple(_case(one) for one in found["cases"])
    models = [one["answer"]["model"] for one in found["cases"]]
    model = f"{models[0]['name']} {models[0]['version']} {models[0]['precision']}" if models else ""
    return Answers(str(found["booklet"]), model, cases)


def _case(one: dict[str, Any]) -> Answer:
    answer = one["answer"]
    zones = answer.get("zones")
    return Answer(
        source=str(one["source"]),
        level=None if answer["level"] is None else int(answer["level"]),
        zones=None if zones is None else tuple(float(zones[zone]) >= THRESHOLD for zone in ZONES),
        critical=tuple(
            bool(candidate["critical"])
            for candidate in answer["evidence"].get("candidates", [])[:MOST_REGIONS]
        ),
    )
