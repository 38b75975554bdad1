"""What a report may hold besides measured times: the four sections that explain them.

Each is empty until its stage fills it; `cxrs_bench.record.Report` carries them.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OperatorRow:
    """One group of operators of one run: what it costs on paper and what it took.

    Attributes
    ----------
    group : of operators, for example ``depthwise convolution``.
    count : operators in it.
    macs, bytes : multiply-accumulates, and bytes moved, for one image; None where nobody counted.
    ms : time for one image by the engine's profiler.
    """

    group: str
    count: int
    macs: int | None
    bytes: int | None
    ms: float


@dataclass(frozen=True)
class OperatorProfile:
    """Time by operator group of one model on one engine."""

    model: str
    engine: str
    threads: int
    rows: tuple[OperatorRow, ...]


@dataclass(frozen=True)
class Peaks:
    """What this machine can do at most with so many threads, measured by the engines' own kernels."""

    threads: int
    int8_gmac_s: float | None
    float32_gmac_s: float | None
    gb_s: float | None


@dataclass(frozen=True)
class Roofline:
    """Measured peaks of the machine, one row for each thread count."""

    peaks: tuple[Peaks, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """How well one model grades on one engine, on a labelled set the user named."""

    model: str
    engine: str
    images: int
    figures: tuple[Figure, ...]
    flips: int | None = None


@dataclass(frozen=True)
class Claim:
    """One claim of the paper beside what was measured here."""

    claim: str
    published: str
    measured: str
    verdict: str


@dataclass(frozen=True)
class Analyses:
    """All four sections."""

    operators: tuple[OperatorProfile, ...] = ()
    roofline: Roofline = field(default_factory=Roofline)
    accuracy: tuple[Accuracy, ...] = ()
    claims: tuple[Claim, ...] = ()
