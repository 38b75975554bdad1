"""What a report shows, computed from its raw samples: one value for each line of its tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cxrs_bench.analyses import Accuracy
from cxrs_bench.analysing.roofline import intensity_of, limit_gmac_s
from cxrs_bench.latency.intervals import Interval, Summary, summarize
from cxrs_bench.record import Model, Report, Run
from cxrs_bench.reporting.words import engine_place
from cxrs_edge.errors import DataError

PLAUSIBLE_MS = (1e-4, 1e8)
"""From a tenth of a microsecond to a day: what is outside was not measured, and breaks a logarithmic axis."""
NETWORK_ORDER = ("cxrs", "chexnet", "resnet50")


@dataclass(frozen=True)
class Timed:
    """One run with the figures of its samples.

    Attributes
    ----------
    gmac_s : achieved, by the median; None where nobody counted.
    limit_gmac_s : by the roofline; None where it wasn't measured.
    intensity : MACs per byte of the file.
    accuracy : of the model on this engine, None where nobody judged.
    """

    run: Run
    model: Model
    summary: Summary
    gmac_s: float | None
    limit_gmac_s: float | None
    intensity: float | None
    accuracy: Accuracy | None

    @property
    def median(self) -> Interval:
        """Time of one image, ms."""
        return self.summary.median

    @property
    def share_of_limit(self) -> float | None:
        """Of the roofline, 0..1 and a little more where a kernel beats the probe."""
        if self.gmac_s is None or self.limit_gmac_s is None:
            return None
        return self.gmac_s / self.limit_gmac_s

    @property
    def load_ms(self) -> float:
        """The fastest of the rounds: import and open."""
        return min(one.load_ms for one in self.run.rounds)

    @property
    def memory_bytes(self) -> int | None:
        """Peak above the bare interpreter, the most of the rounds."""
        found = [
            one.rss_peak_bytes - one.rss_bare_bytes
            for one in self.run.rounds
            if one.rss_peak_bytes is not None and one.rss_bare_bytes is not None
        ]
        return max(found, default=None)


def timed_runs(report: Report) -> tuple[Timed, ...]:
    """Every run with samples, sorted by precision, threads, engine and network.

    Raises `DataError` naming the run for a time that can't have been measured.
    """
    rows = [_time(report, run) for run in report.runs if run.samples_ms]
    return tuple(sorted(rows, key=_order))


def _time(report: Report, run: Run) -> Timed:
    low, high = PLAUSIBLE_MS
    for value in run.samples_ms:
        if not low <= value <= high:
            raise DataError(
                f"run of {run.model} on {run.engine}: a sample of {value:g} ms; expected {low:g} to {high:g}; "
                "measure again"
            )
    model, roofline = report.model(run.model), report.analyses.roofline
    summary = summarize([one.samples_ms for one in run.rounds if one.samples_ms])
    return Timed(
        run=run,
        model=model,
        summary=summary,
        gmac_s=None if model.macs is None else model.macs / summary.median.value / 1e6,
        limit_gmac_s=limit_gmac_s(roofline, run.model, run.engine, run.threads, model.precision),
        intensity=intensity_of(roofline, run.model),
        accuracy=next(_judged(report, run), None),
    )


def _judged(report: Report, run: Run) -> Iterator[Accuracy]:
    return (
        one
        for one in report.analyses.accuracy
        if (one.model, one.engine, one.outcome) == (run.model, run.engine, "measured")
    )


def _order(row: Timed) -> tuple[object, ...]:
    model, run = row.model, row.run
    return (
        model.size,
        model.precision,
        run.threads,
        engine_place(run.engine),
        network_place(model.network),
        model.id,
    )


def network_place(network: str) -> tuple[int, str]:
    """For sorting: ours, its opponents, others by name."""
    return NETWORK_ORDER.index(network) if network in NETWORK_ORDER else len(NETWORK_ORDER), network


def balanced_accuracy(accuracy: Accuracy | None) -> tuple[float, float, float] | None:
    """Value and interval, None where undefined or nobody judged."""
    for figure in accuracy.figures if accuracy else ():
        if figure.name == "balanced_accuracy" and None not in (figure.value, figure.low, figure.high):
            return figure.value or 0.0, figure.low or 0.0, figure.high or 0.0
    return None


def pareto_front(rows: list[Timed]) -> list[Timed]:
    """The judged runs that no other is both faster and more accurate than, the fastest first."""
    front: list[Timed] = []
    judged = [row for row in rows if balanced_accuracy(row.accuracy)]
    for row in sorted(judged, key=lambda row: (row.median.value, -_value(row))):
        if not front or _value(row) > _value(front[-1]):
            front.append(row)
    return front


def _value(row: Timed) -> float:
    found = balanced_accuracy(row.accuracy)
    return found[0] if found else 0.0
