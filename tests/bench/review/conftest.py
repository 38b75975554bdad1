"""A booklet of four cases, its answers file, and readers' CSVs for it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrs_edge.review.answers import SCHEMA, booklet_id
from cxrs_edge.review.booklet import COLUMNS

MODEL = {"name": "tiny", "version": "1.2", "precision": "float32"}
CASES = [
    # Level, zones that are 0.5 or more, critical?
    (2, "abc", [True, False]),
    (1, "a", [False]),
    (0, "", []),
    (None, None, []),
]
"""The network's answers; the last case is rejected."""


def answer(level: int | None, zones: str | None, critical: list[bool]) -> dict[str, Any]:
    said: dict[str, Any] = {"source": "scan.png", "level": level, "model": MODEL}
    if zones is not None:
        said["zones"] = {zone: 0.5 if zone in zones else 0.49 for zone in "abcdef"}
    said["evidence"] = {"explained": bool(critical)}
    if critical:
        said["evidence"]["candidates"] = [{"critical": is_critical} for is_critical in critical]
    return said


@pytest.fixture
def listed() -> list[dict[str, Any]]:
    return [
        {
            "case": number,
            "source": f"xrays/p{(number + 1) // 2}-{number}.png",
            "sha256": "0",
            "answer": answer(*case),
        }
        for number, case in enumerate(CASES, start=1)
    ]


@pytest.fixture
def answers_file(tmp_path: Path, listed: list[dict[str, Any]]) -> Path:
    path = tmp_path / "booklet.answers.json"
    path.write_text(json.dumps({"schema": SCHEMA, "booklet": booklet_id(listed), "cases": listed}))
    return path


Row = dict[str, str]
WriteCsv = Callable[..., Path]


@pytest.fixture
def rows(listed: list[dict[str, Any]]) -> Callable[..., list[Row]]:
    """`rows("Anna", ["abc", "a", "", None], ["agree partly", ...])`: None is a case that wasn't read."""

    def make(reader: str, zones: list[str | None], ratings: list[str]) -> list[Row]:
        found = []
        for number, (ticked, rated) in enumerate(zip(zones, ratings, strict=True), start=1):
            row = dict.fromkeys(COLUMNS, "")
            row |= {"booklet": booklet_id(listed), "reader": reader, "case": str(number)}
            if ticked is not None:
                row |= {f"zone_{zone}": str(int(zone in ticked)) for zone in "abcdef"}
            row |= {f"region_{rank}": word for rank, word in enumerate(rated.split(), start=1)}
            found.append(row)
        return found

    return make


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """As the booklet exports it, with a byte order mark."""

    def write(name: str, rows: list[Row], columns: tuple[str, ...] = COLUMNS) -> Path:
        path = tmp_path / name
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write
