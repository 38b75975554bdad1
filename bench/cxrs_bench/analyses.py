"""What a report may hold besides measured times: the four sections that explain them.

Each is empty until `cxrs-edge bench analyse` fills it; `cxrs_bench.record.Report` carries them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Threads = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True)
class OperatorRow:
    """A group of operators of one run: what it costs on paper and what it took.

    Attributes
    ----------
    group : of `cxrs_bench.probing.groups.GROUPS`.
    count : events of the profiler in it; an engine may have merged several operators into one.
    macs, bytes : multiply-accumulates, and bytes moved, for one image, counted on the file.
    ms : time for one image by the engine's profiler.
    """

    group: str
    count: Count
    macs: Count
    bytes: Count
    ms: Annotated[float, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class SlowOperator:
    """One operator that took much time; `name` as in the file where it was found there."""

    name: str
    kernel: str
    group: str
    macs: Count
    bytes: Count
    ms: Annotated[float, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class OperatorProfile:
    """Time by operator of one model on one engine.

    Attributes
    ----------
    profiler : whose it is, in words.
    reason : why there is no profile, in one line; None where there is one.
    inferences : that the times are means of.
    wall_ms : median of one inference with the profiler running.
    matched, counted : operators with MACs that were found among the profiler's events, and that the file has.
    rows : groups, of which every event is in one.
    slowest : the ten that took longest.
    """

    model: str
    engine: str
    threads: Threads
    profiler: str
    reason: str | None = None
    inferences: Count = 0
    wall_ms: Positive | None = None
    matched: Count = 0
    counted: Count = 0
    rows: tuple[OperatorRow, ...] = ()
    slowest: tuple[SlowOperator, ...] = ()


@dataclass(frozen=True)
class Peak:
    """The most multiply-accumulates per second that an engine reached here, in G MACs; `shape` of the product."""

    engine: str
    threads: Threads
    precision: str
    gmac_s: Positive
    shape: str


@dataclass(frozen=True)
class Bandwidth:
    """Memory moved per second by an engine's addition of two large vectors, in GB (1e9 bytes)."""

    engine: str
    threads: Threads
    gb_s: Positive


@dataclass(frozen=True)
class Demand:
    """What a model file asks for one image, counted on the file."""

    model: str
    macs: Count
    bytes: Count


@dataclass(frozen=True)
class Roofline:
    """Measured limits of the machine, and what each model asks of it; `failures` are peaks that weren't measured."""

    peaks: tuple[Peak, ...] = ()
    bandwidths: tuple[Bandwidth, ...] = ()
    demands: tuple[Demand, ...] = ()
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A share of 1 with its 95 % interval, which resamples patients; None where undefined."""

    name: str
    value: Share | None
    low: Share | None
    high: Share | None


@dataclass(frozen=True)
class Against:
    """A file beside the float32 file of the same network, on the same images and engine.

    Attributes
    ----------
    model : the float32 file.
    to_level1, to_level2 : images whose level changes to that level.
    largest_difference : of the probability of level 2.
    accuracy : difference of the balanced accuracies (this file less the float32 one) with the 95 % interval of the
        paired difference, patients resampled.
    """

    model: str
    to_level1: Count
    to_level2: Count
    largest_difference: Share
    accuracy: tuple[float, float, float] | None


@dataclass(frozen=True)
class Accuracy:
    """How well a model grades on one engine, on a labelled set that the user named.

    Attributes
    ----------
    outcome : ``measured``, ``latency only`` (random weights: nothing was graded), or ``failed``, with the reason.
    data : the set in words: folder name, split.
    confusion : images, rows the true level (1, 2), columns the predicted.
    figures : in the order of `cxrs_bench.metrics.Figures`, every image equal.
    against : None of the float32 file itself, or where there is none.
    """

    model: str
    engine: str
    outcome: Literal["measured", "latency only", "failed"]
    reason: str | None = None
    data: str = ""
    images: Count = 0
    patients: Count = 0
    confusion: tuple[tuple[Count, Count], tuple[Count, Count]] | None = None
    figures: tuple[Figure, ...] = ()
    against: Against | None = None


@dataclass(frozen=True)
class Pair:
    """Two files on one labelled set, one engine: is one better?

    Attributes
    ----------
    difference : of their balanced accuracies, `a` less `b`, with the 95 % interval of the paired difference.
    verdict : ``a``, ``b``, or ``not resolvable`` where the interval holds 0.
    """

    a: str
    b: str
    engine: str
    difference: tuple[float, float, float]
    verdict: Literal["a", "b", "not resolvable"]


@dataclass(frozen=True)
class Claim:
    """One claim of the paper beside what was measured here.

    Attributes
    ----------
    topic : ``complexity``, ``latency`` or ``accuracy``.
    claim : in words.
    published, measured : as they are to be shown.
    verdict : in a word or two; ``holds`` and ``fails`` say how it ended.
    holds : None where it can't be told here.
    note : what a reader must know, or empty.
    """

    topic: Literal["complexity", "latency", "accuracy"]
    claim: str
    published: str
    measured: str
    verdict: str
    holds: bool | None
    note: str = ""


@dataclass(frozen=True)
class Analyses:
    """All four sections."""

    operators: tuple[OperatorProfile, ...] = ()
    roofline: Roofline = field(default_factory=Roofline)
    accuracy: tuple[Accuracy, ...] = ()
    pairs: tuple[Pair, ...] = ()
    claims: tuple[Claim, ...] = ()
