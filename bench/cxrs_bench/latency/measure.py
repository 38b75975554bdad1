"""One round of one configuration, in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cxrs_bench.latency.child import ChildRequest
from cxrs_bench.latency.configurations import Configuration
from cxrs_bench.latency.host import read_conditions
from cxrs_bench.latency.process import ChildError, run_child
from cxrs_bench.record import Outcome, Round, Run, Settings


def measure_round(run: Run, one: Configuration, number: int, settings: Settings, pixels: Path) -> Run:
    """The run with one more round, or ``failed`` with the reason; earlier rounds stay."""
    started, before = datetime.now(UTC).isoformat(timespec="seconds"), read_conditions()
    try:
        (answer,) = run_child(request_of(one, settings, pixels))
    except ChildError as error:
        outcome: Outcome = "unsupported" if error.unsupported else "failed"
        return replace(run, outcome=outcome, reason=f"round {number} of {settings.rounds}: {error}")
    measured = msgspec.convert(
        {**answer, "number": number, "started": started, "before": msgspec.to_builtins(before)}, Round
    )
    run = replace(
        run,
        rounds=(*run.rounds, measured),
        engine_version=answer["engine_version"],
        threads_used=answer["threads_used"],
    )
    return replace(run, outcome="measured", reason=None) if number == settings.rounds else run


def request_of(one: Configuration, settings: Settings, pixels: Path) -> ChildRequest:
    """What the process is asked for."""
    return ChildRequest(
        model=str(one.file.path.resolve()),
        engine=one.engine,
        threads=one.threads,
        pixels=str(pixels),
        samples=settings.samples,
        seconds=settings.seconds,
    )
