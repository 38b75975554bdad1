"""Do two computers give the same grades? Grades of `cxrs-edge predict --format json` -> differences.

Timings are dropped on reading: those of an emulator say nothing about a board.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LIMIT = 0.01
"""Largest difference of a probability that passes: the self-test's tolerance (docs/adr/0005). Sums of int8 products
are exact, but kernels may round a layer's result by one step otherwise. A level that flips always fails."""

LIMIT_OF_ANOTHER_ENGINE = 0.02
"""The same where answers are held to another engine's, for OpenVINO (below); set after 0.0114 was measured for it."""

REFERENCE = {"openvino": "onnx"}
"""Installation -> the one of this computer that its answers must agree with, where that is not the same one.

OpenVINO's plugin for ARM computes the depthwise layers of an int8 model in float32, that for x86 in int8 (its own
`get_runtime_model` says so): two roundings of one model file, whose difference is recorded without a limit. On ARM it
has to agree with ONNX Runtime, which runs the same file."""

Grades = Mapping[str, Mapping[str, Any]]
"""What was answered for each source, without timings."""

Run = Mapping[str, Any]
"""What `arm64_proof.Proof` finds out about one installation."""


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


def read_grades(json_lines: str) -> dict[str, dict[str, Any]]:
    """JSON Lines by source, without ``timing_ms``."""
    grades = [json.loads(line) for line in json_lines.splitlines()]
    return {
        grade["source"]: {key: value for key, value in grade.items() if key != "timing_ms"}
        for grade in grades
    }


def compare(expected: Grades, got: Grades) -> Comparison:
    """Raises ValueError unless both have the same images, at least one graded, by the same model file.

    What the quality gate rejects has no probabilities to compare; its outcome is.
    """
    if set(expected) != set(got):
        raise ValueError(f"sources differ: {', '.join(sorted(set(expected) ^ set(got)))}")
    both = [s for s in expected if expected[s].get("probabilities") and got[s].get("probabilities")]
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


def compare_all(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Every run elsewhere against this computer's, which are the first ones; JSON-ready.

    ``limit`` is None where a difference is only recorded (see `REFERENCE`).
    """
    here = {run["install"]: run for run in runs if _computer(run) == _computer(runs[0])}
    compared = []
    for run in runs:
        if _computer(run) == _computer(runs[0]):
            continue
        reference = REFERENCE.get(run["install"], run["install"])
        for against in dict.fromkeys((reference, run["install"])):
            if against in here:
                comparison = compare(here[against]["grades"], run["grades"])
                names = {"machine": run["machine"], "python": run["python"], "install": run["install"]}
                limit = _limit(run["install"], against)
                compared.append(names | {"against": against, "limit": limit} | asdict(comparison))
    return compared


def _limit(install: str, against: str) -> float | None:
    if REFERENCE.get(install, install) != against:
        return None
    return LIMIT if install == against else LIMIT_OF_ANOTHER_ENGINE


def failures(runs: Iterable[Run], comparisons: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why this is no proof; empty if it is one."""
    found = []
    for one in comparisons:
        what = f"{one['machine']} Python {one['python']}: {one['install']} against {one['against']}"
        if one["limit"] is not None and one["flips"]:
            found.append(f"{what}: the level or outcome differs: {', '.join(one['flips'])}")
        if one["limit"] is not None and one["largest_difference"] > one["limit"]:
            found.append(
                f"{what}: a probability differs by {one['largest_difference']:.4f}; the limit is {one['limit']}"
            )
    for run in runs:
        for cpu, selftest in run["selftest"].items():
            what = f"{run['machine']} Python {run['python']}: {run['install']}: self-test on {cpu}"
            if not selftest["preparation"]["ok"] or selftest["error"]:
                found.append(f"{what}: {selftest['error'] or 'images are resized otherwise'}")
            elif not selftest["ok"] and not _rounds_otherwise(run):
                found.append(f"{what}: a probability differs by {selftest['largest_difference']:.4f}")
    return found


def _rounds_otherwise(run: Run) -> bool:
    """Whether its answers can't be those of the release, which were recorded on x86."""
    return run["install"] in REFERENCE and run["machine"] != "x86_64"


def _computer(run: Run) -> tuple[Any, Any]:
    return run["machine"], run["python"]


def render(result: Mapping[str, Any]) -> str:
    """Three tables for a person: what was installed, what the self-test says, what differs from this computer."""
    installed = [
        (run["machine"], run["python"], run["install"], run["engine"]["version"],
         run["footprint_mb"]["total"], run["bundle_mb"])
        for run in result["runs"]
    ]  # fmt: skip
    selftests = [
        (run["machine"], run["python"], run["install"], cpu, "ok" if test["ok"] else "NOT OK",
         f"{test['flips']} of {test['images']}", _difference(test))
        for run in result["runs"] for cpu, test in run["selftest"].items()
    ]  # fmt: skip
    differences = [
        (one["machine"], one["python"], one["install"], one["against"], f"{len(one['flips'])} of {one['images']}",
         _difference(one), one["limit"] or "recorded only")
        for one in result["comparisons"]
    ]  # fmt: skip
    who = ("machine", "Python", "install")
    return (
        table([(*who, "version", "installed MB", "bundle MB"), *installed])
        + "\nSelf-test: against the answers of the release\n"
        + table([(*who, "CPU", "result", "flips", "largest difference"), *selftests])
        + f"\nGrades: against {result['runs'][0]['machine']}, Python {result['runs'][0]['python']}\n"
        + table([(*who, "against", "flips", "largest difference", "limit"), *differences])
    )


def _difference(of: Mapping[str, Any]) -> str:
    largest = of["largest_difference"]
    return "none" if largest is None else f"{largest:.1e}"


def table(rows: Iterable[Sequence[object]]) -> str:
    """Plain text, columns as wide as their widest cell."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return "".join(f"{line}\n" for line in lines)
