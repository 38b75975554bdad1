"""Inference without a pause, which shows what heat does to a small board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cxrs_bench.latency.configurations import Configuration
from cxrs_bench.latency.intervals import summarize
from cxrs_bench.latency.measure import request_of
from cxrs_bench.latency.process import ChildError, run_child
from cxrs_bench.record import Run, Settings, Sustained, SustainedPoint


def fastest(runs: Sequence[Run]) -> Run | None:
    """The run with the lowest median; None if nothing was measured."""
    measured = [run for run in runs if run.rounds]
    return min(measured, key=median_ms, default=None)


def median_ms(run: Run) -> float:
    """Of its samples, each round weighing alike; needs a round."""
    return summarize([one.samples_ms for one in run.rounds]).median.value


def measure_sustained(one: Configuration, settings: Settings, pixels: Path) -> Iterator[Sustained]:
    """The series so far, as each of its points comes; at last ``measured`` or ``failed`` with the reason."""
    sustained = Sustained(
        model=one.file.path.name,
        engine=one.engine,
        threads=one.threads,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        outcome="interrupted",
        reason="it ended before its time",
    )
    request = replace(request_of(one, settings, pixels), sustained_seconds=60 * settings.sustained_minutes)
    try:
        for answer in run_child(request):
            point = msgspec.convert(answer, SustainedPoint)
            sustained = replace(sustained, points=(*sustained.points, point))
            yield sustained
    except ChildError as error:
        yield replace(sustained, outcome="failed", reason=str(error))
        return
    yield replace(sustained, outcome="measured", reason=None)
