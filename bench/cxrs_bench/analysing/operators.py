"""Time by operator of every run, grouped so that a reader sees where MACs and time part ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cxrs_bench.analyses import OperatorProfile, OperatorRow, SlowOperator
from cxrs_bench.complexity import Complexity
from cxrs_bench.probing.events import profile
from cxrs_bench.probing.groups import GROUPS, TimedOperator, cost_group, group_events
from cxrs_bench.progress import Report as Progress
from cxrs_bench.record import Report, Run
from cxrs_edge.errors import EngineError

INFERENCES = 20
SLOWEST = 10
PROFILERS = {
    "tflite": "LiteRT's profiler inside XNNPACK, through the C library of the Python package",
    "onnx": "ONNX Runtime's session profiler",
    "openvino": "OpenVINO's performance counters",
}


def profile_runs(
    report: Report,
    files: Mapping[str, Path],
    costs: Mapping[str, Complexity],
    progress: Progress,
    inferences: int = INFERENCES,
) -> Iterator[OperatorProfile]:
    """A profile of each model on each engine that it was measured on, with the fewest threads that were measured.

    With more threads an operator's time would hold the waiting of its threads for each other.
    """
    runs = _fewest_threads(report)
    for number, run in enumerate(runs):
        progress(f"operators of {run.model} on {run.engine}", number, len(runs))
        yield _profile(run, files[run.model], costs[run.model], inferences)


def _fewest_threads(report: Report) -> list[Run]:
    fewest: dict[tuple[str, str], Run] = {}
    for run in report.runs:
        other = fewest.get((run.model, run.engine))
        if run.outcome == "measured" and (other is None or run.threads < other.threads):
            fewest[run.model, run.engine] = run
    return list(fewest.values())


def _profile(run: Run, path: Path, complexity: Complexity, inferences: int) -> OperatorProfile:
    who = PROFILERS.get(run.engine, run.engine)
    try:
        found = profile(path, run.engine, run.threads, inferences)
    except EngineError as error:
        return OperatorProfile(run.model, run.engine, run.threads, who, reason=str(error))
    timed = group_events(found.events, complexity)
    return OperatorProfile(
        model=run.model,
        engine=run.engine,
        threads=run.threads,
        profiler=who,
        inferences=inferences,
        wall_ms=found.wall_ms,
        matched=sum(one.cost is not None for one in timed),
        counted=len(complexity.rows),
        rows=group_rows(timed, complexity),
        slowest=tuple(_slow(one) for one in sorted(timed, key=lambda one: -one.event.ms)[:SLOWEST]),
    )


def group_rows(timed: Sequence[TimedOperator], complexity: Complexity) -> tuple[OperatorRow, ...]:
    """One row for each group that has an event or a cost, in the order of `GROUPS`.

    Costs are the file's, times the profiler's: a group with a cost and no event was merged into others by the engine.
    """
    times: defaultdict[str, list[float]] = defaultdict(list)
    for one in timed:
        times[one.group].append(one.event.ms)
    macs: defaultdict[str, int] = defaultdict(int)
    moved: defaultdict[str, int] = defaultdict(int)
    for cost in (*complexity.rows, *complexity.free):
        group = cost_group(cost, complexity)
        macs[group] += cost.macs
        moved[group] += cost.bytes_moved
    return tuple(
        OperatorRow(group, len(times[group]), macs[group], moved[group], sum(times[group]))
        for group in GROUPS
        if times[group] or macs[group] or moved[group]
    )


def _slow(one: TimedOperator) -> SlowOperator:
    name, macs, moved = one.event.name, 0, 0
    if one.cost is not None:
        name, macs, moved = one.cost.name, one.cost.macs, one.cost.bytes_moved
    return SlowOperator(name, one.event.operator, one.group, macs, moved, one.event.ms)
