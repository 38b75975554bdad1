"""How well a model grades, every figure with an interval; and what changes between two models.

Intervals are percentile bootstraps that resample patients, each with all of its images: images of
one patient resemble each other, so resampling images would promise more certainty than there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrs_bench.metrics import (
    Figures,
    FloatArray,
    IntArray,
    confusion_matrix,
    figures,
    patient_index,
    patient_weights,
    predicted_levels,
)
from cxrs_bench.predictions import Predictions
from cxrs_edge.errors import DataError

SCHEMA = "cxrs-edge/evaluation/1"
CONFIDENCE = 0.95
# 16 MB of float64 weights at a time, whatever the size of the cohort.
_WEIGHTS_PER_BLOCK = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A figure (a share of 1) with its 95 % interval; NaN where undefined.

    `undefined_share` is the share of resamples, 0..1, in which the figure is undefined: the
    interval is that of the others.
    """

    value: float
    low: float
    high: float
    undefined_share: float

    def to_json(self) -> dict[str, float | None]:
        return {
            "value": _null_if_nan(self.value),
            "low": _null_if_nan(self.low),
            "high": _null_if_nan(self.high),
            "undefined_share": self.undefined_share,
        }

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "n/a"
        if math.isnan(self.low):
            return f"{self.value:.3f} (n/a)"
        return f"{self.value:.3f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Counts:
    """Numbers of images or patients. A patient with images of both levels counts under both."""

    total: int
    level1: int
    level2: int


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one graded set.

    `confusion` counts images: rows are the true level (1, 2), columns the predicted level (1, 2).
    `by_image` counts every image equally, `by_patient` every patient.
    """

    images: Counts
    patients: Counts
    confusion: tuple[tuple[int, int], tuple[int, int]]
    by_image: Figures[Estimate]
    by_patient: Figures[Estimate]
    threshold: float
    resamples: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps(..., allow_nan=False)`: undefined figures are null."""
        return {
            "schema": SCHEMA,
            "threshold": self.threshold,
            "images": vars(self.images).copy(),
            "patients": vars(self.patients).copy(),
            "confusion": [list(row) for row in self.confusion],
            "bootstrap": {
                "method": "percentile",
                "unit": "patient",
                "confidence": CONFIDENCE,
                "resamples": self.resamples,
                "seed": self.seed,
            },
            "by_image": _json_of(self.by_image),
            "by_patient": _json_of(self.by_patient),
        }


@dataclass(frozen=True)
class FlipReport:
    """What changes from predictions `a` to predictions `b` of the same images.

    `to_level1` and `to_level2` name the images whose level changes to that level, in the order of
    `a`; differences are absolute, of the probability of level 2.
    """

    images: int
    to_level1: tuple[str, ...]
    to_level2: tuple[str, ...]
    largest_difference: float
    mean_difference: float


def evaluate(
    predictions: Predictions, *, resamples: int = 2000, seed: int = 0, threshold: float = 0.5
) -> Evaluation:
    """Measure every figure, with an interval over patients; the same seed gives the same intervals.

    Raises DataError when `resamples` is below 1 or the threshold isn't in 0..1.
    """
    if resamples < 1:
        raise DataError(f"resamples: got {resamples}; expected at least 1")
    levels, level2, patients = predictions.levels, predictions.level2, predictions.patients
    counts = confusion_matrix(levels, level2, threshold=threshold)
    (one_as_one, one_as_two), (two_as_one, two_as_two) = counts.astype(int).tolist()
    return Evaluation(
        images=Counts(levels.size, int((levels == 1).sum()), int((levels == 2).sum())),
        patients=_patient_counts(predictions),
        confusion=((one_as_one, one_as_two), (two_as_one, two_as_two)),
        by_image=_estimates(predictions, np.ones(levels.size), threshold, resamples, seed),
        by_patient=_estimates(predictions, patient_weights(patients), threshold, resamples, seed),
        threshold=threshold,
        resamples=resamples,
        seed=seed,
    )


def paired_flips(a: Predictions, b: Predictions, *, threshold: float = 0.5) -> FlipReport:
    """Compare two models' predictions, for example a float file's with its int8 file's; the two may
    list the images in different orders.

    Raises DataError when the images differ, or when an image's patient or true level does.
    """
    b_rows = rows_of_same_images(a, b)
    b_level2 = b.level2[b_rows]
    before, after = predicted_levels(a.level2, threshold), predicted_levels(b_level2, threshold)
    changes = list(zip(a.names, (after - before).tolist(), strict=True))
    differences = np.abs(a.level2 - b_level2)
    return FlipReport(
        images=len(a.names),
        to_level1=tuple(name for name, change in changes if change < 0),
        to_level2=tuple(name for name, change in changes if change > 0),
        largest_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
    )


def render_text(evaluation: Evaluation, title: str) -> str:
    """Plain text in the paper's order: sensitivity (Table 3), confusion matrix (4), the rest."""
    image, patient = evaluation.by_image, evaluation.by_patient
    by_image, by_patient = "  every image equal", "  every patient equal"
    (one_as_one, one_as_two), (two_as_one, two_as_two) = evaluation.confusion
    lines = [
        title,
        f"Images: {_counted(evaluation.images)}. Patients: {_counted(evaluation.patients)}.",
        "",
        _line("Sensitivity", "level 1", "level 2"),
        _line(by_image, image.sensitivity_level1, image.sensitivity_level2),
        _line(by_patient, patient.sensitivity_level1, patient.sensitivity_level2),
        "",
        _line("Confusion matrix (images)", "predicted level 1", "predicted level 2"),
        _line("  level 1", one_as_one, one_as_two),
        _line("  level 2", two_as_one, two_as_two),
        "",
        _line("Positive predictive value", "level 1", "level 2"),
        _line(by_image, image.ppv_level1, image.ppv_level2),
        _line(by_patient, patient.ppv_level1, patient.ppv_level2),
        "",
        _line("Both levels", "every image equal", "every patient equal"),
        _line("  accuracy", image.accuracy, patient.accuracy),
        _line("  balanced accuracy", image.balanced_accuracy, patient.balanced_accuracy),
        _line("  AUC", image.auc, patient.auc),
        "",
        *_notes(evaluation),
    ]
    return "\n".join(lines) + "\n"


def render_flips(flips: FlipReport, title: str) -> str:
    """Plain text: how many levels differ, in which direction, and by how much the probabilities do."""
    changed = (*flips.to_level1, *flips.to_level2)
    lines = [
        title,
        f"Level flips: {len(changed)} of {flips.images} "
        f"({len(flips.to_level1)} are level 1 by the second, {len(flips.to_level2)} level 2)",
        f"Probability difference: largest {flips.largest_difference:.4f}, mean {flips.mean_difference:.4f}",
        *(f"  {name}" for name in changed),
    ]
    return "\n".join(lines) + "\n"


def _estimates(
    predictions: Predictions, weights: FloatArray, threshold: float, resamples: int, seed: int
) -> Figures[Estimate]:
    def measure(image_weights: FloatArray) -> Figures[FloatArray]:
        return figures(predictions.levels, predictions.level2, threshold=threshold, weights=image_weights)

    draws = _times_drawn(patient_index(predictions.patients), resamples, seed)
    blocks = [measure(weights * times) for times in draws]
    return Figures(
        *(
            estimate(float(value), np.concatenate(samples))
            for value, *samples in zip(measure(weights), *blocks, strict=True)
        )
    )


def _times_drawn(patient_of_image: IntArray, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each image is in each resample of patients; blocks of resamples x images."""
    generator = np.random.default_rng(seed)
    patients = int(patient_of_image.max()) + 1
    rows = max(1, _WEIGHTS_PER_BLOCK // patient_of_image.size)
    for start in range(0, resamples, rows):
        times = generator.multinomial(
            patients, np.full(patients, 1 / patients), size=min(rows, resamples - start)
        )
        yield times[:, patient_of_image].astype(np.float64)


def estimate(value: float, samples: FloatArray) -> Estimate:
    """A figure with the percentile interval of its resamples, of which undefined ones are NaN."""
    defined = samples[~np.isnan(samples)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if defined.size else (np.nan, np.nan)
    return Estimate(value, float(low), float(high), 1 - defined.size / samples.size)


def _patient_counts(predictions: Predictions) -> Counts:
    pairs = set(zip(predictions.patients, predictions.levels.tolist(), strict=True))
    levels = [level for _, level in pairs]
    return Counts(len(set(predictions.patients)), levels.count(1), levels.count(2))


def rows_of_same_images(a: Predictions, b: Predictions) -> list[int]:
    """Where each image of `a` stands in `b`; raises `DataError` when they aren't of the same graded set."""
    odd = sorted(set(a.names) ^ set(b.names))
    if odd:
        raise DataError(
            f"flips: {len(odd)} images are in one prediction list only, the first {odd[0]!r}; "
            "expected the same images in both"
        )
    row_in_b = {name: row for row, name in enumerate(b.names)}
    for row, name in enumerate(a.names):
        ours = (a.patients[row], int(a.levels[row]))
        theirs = (b.patients[row_in_b[name]], int(b.levels[row_in_b[name]]))
        if ours != theirs:
            raise DataError(
                f"flips: image {name!r} has patient and level {ours} in one list, {theirs} in the "
                "other; expected both lists to come from the same graded set"
            )
    return [row_in_b[name] for name in a.names]


def _notes(evaluation: Evaluation) -> list[str]:
    notes = [
        f"Intervals: {100 * CONFIDENCE:g} % percentile bootstrap over patients, "
        f"{evaluation.resamples} resamples, seed {evaluation.seed}.",
        f"An image is graded level 2 when its probability >= {evaluation.threshold}.",
    ]
    estimates = evaluation.by_image._asdict().items()
    # The weighting changes no figure's being defined, so one list of shares holds for both.
    notes += [
        f"{name}: undefined in {100 * estimate.undefined_share:.2f} % of resamples, "
        "which its interval leaves out."
        for name, estimate in estimates
        if estimate.undefined_share > 0
    ]
    if any(estimate.low == estimate.high for _, estimate in estimates):
        notes.append(
            "An interval without width means that no resample differs (every image right, or one "
            "patient), not that the figure is certain."
        )
    return notes


def _counted(counts: Counts) -> str:
    return f"{counts.total} (level 1: {counts.level1}, level 2: {counts.level2})"


def _line(label: str, *cells: object) -> str:
    return f"{label:<26}" + "".join(f"{cell!s:>24}" for cell in cells)


def _json_of(estimates: Figures[Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: estimate.to_json() for name, estimate in estimates._asdict().items()}


def _null_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
