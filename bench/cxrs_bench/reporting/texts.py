"""A report as Markdown, for a repository, and as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from cxrs_bench.analysing.advantage import find_advantages
from cxrs_bench.analysing.gap import find_gap
from cxrs_bench.published import COMPLEXITY_NOTES, NOTES
from cxrs_bench.record import Report
from cxrs_bench.reporting.headline import VERDICTS, explain, headline
from cxrs_bench.reporting.rows import Timed, balanced_accuracy, timed_runs
from cxrs_bench.reporting.words import (
    engine_name,
    interval,
    megabytes,
    network_name,
    number,
    percent,
    threads_name,
)

CSV_COLUMNS = (
    "model", "network", "precision", "format", "size", "engine", "engine_version", "threads", "outcome", "unstable",
    "samples", "rounds", "median_ms", "median_low_ms", "median_high_ms", "mean_ms", "p5_ms", "p25_ms", "p75_ms",
    "p95_ms", "p99_ms", "load_ms", "memory_bytes", "file_bytes", "macs", "gmac_s", "limit_gmac_s", "macs_per_byte",
    "images", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "reason",
)  # fmt: skip
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!$~])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula."""


def render_markdown(report: Report) -> str:
    """Headline, verdicts, runs, operators and claims; raises `DataError` as `timed_runs` does."""
    return "\n".join(_markdown(report, timed_runs(report))) + "\n"


def render_csv(report: Report) -> str:
    """One line for each run, whatever its outcome; numbers as they were computed, empty where there is none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    timed = {row.run.key: row for row in timed_runs(report)}
    for run in report.runs:
        model, row = report.model(run.model), timed.get(run.key)
        values = {
            "model": model.id, "network": model.network, "precision": model.precision, "format": model.format,
            "size": model.size, "engine": run.engine, "engine_version": run.engine_version, "threads": run.threads,
            "outcome": run.outcome, "unstable": "; ".join(run.unstable), "file_bytes": model.bytes,
            "macs": model.macs, "reason": run.reason, **(_measured(row) if row else {}),
        }  # fmt: skip
        writer.writerow([_cell(values.get(column)) for column in CSV_COLUMNS])
    return text.getvalue()


def _measured(row: Timed) -> dict[str, object]:
    summary, median = row.summary, row.median
    accuracy = balanced_accuracy(row.accuracy) or (None, None, None)
    return {
        "samples": summary.samples, "rounds": summary.rounds, "median_ms": median.value, "median_low_ms": median.low,
        "median_high_ms": median.high, "mean_ms": summary.mean, "p5_ms": summary.p5, "p25_ms": summary.p25,
        "p75_ms": summary.p75, "p95_ms": summary.p95, "p99_ms": summary.p99, "load_ms": row.load_ms,
        "memory_bytes": row.memory_bytes, "gmac_s": row.gmac_s, "limit_gmac_s": row.limit_gmac_s,
        "macs_per_byte": row.intensity, "images": row.accuracy.images if row.accuracy else None,
        "balanced_accuracy": accuracy[0], "balanced_accuracy_low": accuracy[1], "balanced_accuracy_high": accuracy[2],
    }  # fmt: skip


def _cell(value: object) -> object:
    """NaN and None are empty; text that a spreadsheet would run is quoted."""
    if value is None or value != value:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _markdown(report: Report, rows: Sequence[Timed]) -> Iterator[str]:
    host = report.host
    packages = ", ".join(f"{name} {version}" for name, version in host.packages.items())
    advantages = find_advantages(report)
    yield f"# Are fewer FLOPs less time? {_text(host.board or host.cpu or host.machine)}"
    for paragraph in headline(report, advantages):
        yield from ("", _text(paragraph))
    yield ""
    yield (
        f"Measured {_text(report.created)} by cxrs-edge {_text(report.version)} on {_text(host.cpu or 'a CPU')} "
        f"({host.cores} cores, {_text(host.system)}, {_text(packages)})."
    )
    if advantages:
        yield from ("", "## What of the FLOP advantage is time", "")
        yield from _table(
            ("engine", "precision", "threads", "against", "fewer FLOPs", "faster, 95 % interval", "realised"),
            (
                (
                    engine_name(one.engine), one.precision, one.threads, network_name(one.opponent),
                    f"{one.flop_ratio:.2f}x",
                    f"{interval(one.time_ratio.value, one.time_ratio.low, one.time_ratio.high)}x",
                    VERDICTS[one.verdict] + (", unstable" if one.unstable else ""),
                )
                for one in advantages
            ),
        )  # fmt: skip
    gaps = [(one, gap) for one in advantages if (gap := find_gap(one, report.analyses))]
    if gaps:
        yield from ("", "## Why", "")
        for one, gap in gaps:
            setup = f"{engine_name(one.engine)}, {one.precision}, against {network_name(one.opponent)}"
            yield f"- {_text(setup)}: {_text(explain(gap, one.opponent))}"
    yield from ("", "## How long an image takes", "")
    yield from _table(
        ("model", "engine", "threads", "median, ms", "p95", "G MAC/s", "of the limit", "memory, MB", "accuracy"),
        (
            (
                row.model.id, engine_name(row.run.engine), row.run.threads,
                interval(row.median.value, row.median.low, row.median.high), number(row.summary.p95),
                number(row.gmac_s), percent(row.share_of_limit), megabytes(row.memory_bytes), _accuracy(row),
            )
            for row in rows
        ),
    )  # fmt: skip
    yield from _operators(report)
    yield from _claims(report)


def _accuracy(row: Timed) -> str:
    found = balanced_accuracy(row.accuracy)
    return interval(*found, digits=2) if found else "latency only"


def _operators(report: Report) -> Iterator[str]:
    if report.analyses.operators:
        yield from ("", "## Where FLOPs and time part ways", "")
    for profile in report.analyses.operators:
        setup = f"{profile.model} on {engine_name(profile.engine)}, {threads_name(profile.threads)}"
        yield f"**{_text(setup)}**" + (f": no profile: {_text(profile.reason)}" if profile.reason else "")
        yield ""
        if profile.rows:
            ms, macs = sum(row.ms for row in profile.rows), sum(row.macs for row in profile.rows)
            yield from _table(
                ("group", "M MACs", "share", "MB moved", "ms", "share"),
                (
                    (
                        row.group, number(row.macs / 1e6), percent(row.macs / macs if macs else None),
                        number(row.bytes / 1e6), number(row.ms), percent(row.ms / ms if ms else None),
                    )
                    for row in profile.rows
                ),
            )  # fmt: skip
            yield ""


def _claims(report: Report) -> Iterator[str]:
    if report.analyses.claims:
        yield from ("", "## The paper's claims, one by one", "")
        yield from _table(
            ("claim", "paper", "here", "verdict", "note"),
            (
                (one.claim, one.published, one.measured, one.verdict, one.note)
                for one in report.analyses.claims
            ),
        )
        yield from ("", *(f"- {_text(note)}" for note in (" ".join(NOTES), *COMPLEXITY_NOTES)))


def _table(header: Sequence[str], body: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in body:
        yield f"| {' | '.join(_text(str(cell)) for cell in row)} |"


def _text(text: str) -> str:
    """As Markdown that shows the text: markup escaped, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
