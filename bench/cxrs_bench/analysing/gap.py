"""Why an advantage in FLOPs is less in milliseconds: time per MAC of two networks, split by what it is spent on.

An opponent with F times the MACs that takes T times as long spends less time per MAC whenever T < F. What it spends
less is, exactly, what it spends less in its convolutions plus what it spends less in everything else: depthwise
convolutions, additions, pooling, changes of format, the head, which have next to no MACs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrs_bench.analyses import Analyses, OperatorProfile, OperatorRow
from cxrs_bench.analysing.advantage import Advantage
from cxrs_bench.probing.groups import POINTWISE, SPATIAL, STEM, UNKNOWN

CONVOLUTIONS = frozenset({STEM, POINTWISE, SPATIAL, UNKNOWN})
"""Groups that hold nearly all MACs; depthwise convolutions, though they are convolutions, hold below 1 %."""


@dataclass(frozen=True)
class Gap:
    """Two profiles side by side; times are ms per G MACs of the whole network, rates G MACs per second.

    Attributes
    ----------
    ours, theirs : time per MAC, everything included.
    convolutions, rest : what ours is above theirs, due to either; they add up to the difference.
    our_rate, their_rate : of the convolutions alone.
    our_rest, their_rest : share of the time, 0..1, spent outside convolutions.
    largest_rest : the group outside convolutions that we spend most time in, and its share of our time.
    """

    ours: float
    theirs: float
    convolutions: float
    rest: float
    our_rate: float
    their_rate: float
    our_rest: float
    their_rest: float
    largest_rest: tuple[str, float]


def find_gap(advantage: Advantage, analyses: Analyses) -> Gap | None:
    """The gap of a pair with the number of threads that was profiled; None where a profile is missing."""
    ours, theirs = (
        _profile(analyses, run.model, run.engine, run.threads) for run in (advantage.ours, advantage.theirs)
    )
    if ours is None or theirs is None:
        return None
    our, their = _split(ours.rows), _split(theirs.rows)
    if our is None or their is None:
        return None
    rest = [row for row in ours.rows if row.group not in CONVOLUTIONS]
    largest = max(rest, key=lambda row: row.ms, default=None)
    return Gap(
        ours=our.total / our.gmacs,
        theirs=their.total / their.gmacs,
        convolutions=our.convolutions / our.gmacs - their.convolutions / their.gmacs,
        rest=our.rest / our.gmacs - their.rest / their.gmacs,
        our_rate=our.rate,
        their_rate=their.rate,
        our_rest=our.rest / our.total,
        their_rest=their.rest / their.total,
        largest_rest=("", 0.0) if largest is None else (largest.group, largest.ms / our.total),
    )


@dataclass(frozen=True)
class _Split:
    gmacs: float
    convolution_gmacs: float
    convolutions: float
    rest: float

    @property
    def total(self) -> float:
        return self.convolutions + self.rest

    @property
    def rate(self) -> float:
        return 1000 * self.convolution_gmacs / self.convolutions


def _split(rows: Sequence[OperatorRow]) -> _Split | None:
    """Times in ms; None for a profile without a convolution's time."""
    inside = [row for row in rows if row.group in CONVOLUTIONS]
    split = _Split(
        gmacs=sum(row.macs for row in rows) / 1e9,
        convolution_gmacs=sum(row.macs for row in inside) / 1e9,
        convolutions=sum(row.ms for row in inside),
        rest=sum(row.ms for row in rows if row.group not in CONVOLUTIONS),
    )
    return split if split.convolution_gmacs > 0 and split.convolutions > 0 else None


def _profile(analyses: Analyses, model: str, engine: str, threads: int) -> OperatorProfile | None:
    key = model, engine, threads
    found = (p for p in analyses.operators if (p.model, p.engine, p.threads) == key and p.reason is None)
    return next(found, None)
