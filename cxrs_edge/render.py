"""Grade or failure -> text, one line of JSON, one row of CSV. Nothing here prints."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict
from typing import Any, Final, Literal

from cxrs_edge.card import ZONES
from cxrs_edge.grade import Failure, Grade
from cxrs_edge.lung_diagram import draw_lungs
from cxrs_edge.outputs import MOST_EXTENT

Style = Literal["text", "json", "csv"]
STYLES: tuple[Style, ...] = ("text", "json", "csv")

SCHEMA: Final = "cxrs-edge/grade/1"
RESEARCH_USE = "Research software: not a medical device, not for patient care."
MEANING = {
    0: "opacities in none of 6 lung zones",
    1: "opacities in 1 or 2 of 6 lung zones",
    2: "opacities in 3 or more of 6 lung zones",
}
COLUMNS = (
    "source",
    "outcome",
    "level",
    "probability_level1",
    "probability_level2",
    "notes",
    "model_name",
    "model_version",
    "model_precision",
    "model_sha256",
    "engine_name",
    "engine_version",
    "engine_threads",
    "read_ms",
    "prepare_ms",
    "infer_ms",
    "error_kind",
    "error_message",
    *(f"zone_{zone}" for zone in ZONES),
    "geographic",
    "opacity",
    "gate_ms",
)
"""Of the CSV; columns are only added, at the end."""
OPTIONAL = ("image", "zones", "geographic", "opacity")
"""Keys that the JSON of a grade has only when there is something to say."""
FORMULA_STARTS = ("=", "+", "-", "@")
LONE_SURROGATES = re.compile("[\ud800-\udfff]")
BAR_WIDTH = 20


def render(result: Grade | Failure, style: Style) -> str:
    """One result, without a newline at its end.

    - text: for a person; several lines, or one for a failure.
    - json: one line in ASCII, keys as in the contract ``cxrs-edge/grade/1``.
    - csv: one row on one line, columns as in `csv_header`. A text cell that a spreadsheet would run as a formula
      (it begins with = + - @) gets an apostrophe in front.
    """
    if style == "json":
        return json.dumps(to_json(result), allow_nan=False)
    if style == "csv":
        return _csv_row(result)
    return _text_of_failure(result) if isinstance(result, Failure) else _text_of_grade(result)


def csv_header() -> str:
    """The CSV's first line, without a newline."""
    return ",".join(COLUMNS)


def to_json(result: Grade | Failure) -> dict[str, Any]:
    """The contract's keys in its order."""
    if isinstance(result, Failure):
        return {
            "schema": SCHEMA,
            "source": _unicode(result.source),
            "outcome": "error",
            "error": {"kind": result.kind, "message": _unicode(result.message)},
        }
    keys = {"schema": SCHEMA, **asdict(result), "source": _unicode(result.source)}
    return {key: value for key, value in keys.items() if value is not None or key not in OPTIONAL}


def printable(text: str) -> str:
    """Text on one line that can't steer a terminal: file names may hold newlines and escape codes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _text_of_grade(grade: Grade) -> str:
    level = "no level" if grade.level is None else f"level {grade.level}, {MEANING[grade.level]}"
    model, engine = grade.model, grade.engine
    lines = [
        f"{grade.source}: {grade.outcome} {level}",
        *(_text_of_probability(label, p) for label, p in grade.probabilities.items()),
        *(f"  {line}" for line in _text_of_findings(grade)),
        *(f"  note: {note}" for note in grade.notes),
        "  " + ", ".join(f"{stop} {ms:.0f} ms" for stop, ms in grade.timing_ms.items()),
        f"  {model.name} {model.version} {model.precision} on {engine.name} {engine.version}",
    ]
    return "\n".join(printable(line) for line in lines)


def _text_of_probability(label: str, probability: float) -> str:
    filled = round(probability * BAR_WIDTH)
    # ASCII, because a console's code page may have no block characters.
    return f"  {label} [{'#' * filled:.<{BAR_WIDTH}}] {100 * probability:5.1f} %"


def _text_of_findings(grade: Grade) -> list[str]:
    lines = draw_lungs(grade.zones) if grade.zones else []
    extents = {"geographic": grade.geographic, "opacity": grade.opacity}
    scores = [f"{name} {s:.1f} of {MOST_EXTENT:g}" for name, s in extents.items() if s is not None]
    return [*lines, f"extent, both lungs added up: {', '.join(scores)}"] if scores else lines


def _text_of_failure(failure: Failure) -> str:
    # Most messages begin with the source, as every message names its subject.
    named = failure.message.startswith(failure.source)
    return printable(failure.message if named else f"{failure.source}: {failure.message}")


def _csv_row(result: Grade | Failure) -> str:
    cells = _cells_of_failure(result) if isinstance(result, Failure) else _cells_of_grade(result)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="")
    writer.writerow({column: _cell(value) for column, value in cells.items()})
    return buffer.getvalue()


def _cells_of_grade(grade: Grade) -> dict[str, object]:
    return {
        "source": grade.source,
        "outcome": grade.outcome,
        "level": "" if grade.level is None else grade.level,
        **{f"probability_{label}": p for label, p in grade.probabilities.items()},
        "notes": "; ".join(grade.notes),
        **{f"model_{key}": value for key, value in asdict(grade.model).items()},
        **{f"engine_{key}": value for key, value in asdict(grade.engine).items()},
        **{f"{stop}_ms": ms for stop, ms in grade.timing_ms.items()},
        **{f"zone_{zone}": probability for zone, probability in (grade.zones or {}).items()},
        "geographic": grade.geographic,
        "opacity": grade.opacity,
    }


def _cells_of_failure(failure: Failure) -> dict[str, object]:
    return {
        "source": failure.source,
        "outcome": "error",
        "error_kind": failure.kind,
        "error_message": failure.message,
    }


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _unicode(text: str) -> str:
    """Valid Unicode, as JSON demands: a file name's undecodable bytes become replacement characters."""
    return LONE_SURROGATES.sub("\ufffd", text)
