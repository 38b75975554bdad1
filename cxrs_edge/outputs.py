"""The outputs that a network may have: their shapes, their ranges, and the checked numbers in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.card import LABELS, ZONES, ModelCard
from cxrs_edge.engines import Outputs
from cxrs_edge.errors import EngineError

SMALLEST = 1e-7
"""A softmax in 8 bits says 0 for what is merely small; its logarithm must exist."""
ROUNDING = 0.01
"""By what share of its range 8 bit rounding may put a number outside of it."""
REDUCTION = 32
"""Pixels of the input, a side, for each cell of the last feature map."""
MOST_EXTENT = 8.0


@dataclass(frozen=True)
class OutputSpec:
    """One output: its shape, and the range of its numbers."""

    shape: tuple[int, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Findings:
    """What a network found in one image, all in range.

    Attributes
    ----------
    level1, level2 : probabilities as the network gives them, not calibrated, at least `SMALLEST`.
    zones : zone, a to f -> probability of any opacity in it; None if the model has no zones.
    geographic, opacity : extents, 0..8, the scores of both lungs added up (Wong et al., COVID-Net S,
        Scientific Reports 2021); None if the model has none.
    """

    level1: float
    level2: float
    zones: Mapping[str, float] | None
    geographic: float | None
    opacity: float | None


def output_specs(size: int) -> Mapping[str, OutputSpec]:
    """Every output whose meaning is known, for an input of `size` pixels a side.

    ``evidence`` is what each cell of the last feature map adds to the logit margin, level 2 minus level 1 before
    temperature: its sum is that margin.
    """
    cells = size // REDUCTION
    return {
        "probabilities": OutputSpec((1, len(LABELS)), 0.0, 1.0),
        "zones": OutputSpec((1, len(ZONES)), 0.0, 1.0),
        "extents": OutputSpec((1, 2), 0.0, MOST_EXTENT),
        "evidence": OutputSpec((1, cells, cells), -math.inf, math.inf),
    }


def read_outputs(outputs: Outputs, card: ModelCard) -> Findings:
    """Check every output that the card names, ``evidence`` too, and read them.

    Raises `EngineError` naming the output that has another shape, or a number that isn't finite or in range.
    """
    specs = output_specs(card.input.size)
    found = {
        name: _in_range(outputs[name], specs[name], f"model {card.name}: output {name}")
        for name in card.outputs
        if name in specs
    }
    level1, level2 = (max(found["probabilities"][card.labels.index(label)], SMALLEST) for label in LABELS)
    geographic, opacity = found.get("extents", (None, None))
    zones = dict(zip(ZONES, found["zones"], strict=True)) if "zones" in found else None
    return Findings(level1, level2, zones, geographic, opacity)


def _in_range(values: NDArray[np.float32], spec: OutputSpec, subject: str) -> list[float]:
    """The numbers in one row, what rounding put outside of the range back in it."""
    shape = " x ".join(map(str, spec.shape))
    broken = "the model or this engine on this machine is broken"
    if values.shape != spec.shape:
        got = " x ".join(map(str, values.shape)) or "a single number"
        raise EngineError(f"{subject}: got {got}, expected {shape} numbers; {broken}")
    slack = ROUNDING * (spec.high - spec.low)
    wrong = ~np.isfinite(values) | (values < spec.low - slack) | (values > spec.high + slack)
    if wrong.any():
        bounds = f"from {spec.low:g} to {spec.high:g}" if math.isfinite(slack) else "that are finite"
        raise EngineError(f"{subject}: got {values[wrong][0]:g}, expected {shape} numbers {bounds}; {broken}")
    numbers: list[float] = values.clip(spec.low, spec.high).astype(np.float64).ravel().tolist()
    return numbers
