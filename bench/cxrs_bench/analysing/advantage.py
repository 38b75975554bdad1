"""Is an advantage in FLOPs one in milliseconds? By engine, precision, number of threads and opponent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

from cxrs_bench.latency.intervals import Interval, ratio_interval
from cxrs_bench.record import Model, Report, Run

OURS, OPPONENTS = "cxrs", ("resnet50", "chexnet")
Verdict = Literal["realised", "partly", "not realised", "reversed", "unclear"]


@dataclass(frozen=True)
class Advantage:
    """COVID-Net CXR-S beside one opponent, both run in the same way.

    Attributes
    ----------
    ours, theirs : runs of the two files, interleaved in one `bench run`.
    flop_ratio : FLOPs of the opponent over ours, counted on the files.
    time_ratio : median time of the opponent over ours, with the 95 % bootstrap interval.
    """

    engine: str
    precision: str
    threads: int
    size: int
    opponent: str
    ours: Run
    theirs: Run
    flop_ratio: float
    time_ratio: Interval

    @property
    def verdict(self) -> Verdict:
        """Where the interval of the time ratio lies.

        ``realised`` it reaches the FLOP ratio; ``partly`` above 1, below that; ``not realised`` it holds 1;
        ``reversed`` below 1; ``unclear`` too few rounds for an interval.
        """
        low, high = self.time_ratio.low, self.time_ratio.high
        if math.isnan(low):
            return "unclear"
        if high < 1:
            return "reversed"
        if low <= 1:
            return "not realised"
        return "realised" if high >= self.flop_ratio else "partly"

    @property
    def flops_saved(self) -> float:
        """Share of the opponent's FLOPs, 0..1; negative where it has fewer."""
        return 1 - 1 / self.flop_ratio

    @property
    def time_saved(self) -> float:
        """Share of the opponent's time; negative where it is faster."""
        return 1 - 1 / self.time_ratio.value

    @property
    def unstable(self) -> bool:
        """Whether either run was flagged."""
        return bool(self.ours.unstable or self.theirs.unstable)


def find_advantages(report: Report) -> tuple[Advantage, ...]:
    """Every pair of measured runs, ours and an opponent's, in the order of the report.

    They have engine, precision, format, threads and input size in common.
    """
    models = {model.id: model for model in report.models}
    measured = [
        (run, models[run.model]) for run in report.runs if run.outcome == "measured" and run.samples_ms
    ]
    ours = [(run, model) for run, model in measured if model.network == OURS]
    return tuple(found for pair in product(ours, measured) for found in _compare(*pair))


def _compare(ours: tuple[Run, Model], theirs: tuple[Run, Model]) -> Iterator[Advantage]:
    (run, model), (other, opponent) = ours, theirs
    if opponent.network not in OPPONENTS or _setup(run, model) != _setup(other, opponent):
        return
    if not model.macs or not opponent.macs:
        return
    rounds = [[one.samples_ms for one in both.rounds if one.samples_ms] for both in (other, run)]
    yield Advantage(
        engine=run.engine,
        precision=model.precision,
        threads=run.threads,
        size=model.size,
        opponent=opponent.network,
        ours=run,
        theirs=other,
        flop_ratio=opponent.macs / model.macs,
        time_ratio=ratio_interval(*rounds),
    )


def _setup(run: Run, model: Model) -> tuple[object, ...]:
    return run.engine, run.threads, model.precision, model.format, model.size, model.channels
