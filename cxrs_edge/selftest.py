"""Do this CPU, its engines and its image library give the answers that the bundled model was released with?

Engines are given the release's own prepared pixels, so a resize that differs is no engine's fault: it is a check
of its own.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import PIL

from cxrs_edge.engines import Engine
from cxrs_edge.engines.registry import (
    ENGINES,
    EngineEntry,
    available_engines,
    choose_engine,
    open_package,
    package_version,
)
from cxrs_edge.engines.threads import check_threads, count_cores
from cxrs_edge.errors import EngineError
from cxrs_edge.golden import Golden, PackageAnswers
from cxrs_edge.grade import EngineInfo, grade
from cxrs_edge.grader import bundled_path
from cxrs_edge.image import read_image
from cxrs_edge.model_file import ModelFile, read_model_file
from cxrs_edge.prepare import pixels_needed, prepare

TIE = 0.5
ROUNDING = 1
"""Gray levels, of 255, by which another rounding may move a resized pixel; more is another picture."""


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
    """One engine against the release.

    Attributes
    ----------
    package : that runs the model, as imported.
    model : name of the file that it runs.
    infer_ms : median time of an inference, milliseconds.
    error : why there are no answers.
    """

    engine: EngineInfo
    package: str
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


@dataclass(frozen=True)
class PreparationCheck:
    """What this machine makes of the drawn images, against the prepared pixels of the release.

    Attributes
    ----------
    pillow : its version here.
    images, different : how many there are, and of how many any pixel differs.
    largest_difference : of any pixel, in gray levels of 255.
    """

    pillow: str
    images: int
    different: int
    largest_difference: int

    @property
    def ok(self) -> bool:
        """Whether nothing but rounding differs."""
        return self.largest_difference <= ROUNDING


def check_preparation(golden: Golden) -> PreparationCheck:
    """Read and prepare each drawn image and compare it with the release's pixels."""
    (spec,) = {read_model_file(golden.models / model).card.input for model in golden.sha256}
    differences = []
    for image in golden.pixels:
        path = golden.image_path(image)
        found = prepare(
            read_image(path.read_bytes(), name=str(path), at_least=pixels_needed(spec)), spec
        ).astype(np.int16)
        differences.append(int(np.abs(found - golden.read_pixels(image, spec.channels)).max()))
    return PreparationCheck(
        pillow=PIL.__version__,
        images=len(differences),
        different=sum(difference > 0 for difference in differences),
        largest_difference=max(differences),
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


def check_engine(golden: Golden, entry: EngineEntry, threads: int | None = None) -> EngineCheck:
    """Infer the golden images; an engine that fails is a result too."""
    check = unanswered(golden, entry, threads)
    try:
        level2 = released_answers(golden, check.package).level2
        file = read_model_file(golden.models / check.model)
        engine = open_package(file, entry, check.package, check.engine.threads)
        found, infer_ms = answer_all(golden, file, engine)
    except EngineError as error:
        return replace(check, error=error)
    return replace(
        check,
        engine=EngineInfo(engine.name, engine.version, engine.threads),
        answers=tuple(Answer(image, level2[image], found[image]) for image in golden.pixels),
        infer_ms=infer_ms,
    )


def unanswered(golden: Golden, entry: EngineEntry, threads: int | None) -> EngineCheck:
    """A check that has no answers yet."""
    package = entry.require_package()
    threads = count_cores() if threads is None else check_threads(threads)
    return EngineCheck(
        engine=EngineInfo(entry.name, package_version(package), threads),
        package=package,
        model=bundled_path(entry.kind).name,
        tolerance=golden.tolerance,
    )


def released_answers(golden: Golden, package: str) -> PackageAnswers:
    """Raises `EngineError` for a package that the release was not tried with."""
    if package not in golden.packages:
        raise EngineError(
            f"{package}: no released answers; the release was tried with {', '.join(sorted(golden.packages))}"
        )
    return golden.packages[package]


def answer_all(golden: Golden, file: ModelFile, engine: Engine) -> tuple[dict[str, float], float]:
    """Every image's calibrated probability of level 2, and the median time of an inference in milliseconds."""
    found: dict[str, float] = {}
    milliseconds = []
    for image in golden.pixels:
        pixels = golden.read_pixels(image, file.card.input.channels)
        if not found:
            engine.infer(pixels)  # the first one also allocates
        started = perf_counter()
        outputs = engine.infer(pixels)
        milliseconds.append((perf_counter() - started) * 1000)
        found[image] = grade(outputs, file.card).probabilities["level2"]
    return found, statistics.median(milliseconds)
