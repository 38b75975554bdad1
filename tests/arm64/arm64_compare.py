"""Do two computers give the same grades? Grades of `cxrs-edge predict --format json` -> differences.

Timings are dropped on reading: those of an emulator say nothing about a board.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LIMIT = 0.02
"""Largest difference of a probability that passes. Both engines sum int8 products exactly and may round each
layer's result differently by one step of its scale; a level that flips fails at any difference."""

Grades = Mapping[str, Mapping[str, Any]]
"""What was answered for each source, without timings."""


@dataclass(frozen=True)
class Comparison:
    """What differs between two computers' answers.

    Attributes
    ----------
    images : how many were compared.
    flips : sources whose level or outcome differs, an error on one side among them.
    largest_difference, mean_difference : absolute, of the probability of level 2, 0..1.
    """

    images: int
    flips: tuple[str, ...]
    largest_difference: float
    mean_difference: float

    def failures(self, limit: float = LIMIT) -> list[str]:
        """Why the two don't agree; empty if they do."""
        found = [f"{source}: the level or outcome differs" for source in self.flips]
        if self.largest_difference > limit:
            found.append(f"a probability differs by {self.largest_difference:.4f}; the limit is {limit}")
        return found


def read_grades(json_lines: str) -> dict[str, dict[str, Any]]:
    """JSON Lines by source, without ``timing_ms``."""
    grades = [json.loads(line) for line in json_lines.splitlines()]
    return {
        grade["source"]: {key: value for key, value in grade.items() if key != "timing_ms"}
        for grade in grades
    }


def compare(expected: Grades, got: Grades) -> Comparison:
    """Raises ValueError unless both have the same images, at least one graded, by the same model file."""
    if set(expected) != set(got):
        raise ValueError(f"sources differ: {', '.join(sorted(set(expected) ^ set(got)))}")
    both = [source for source in expected if "model" in expected[source] and "model" in got[source]]
    if not both:
        raise ValueError("no image was graded on both computers")
    models = {grades[source]["model"]["sha256"] for grades in (expected, got) for source in both}
    if len(models) != 1:
        raise ValueError(f"different models: sha256 {' and '.join(sorted(models))}")
    differences = [abs(_level2(expected[source]) - _level2(got[source])) for source in both]
    return Comparison(
        images=len(expected),
        flips=tuple(s for s in expected if _verdict(expected[s]) != _verdict(got[s])),
        largest_difference=max(differences),
        mean_difference=sum(differences) / len(differences),
    )


def _level2(grade: Mapping[str, Any]) -> float:
    return float(grade["probabilities"]["level2"])


def _verdict(grade: Mapping[str, Any]) -> tuple[Any, Any]:
    return grade["outcome"], grade.get("level")


def table(rows: Iterable[Sequence[object]]) -> str:
    """Plain text, columns as wide as their widest cell."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return "".join(f"{line}\n" for line in lines)
