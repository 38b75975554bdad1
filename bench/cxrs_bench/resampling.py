"""Intervals of any figure by resampling patients, each with all of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cxrs_bench.evaluation import Estimate, estimate
from cxrs_bench.metrics import FloatArray, IntArray, patient_index

Statistic = Callable[[IntArray], float]
"""A figure of the images with these numbers, of which some may stand several times; NaN where undefined."""


def patient_interval(
    statistic: Statistic, patients: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """The figure of all images with its 95 % percentile interval; the same seed draws the same patients."""
    everyone = np.arange(len(patients))
    samples = [statistic(images) for images in _draws(patient_index(patients), resamples, seed)]
    return estimate(statistic(everyone), np.array(samples, np.float64))


def _draws(patient_of_image: IntArray, resamples: int, seed: int) -> list[IntArray]:
    generator = np.random.default_rng(seed)
    order = np.argsort(patient_of_image, kind="stable")
    images = np.split(order, np.cumsum(np.bincount(patient_of_image))[:-1])
    chosen = generator.integers(len(images), size=(resamples, len(images)))
    return [np.concatenate([images[patient] for patient in patients]) for patients in chosen]


def weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    """NaN where nothing has weight."""
    total = float(weights.sum())
    return float((values * weights).sum() / total) if total > 0 else float("nan")
