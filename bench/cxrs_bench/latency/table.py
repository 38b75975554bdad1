"""A report's runs, or the comparison of two, as Markdown tables that also read well in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from cxrs_bench.latency.compare import Comparison
from cxrs_bench.latency.intervals import summarize
from cxrs_bench.latency.sustained import median_ms
from cxrs_bench.record import Command, Report, Run

COMPARED = ("model", "engine", "threads", "old ms", "new ms", "new / old", "95 % interval", "verdict")
HEADER = (
    "model",
    "engine",
    "threads",
    "median ms",
    "95 % interval",
    "p5",
    "p95",
    "p99",
    "load ms",
    "memory MB",
    "",
)
COMMAND_HEADER = (
    "whole command",
    "engine",
    "threads",
    "wall ms",
    "start",
    "read",
    "prepare",
    "gate",
    "infer",
)
MARK = "unstable"


def render_runs(report: Report) -> str:
    """The table of runs, that of whole commands if there are any, and why runs are unstable or missing."""
    parts = ["\n".join(_table(HEADER, [_row(run) for run in report.runs]))]
    if report.commands:
        parts.append("\n".join(_table(COMMAND_HEADER, [_command_row(one) for one in report.commands])))
    if remarks := list(_remarks(report)):
        parts.append("\n".join(remarks))
    return "\n\n".join(parts)


def render_comparisons(comparisons: Sequence[Comparison]) -> str:
    """The table of verdicts, and what speaks against each."""
    table = "\n".join(_table(COMPARED, [_compared_row(one) for one in comparisons]))
    remarks = [
        f"{one.model} on {one.engine}, threads {one.threads}: {remark}"
        for one in comparisons
        for remark in one.remarks
    ]
    return "\n\n".join([table, *(["\n".join(remarks)] if remarks else [])])


def _compared_row(one: Comparison) -> tuple[str, ...]:
    ratio = one.ratio
    return (
        one.model,
        one.engine,
        str(one.threads),
        f"{median_ms(one.old):.2f}",
        f"{median_ms(one.new):.2f}",
        f"{ratio.value:.3f}",
        f"{ratio.low:.3f} to {ratio.high:.3f}" if ratio.low == ratio.low else "-",
        one.verdict,
    )


def _row(run: Run) -> tuple[str, ...]:
    name = (run.model, run.engine, str(run.threads))
    if not run.rounds:
        return (*name, *[""] * 7, run.outcome)
    found = summarize([one.samples_ms for one in run.rounds])
    interval = (
        f"{found.median.low:.2f} to {found.median.high:.2f}" if found.median.low == found.median.low else "-"
    )
    state = run.outcome if run.outcome != "measured" else MARK if run.unstable else ""
    return (
        *name,
        f"{found.median.value:.2f}",
        interval,
        f"{found.p5:.2f}",
        f"{found.p95:.2f}",
        f"{found.p99:.2f}",
        f"{median(one.load_ms for one in run.rounds):.0f}",
        _memory(run),
        state,
    )


def _memory(run: Run) -> str:
    """Peak over the bare interpreter, MB."""
    over = [
        one.rss_peak_bytes - one.rss_bare_bytes
        for one in run.rounds
        if one.rss_peak_bytes is not None and one.rss_bare_bytes is not None
    ]
    return f"{max(over) / 1e6:.0f}" if over else "-"


def _command_row(one: Command) -> tuple[str, ...]:
    name = (one.model, one.engine, str(one.threads))
    if not one.wall_ms:
        return (*name, one.outcome, *[""] * 5)
    parts = (one.wall_ms, one.start_ms, one.read_ms, one.prepare_ms, one.gate_ms, one.infer_ms)
    return (*name, *(f"{median(values):.0f}" if values else "-" for values in parts))


def _remarks(report: Report) -> Iterator[str]:
    for run in report.runs:
        name = f"{run.model} on {run.engine}, threads {run.threads}"
        if run.reason:
            yield f"{name}: {run.outcome}: {run.reason}"
        if run.unstable:
            yield f"{name}: {MARK}: {'; '.join(run.unstable)}"
    for one in report.commands:
        if one.reason:
            yield f"whole command, {one.model} on {one.engine}: {one.outcome}: {one.reason}"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    yield _line(header, widths)
    yield _line(
        tuple("-" * (width - 1) + ":" if i >= 2 else "-" * width for i, width in enumerate(widths)), widths
    )
    for row in rows:
        yield _line(row, widths)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [
        cell.ljust(width) if i < 2 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"
