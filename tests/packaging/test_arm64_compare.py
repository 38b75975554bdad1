"""The comparison that decides whether two computers agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from arm64_compare import (
    LIMIT,
    LIMIT_OF_ANOTHER_ENGINE,
    compare,
    compare_all,
    failures,
    read_grades,
    render,
    table,
)

DOCS = Path(__file__).parents[2] / "docs"


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


def run(machine: str, install: str, level2: float, **selftest: Any) -> dict[str, Any]:
    """As arm64_proof.Proof has it, of one image."""
    said = {"ok": True, "flips": 0, "largest_difference": 0.0, "error": None, "images": 6}
    return {
        "machine": machine,
        "python": "3.11",
        "install": install,
        "engine": {"version": "1.0"},
        "footprint_mb": {"total": 160.5},
        "bundle_mb": 55.9,
        "grades": graded(grade("a", level2)),
        "selftest": {"some-cpu": said | {"preparation": {"ok": True}} | selftest},
    }


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


def test_a_flip_is_another_level_or_outcome_at_any_difference() -> None:
    assert compare(graded(grade("a", 0.501)), graded(grade("a", 0.499))).flips == ("a",)
    unsure = grade("a", 0.75, outcome="uncertain")
    assert compare(graded(grade("a", 0.75)), graded(unsure)).flips == ("a",)
    one_sided = compare(graded(grade("a", 0.75), FAILED), graded(grade("a", 0.75), grade("c", 0.75)))
    assert one_sided.flips == ("c",)
    assert compare(graded(grade("a", 0.75), FAILED), graded(grade("a", 0.75), FAILED)).flips == ()
    rejected = grade("b", 0.75, outcome="rejected", level=None, probabilities={})
    both = compare(graded(grade("a", 0.75), rejected), graded(grade("a", 0.625), rejected))
    assert (both.flips, both.largest_difference) == ((), 0.125)
    assert compare(graded(grade("a", 0.75), rejected), graded(grade("a", 0.75), grade("b", 0.75))).flips == (
        "b",
    )


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


class TestProof:
    def failures(self, *runs: dict[str, Any]) -> list[str]:
        return failures(runs, compare_all(runs))

    def test_the_limit_and_flips_fail(self) -> None:
        here = run("x86_64", "tflite", 0.75)
        what = "aarch64 Python 3.11: tflite against tflite"
        assert self.failures(here, run("aarch64", "tflite", 0.75 + LIMIT / 2)) == []
        assert self.failures(here, run("aarch64", "tflite", 0.765625)) == [
            f"{what}: a probability differs by 0.0156; the limit is 0.01"
        ]
        here = run("x86_64", "tflite", 0.501)
        assert self.failures(here, run("aarch64", "tflite", 0.499)) == [
            f"{what}: the level or outcome differs: a"
        ]

    def test_openvino_is_held_to_onnx_runtime_and_its_own_difference_is_recorded(self) -> None:
        here = (run("x86_64", "onnx", 0.625), run("x86_64", "openvino", 0.75))
        there = run("aarch64", "openvino", 0.625, ok=False, largest_difference=0.125)
        assert self.failures(*here, there) == []
        assert [(c["against"], c["limit"], c["largest_difference"]) for c in compare_all([*here, there])] == [
            ("onnx", LIMIT_OF_ANOTHER_ENGINE, 0.0),
            ("openvino", None, 0.125),
        ]
        assert self.failures(*here, run("aarch64", "openvino", 0.75)) == [
            "aarch64 Python 3.11: openvino against onnx: a probability differs by 0.1250; the limit is 0.02"
        ]

    @pytest.mark.parametrize(
        ("install", "machine", "selftest", "says"),
        [
            (
                "tflite",
                "aarch64",
                {"ok": False, "largest_difference": 0.25},
                "a probability differs by 0.2500",
            ),
            (
                "openvino",
                "x86_64",
                {"ok": False, "largest_difference": 0.25},
                "a probability differs by 0.2500",
            ),
            ("openvino", "aarch64", {"ok": False, "error": {"kind": "engine"}}, "{'kind': 'engine'}"),
            ("onnx", "x86_64", {"preparation": {"ok": False}}, "images are resized otherwise"),
        ],
    )
    def test_a_self_test_that_fails_is_a_failure(
        self, install: str, machine: str, selftest: dict[str, Any], says: str
    ) -> None:
        found = failures([run(machine, install, 0.75, **selftest)], [])
        assert found == [f"{machine} Python 3.11: {install}: self-test on some-cpu: {says}"]


def test_a_table_is_aligned() -> None:
    assert table([("run", "flips"), ("aarch64", 0)]) == "run      flips\naarch64  0\n"


def test_the_document_quotes_the_record() -> None:
    recorded = json.loads((DOCS / "arm64.json").read_text())
    assert recorded["failures"] == failures(recorded["runs"], recorded["comparisons"]) == []
    assert f"\n```text\n{render(recorded)}```\n" in (DOCS / "raspberry-pi.md").read_text()
