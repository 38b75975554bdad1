"""Reports whose times are simulated from recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrs_bench.record import Report, Round, Run, read_report

EXAMPLE = Path(__file__).parents[1] / "example-report.json"

Change = Callable[[Run], Run]


def example() -> Report:
    """The example report, read anew."""
    return read_report(EXAMPLE)


def with_runs(report: Report, change: Change) -> Report:
    """The report with every run that has rounds changed."""
    return replace(report, runs=tuple(change(run) if run.rounds else run for run in report.runs))


def scaled(run: Run, factor: float) -> Run:
    """Each time `factor` times as long."""
    return replace(run, rounds=tuple(_scaled(one, factor) for one in run.rounds))


def _scaled(one: Round, factor: float) -> Round:
    return replace(one, samples_ms=tuple(factor * ms for ms in one.samples_ms))


def measured_again(run: Run, rng: np.random.Generator, *, rounds: int, samples: int) -> Run:
    """Another measurement of the same thing, with the noise that was recorded.

    A round is one of the recorded ones, drawn with replacement, its samples drawn from that round's and moved by
    another recorded round's deviation from the middle, so that rounds differ as they did.
    """
    medians = np.array([np.median(one.samples_ms) for one in run.rounds])
    deviations = medians / np.median(medians)
    made = []
    for number in range(1, rounds + 1):
        source = int(rng.integers(len(run.rounds)))
        centred = np.array(run.rounds[source].samples_ms) / deviations[source]
        drawn = rng.choice(centred, samples) * deviations[rng.integers(len(deviations))]
        made.append(replace(run.rounds[source], number=number, samples_ms=tuple(drawn.tolist())))
    return replace(run, rounds=tuple(made))
