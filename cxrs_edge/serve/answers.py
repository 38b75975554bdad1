"""The answers of the API, for its OpenAPI document; the grade's fields come from `cxrs_edge.grade.Grade`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cxrs_edge.grade import EngineInfo, Grade, ModelInfo
from cxrs_edge.render import SCHEMA


@dataclass(frozen=True)
class GradeAnswer(Grade):
    """What `cxrs-edge predict --format json` says of a file."""

    schema: Literal["cxrs-edge/grade/1"] = SCHEMA


@dataclass(frozen=True)
class ErrorReason:
    """A stable word for the reason, and a sentence."""

    kind: str
    message: str


@dataclass(frozen=True)
class ErrorAnswer:
    """A request without a grade, as `predict --format json` says it."""

    schema: Literal["cxrs-edge/grade/1"]
    source: str
    outcome: Literal["error"]
    error: ErrorReason


@dataclass(frozen=True)
class About:
    """What answers here.

    Attributes
    ----------
    version : of cxrs-edge.
    max_bytes : of one file.
    csv_columns : of the CSV that `predict` writes.
    meaning : of each level.
    outputs : of the model, for example ``evidence``.
    accuracy : as the model's card states it; empty if it doesn't.
    """

    version: str
    model: ModelInfo
    engine: EngineInfo
    max_bytes: int
    csv_columns: tuple[str, ...]
    meaning: dict[int, str]
    outputs: tuple[str, ...]
    accuracy: dict[str, Any]
    research_use: str
