"""Do this CPU and its engines give the answers that the bundled model was released with?

`golden/` beside the model files holds drawn phantoms and ``golden.json``: what each model file answered on the
machine of the release. export/release_golden.py writes it.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxrs_edge.engines.registry import ENGINES, EngineEntry, available_engines, choose_engine, package_version
from cxrs_edge.engines.threads import count_cores
from cxrs_edge.errors import EngineError, ModelError, SelftestError
from cxrs_edge.grade import EngineInfo
from cxrs_edge.grader import BUNDLED, Grader, bundled_path
from cxrs_edge.model_file import read_model_file
from cxrs_edge.render import printable

SCHEMA = "cxrs-edge/selftest/1"
GOLDEN_SCHEMA = "cxrs-edge/golden/1"
FOLDER = "golden"
TIE = 0.5


@dataclass(frozen=True)
class Golden:
    """What a release answered.

    Attributes
    ----------
    folder : of the images and ``golden.json``; the model files are in the folder above.
    tolerance : largest difference of a probability that is still the same answer.
    sha256 : model file's name -> hash in its card.
    level2 : model file's name -> image's name -> probability of level 2.
    """

    folder: Path
    tolerance: float
    sha256: Mapping[str, str]
    level2: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Answer:
    """Probability of level 2 of one image: at the release and here."""

    image: str
    expected: float
    found: float

    @property
    def flips(self) -> bool:
        """Whether it is another level."""
        return (self.expected >= TIE) != (self.found >= TIE)


@dataclass(frozen=True)
class EngineCheck:
    """One engine against the release; `error` says why it has no answers."""

    engine: EngineInfo
    model: str
    tolerance: float
    answers: tuple[Answer, ...] = ()
    infer_ms: float | None = None
    error: EngineError | None = None

    @property
    def flips(self) -> int:
        """Images that get another level."""
        return sum(answer.flips for answer in self.answers)

    @property
    def largest_difference(self) -> float | None:
        """Of any probability, or None without answers."""
        return max((abs(answer.found - answer.expected) for answer in self.answers), default=None)

    @property
    def ok(self) -> bool:
        """Whether every answer is the released one, within the tolerance."""
        largest = self.largest_difference
        return self.error is None and largest is not None and largest <= self.tolerance and self.flips == 0

    def fault(self) -> str | None:
        """What is wrong, in words, or None."""
        if self.ok:
            return None
        engine = f"{self.engine.name} {self.engine.version} on {self.model}"
        if self.error:
            return f"{engine}: {self.error}"
        return (
            f"{engine}: {self.flips} of {len(self.answers)} levels flip, a probability differs by "
            f"{self.largest_difference:.4f}, tolerance {self.tolerance:g}"
        )

    def to_json(self) -> dict[str, Any]:
        """The contract's keys of one engine."""
        return {
            **asdict(self.engine),
            "ok": self.ok,
            "model": self.model,
            "flips": self.flips,
            "largest_difference": self.largest_difference,
            "infer_ms": self.infer_ms,
            "answers": [asdict(answer) for answer in self.answers],
            "error": self.error and {"kind": self.error.kind, "message": str(self.error)},
        }


def read_golden(models: Path = BUNDLED) -> Golden:
    """Read what a folder of model files was released with, and check that it belongs to them.

    Raises `ModelError` for a file that is missing or damaged, or belongs to another model.
    """
    path = models / FOLDER / "golden.json"
    try:
        values = json.loads(path.read_bytes())
        if values["schema"] != GOLDEN_SCHEMA:
            raise ValueError(f"schema {values['schema']!r}, expected {GOLDEN_SCHEMA!r}")
        names = {bundled_path(entry.kind).name for entry in ENGINES}
        released = {name: values["models"][name] for name in sorted(names)}
        golden = Golden(
            folder=path.parent,
            tolerance=float(values["tolerance"]),
            sha256={model: str(entry["sha256"]) for model, entry in released.items()},
            level2={
                model: {image: float(p["level2"]) for image, p in entry["probabilities"].items()}
                for model, entry in released.items()
            },
        )
        if not all(golden.level2.values()):
            raise ValueError("a model without images")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: can't be read: {error!r}; install cxrs-edge again") from error
    for model, sha256 in golden.sha256.items():
        _require_same_model(path, models / model, sha256)
    return golden


def _require_same_model(golden: Path, model: Path, sha256: str) -> None:
    found = read_model_file(model).card.sha256
    if found != sha256:
        raise ModelError(
            f"{golden}: recorded for {model.name} with sha256 {sha256}, but this one has {found}; install "
            "cxrs-edge again, or record the new model: python export/release_golden.py"
        )


def entries_to_check(name: str | None = None) -> tuple[EngineEntry, ...]:
    """The engine called `name`, or every installed one.

    Raises `MissingDependency` with the pip line if it, or any, isn't installed.
    """
    if name is not None:
        entry = choose_engine(name)
        entry.require_package()
        return (entry,)
    found = available_engines()
    if not found:
        ENGINES[0].require_package()
    return found


def check_engines(
    golden: Golden, entries: Iterable[EngineEntry], threads: int | None = None
) -> Iterator[EngineCheck]:
    """Grade the golden images on each engine, one after the other; an engine that fails is a result too."""
    for entry in entries:
        model = bundled_path(entry.kind).name
        try:
            grader = Grader.open(golden.folder.parent / model, entry.name, threads)
            answers, infer_ms = _grade_all(grader, golden.folder, golden.level2[model])
        except EngineError as error:
            asked = EngineInfo(entry.name, package_version(entry.require_package()), threads or count_cores())
            yield EngineCheck(asked, model, golden.tolerance, error=error)
        else:
            yield EngineCheck(grader.engine_info, model, golden.tolerance, answers, infer_ms)


def _grade_all(
    grader: Grader, folder: Path, expected: Mapping[str, float]
) -> tuple[tuple[Answer, ...], float]:
    """Every image's answer, and the median time of an inference in milliseconds."""
    grader.grade(folder / next(iter(expected)))  # the first one also allocates
    answers, milliseconds = [], []
    for image, level2 in expected.items():
        result = grader.grade(folder / image)
        answers.append(Answer(image, level2, result.probabilities["level2"]))
        milliseconds.append(result.timing_ms["infer"])
    return tuple(answers), statistics.median(milliseconds)


def to_json(checks: Iterable[EngineCheck], golden: Golden) -> dict[str, Any]:
    """The contract ``cxrs-edge/selftest/1``."""
    engines = [check.to_json() for check in checks]
    return {
        "schema": SCHEMA,
        "ok": all(engine["ok"] for engine in engines),
        "tolerance": golden.tolerance,
        "machine": {
            "machine": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "models": dict(golden.sha256),
        "engines": engines,
    }


def render_check(check: EngineCheck) -> str:
    """One engine's line for a person."""
    engine = check.engine
    head = f"{'ok    ' if check.ok else 'NOT OK'}  {engine.name} {engine.version}"
    if check.error:
        return printable(f"{head}: {check.error}")
    threads = f"{engine.threads} thread{'s' if engine.threads > 1 else ''}"
    return printable(
        f"{head}, {threads}, {check.model}: {check.flips} of {len(check.answers)} levels flip, largest "
        f"difference {check.largest_difference:.4f}, {check.infer_ms:.1f} ms"
    )


def require_ok(checks: Iterable[EngineCheck]) -> None:
    """Raise `SelftestError` naming every engine that doesn't give the released answers."""
    faults = [fault for check in checks if (fault := check.fault())]
    if faults:
        raise SelftestError("; ".join(faults) + "; grade with an engine that is ok: --engine NAME")
