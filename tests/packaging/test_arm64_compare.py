"""The comparison that decides whether two computers agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from arm64_compare import compare, read_grades, table


def grade(source: str, level2: float, **changes: Any) -> dict[str, Any]:
    return {
        "source": source,
        "outcome": "graded",
        "level": 2 if level2 > 0.5 else 1,
        "probabilities": {"level1": 1 - level2, "level2": level2},
        "model": {"sha256": "a"},
    } | changes


def graded(*grades: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["source"]: one for one in grades}


FAILED = {"source": "c", "outcome": "error", "error": {"kind": "image", "message": "no image"}}


def test_timings_are_dropped_and_everything_else_is_kept() -> None:
    line = json.dumps(grade("a", 0.75, timing_ms={"infer": 6000.0}))
    assert read_grades(f"{line}\n") == {"a": grade("a", 0.75)}


def test_differences_are_of_level_2_by_source() -> None:
    result = compare(
        graded(grade("a", 0.75), grade("b", 0.25)), graded(grade("b", 0.125), grade("a", 0.78125))
    )
    assert (result.images, result.flips) == (2, ())
    assert result.largest_difference == 0.125
    assert result.mean_difference == (0.03125 + 0.125) / 2


def test_a_flip_fails_at_any_difference_and_a_large_difference_without_a_flip() -> None:
    flipped = compare(graded(grade("a", 0.5001)), graded(grade("a", 0.4999)))
    assert flipped.flips == ("a",)
    assert flipped.failures() == ["a: the level or outcome differs"]
    shifted = compare(graded(grade("a", 0.875)), graded(grade("a", 0.75)))
    assert shifted.flips == ()
    assert shifted.failures(limit=0.125) == []
    assert shifted.failures(limit=0.1) == ["a probability differs by 0.1250; the limit is 0.1"]


def test_an_outcome_that_differs_is_a_flip() -> None:
    unsure = grade("a", 0.75, outcome="uncertain")
    assert compare(graded(grade("a", 0.75)), graded(unsure)).flips == ("a",)
    one_sided = compare(graded(grade("a", 0.75), FAILED), graded(grade("a", 0.75), grade("c", 0.75)))
    assert one_sided.flips == ("c",)
    assert compare(graded(grade("a", 0.75), FAILED), graded(grade("a", 0.75), FAILED)).flips == ()


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (graded(grade("b", 0.75)), "sources differ: a, b"),
        (graded(grade("a", 0.75, model={"sha256": "b"})), "different models: sha256 a and b"),
        ({"a": {"source": "a", "outcome": "error"}}, "no image was graded on both"),
    ],
)
def test_what_can_not_be_compared_is_refused(got: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(graded(grade("a", 0.75)), got)


def test_a_table_is_aligned() -> None:
    assert table([("run", "flips"), ("aarch64", 0)]) == "run      flips\naarch64  0\n"
