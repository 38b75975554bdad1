"""Does an exported file answer as the Keras model does? Asked through the runtime's own engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.card import LABELS
from cxrs_edge.engines import Outputs
from cxrs_edge.engines.registry import ENGINES, choose_engine, open_engine
from cxrs_edge.errors import VerificationError
from cxrs_edge.model_file import read_model_file
from cxrs_edge.prepare import Pixels
from cxrs_export.keras_file import infer

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Limits:
    """How far a file may be from the Keras model.

    Attributes
    ----------
    float32_difference, float16_difference, int8_difference : largest difference of any probability.
    int8_flips : largest share of images whose level changes, in float16 too; a float32 file may change none.
    """

    float32_difference: float = 1e-3
    float16_difference: float = 0.05
    int8_difference: float = 0.25
    int8_flips: float = 0.1


PHANTOM_LIMITS = Limits(int8_difference=0.35, int8_flips=0.2)
"""On drawn phantoms, which lie near a network's boundary: half of them between 0.35 and 0.65 with the first weights,
where faithful files already flip 5 to 9 of 100 (ADR 0006). They tell broken files, not good ones."""


@dataclass(frozen=True)
class FileCheck:
    """One file on one engine against the Keras model, over the verification images.

    Attributes
    ----------
    others : largest difference of each output but the probabilities, as a share of that output's largest value.
    """

    file: str
    precision: str
    engine: str
    images: int
    flips: int
    largest_difference: float
    mean_difference: float
    others: Mapping[str, float] = field(default_factory=dict)

    def fault(self, limits: Limits) -> str | None:
        """What misses the limits, in words, or None."""
        allowed = {
            "float32": limits.float32_difference,
            "float16": limits.float16_difference,
            "int8": limits.int8_difference,
        }[self.precision]
        flips = 0 if self.precision == "float32" else limits.int8_flips
        # NaN fails every comparison, so a file that answers NaN must not be let in by one.
        if not self.largest_difference <= allowed:
            return (
                f"{self.file} on {self.engine}: a probability differs by {self.largest_difference:.4f}, "
                f"limit {allowed:g}"
            )
        for name, difference in self.others.items():
            # The heads are float, so int8 files differ as the feature map does: told, not judged.
            if self.precision == "float32" and not difference <= allowed:
                return f"{self.file} on {self.engine}: {name} differ by {difference:.4f}, limit {allowed:g}"
        if self.flips / self.images > flips:
            return (
                f"{self.file} on {self.engine}: {self.flips} of {self.images} levels flip, "
                f"limit {100 * flips:g} %"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def keras_answers(
    model: keras.Model, pixels: Sequence[Pixels], labels: tuple[str, ...] = LABELS
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """What the Keras model, whose columns are `labels`, says of each image.

    Returns the probability of level 2, N, and by name every other output, each N x its shape.
    """
    answers = [infer(model, p) for p in pixels]
    named = {name: np.array([answer[name][0] for answer in answers], np.float64) for name in answers[0]}
    return named.pop("probabilities")[:, labels.index("level2")], named


def check_files(
    paths: Sequence[Path],
    expected: NDArray[np.float64],
    pixels: Sequence[Pixels],
    *,
    others: Mapping[str, NDArray[np.float64]] | None = None,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> list[FileCheck]:
    """Run every file on each installed engine of its kind; `expected` and `others` are from
    `keras_answers`.

    Raises `MissingDependency` when none is installed that runs a file: unverified is not verified.
    """
    checks = []
    for path in paths:
        file = read_model_file(path)
        choose_engine(kind=file.kind).require_package()
        column = file.card.labels.index("level2")
        for entry in ENGINES:
            if entry.kind != file.kind or entry.package() is None:
                continue
            engine = open_engine(file, entry.name)
            found, answers = [], []
            for number, image in enumerate(pixels, 1):
                answers.append(engine.infer(image))
                row = answers[-1]["probabilities"][0].astype(np.float64)
                # An 8 bit softmax need not add up to 1; the runtime compares the two, so do we.
                found.append(row[column] / row.sum())
                report(f"verifying {path.name} on {entry.name}", number, len(pixels))
            check = compare(path.name, file.card.precision, entry.name, expected, np.array(found))
            checks.append(replace(check, others=_differences(others or {}, answers)))
    return checks


def _differences(expected: Mapping[str, NDArray[np.float64]], answers: Sequence[Outputs]) -> dict[str, float]:
    return {
        name: float(np.abs(np.array([a[name][0] for a in answers]) - wanted).max() / np.abs(wanted).max())
        for name, wanted in expected.items()
    }


def compare(
    file: str,
    precision: str,
    engine: str,
    expected: NDArray[np.float64],
    found: NDArray[np.float64],
) -> FileCheck:
    """Level flips and differences of two arrays of level-2 probabilities, N each."""
    difference = np.abs(found - expected)
    return FileCheck(
        file=file,
        precision=precision,
        engine=engine,
        images=len(expected),
        flips=int(np.sum((found >= 0.5) != (expected >= 0.5))),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )


def require_within(checks: Sequence[FileCheck], limits: Limits) -> None:
    """Raise `VerificationError` naming every file that misses the limits."""
    faults = [fault for check in checks if (fault := check.fault(limits))]
    if faults:
        raise VerificationError("; ".join(faults) + "; nothing was written")


def render_checks(checks: Sequence[FileCheck]) -> str:
    """The checks as a table."""
    head = f"{'file':<24} {'engine':<9} {'images':>6} {'flips':>5} {'largest':>9} {'mean':>9}"
    lines = [
        f"{c.file:<24} {c.engine:<9} {c.images:>6} {c.flips:>5} "
        f"{c.largest_difference:>9.6f} {c.mean_difference:>9.6f}"
        + "".join(f"  {name} {100 * difference:.2f} %" for name, difference in c.others.items())
        for c in checks
    ]
    return "\n".join([head, *lines])
