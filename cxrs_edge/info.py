"""What a model is, and what this machine would run it with. Loads no engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from cxrs_edge.card import SCHEMA as CARD_SCHEMA
from cxrs_edge.engines.registry import ENGINES, EngineEntry, choose_engine, package_version
from cxrs_edge.engines.threads import count_cores
from cxrs_edge.errors import MissingDependency
from cxrs_edge.model_file import ModelFile
from cxrs_edge.render import RESEARCH_USE, printable

SCHEMA = "cxrs-edge/info/1"
LONGEST_LIST = 8
"""Longer ones, such as the ids of calibration images, are counted in text; JSON has them all."""


def describe(file: ModelFile) -> dict[str, Any]:
    """JSON-ready: the card, the engine and threads that ``auto`` means here, and every engine's state."""
    chosen = choose_engine("auto", file.kind)
    return {
        "schema": SCHEMA,
        "file": str(file.path),
        "card": {"schema": CARD_SCHEMA, **asdict(file.card)},
        "engine": chosen.name if chosen.package() else None,
        "threads": count_cores(),
        "engines": [_describe_engine(entry) for entry in ENGINES],
    }


def _describe_engine(entry: EngineEntry) -> dict[str, str | None]:
    state: dict[str, str | None] = {"name": entry.name, "package": None, "version": None, "cure": None}
    try:
        package = entry.require_package()
    except MissingDependency as error:
        return state | {"cure": str(error)}
    return state | {"package": package, "version": package_version(package)}


def render_info(info: Mapping[str, Any]) -> str:
    """The same for a person."""
    card = {key: value for key, value in info["card"].items() if key != "schema"}
    lines = [
        f"{card.pop('name')} {card.pop('version')} {card.pop('precision')}",
        f"  file: {info['file']}",
        *_lines_of(card, "  "),
        "This machine",
        f"  engine: {info['engine'] or 'none that runs this file'}",
        f"  threads: {info['threads']}",
        *(f"  {_line_of_engine(engine)}" for engine in info["engines"]),
        RESEARCH_USE,
    ]
    return "\n".join(printable(line) for line in lines)


def _line_of_engine(engine: Mapping[str, str | None]) -> str:
    return engine["cure"] or f"{engine['name']}: {engine['package']} {engine['version']}"


def _lines_of(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _lines_of(value, indent + "  ")
        elif value not in ({}, None):
            yield f"{indent}{key}: {_short(value)}"


def _short(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    if len(value) > LONGEST_LIST:
        return f"{len(value)} items"
    return ", ".join(map(str, value))
