"""One honest paragraph: which engine and how many threads for this board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cxrs_bench.latency.intervals import Interval, ratio_interval, summarize
from cxrs_bench.latency.sustained import median_ms
from cxrs_bench.record import Report, Run
from cxrs_edge.engines.registry import choose_engine, doubts
from cxrs_edge.grader import bundled_path
from cxrs_edge.model_file import read_model_file

FIRST = "cxrs"
"""The network that is recommended for, where it was measured."""


def recommend(report: Report) -> str:
    """The paragraph; says so when nothing was measured, or can't be told apart."""
    candidates = _candidates(report)
    if not candidates:
        return "No recommendation: no configuration whose answers can be right was measured."
    best = candidates[0]
    equal = [run for run in candidates[1:] if _within_noise(run, best)]
    # What can't be told apart is decided by what else it costs.
    chosen = min([best, *equal], key=lambda run: (run.threads, _peak_bytes(run)))
    return " ".join(
        [
            _main_sentence(report, chosen, equal=bool(equal)),
            *_equal_sentence(chosen, [run for run in (best, *equal) if run is not chosen]),
            *_next_sentence(chosen, candidates, equal),
            *_thread_sentence(chosen, candidates),
            _command_sentence(report, chosen),
            *_warnings(report, chosen),
            "This is about time only; whether the answers are right here, cxrs-edge selftest tells.",
        ]
    )


def within_noise(ratio: Interval) -> bool:
    """Whether 1 lies in the interval, or there is none because rounds are too few."""
    return not (ratio.high < 1 or ratio.low > 1)


def _candidates(report: Report) -> list[Run]:
    """Measured runs of the network that matters whose answers aren't in doubt, the fastest first."""
    networks = {model.network for model in report.models}
    network = FIRST if FIRST in networks else report.models[0].network
    runs = [
        run
        for run in report.runs
        if run.rounds
        and report.model(run.model).network == network
        and not doubts(run.engine, report.model(run.model).precision)
    ]
    return sorted(runs, key=median_ms)


def _within_noise(run: Run, other: Run) -> bool:
    return within_noise(_ratio(run, other))


def _ratio(run: Run, other: Run) -> Interval:
    """Time of `run` over time of `other`."""
    return ratio_interval([one.samples_ms for one in run.rounds], [one.samples_ms for one in other.rounds])


def _peak_bytes(run: Run) -> int:
    return max(one.rss_peak_bytes or 0 for one in run.rounds)


def _main_sentence(report: Report, run: Run, *, equal: bool) -> str:
    model, cpu = report.model(run.model), report.host.cpu or report.host.machine
    median = summarize([one.samples_ms for one in run.rounds]).median
    interval = f" (95 % interval {median.low:.1f} to {median.high:.1f})" if median.low == median.low else ""
    rank = "is among the fastest" if equal else "is the fastest"
    return (
        f"On this {cpu} with {report.host.cores} core{'s' * (report.host.cores > 1)}, {_named(run)} {rank} for "
        f"{model.name} {model.precision}: {median.value:.1f} ms an image{interval}."
    )


def _equal_sentence(chosen: Run, others: Sequence[Run]) -> Iterator[str]:
    if others:
        names = "; ".join(f"{_named(run)} ({median_ms(run):.1f} ms)" for run in others)
        yield (
            f"Within the noise of this measurement as fast: {names}. {_named(chosen)} is named because it takes "
            "the fewest threads, then the least memory, of these."
        )


def _next_sentence(chosen: Run, candidates: Sequence[Run], equal: Sequence[Run]) -> Iterator[str]:
    """The best other engine that is slower beyond noise."""
    slower = [run for run in candidates if run.engine != chosen.engine and run not in (candidates[0], *equal)]
    if slower:
        yield f"The next engine is {_named(slower[0])}, which takes {_times(_ratio(slower[0], chosen))} the time."


def _thread_sentence(chosen: Run, candidates: Sequence[Run]) -> Iterator[str]:
    single = [run for run in candidates if run.threads == 1 and run.engine == chosen.engine]
    if chosen.threads > 1 and single:
        yield f"On one thread it takes {_times(_ratio(single[0], chosen))} the time."


def _command_sentence(report: Report, run: Run) -> str:
    model, entry = report.model(run.model), choose_engine("auto")
    bundled = read_model_file(bundled_path(model.format)).card.sha256 == model.sha256
    named = "" if bundled else f" --model {model.id}"
    command = f"cxrs-edge predict{named} --engine {run.engine} --threads {run.threads}"
    default = bundled and run.engine == entry.name and run.threads == report.host.cores
    return f"Use: {command}{' (what predict does here by itself)' if default else ''}."


def _warnings(report: Report, run: Run) -> Iterator[str]:
    if run.unstable:
        yield f"Don't rely on it: {'; '.join(run.unstable)}."
    saturating = sorted(
        {one.engine for one in report.runs if doubts(one.engine, report.model(one.model).precision)}
    )
    if saturating:
        yield f"{', '.join(saturating)} was left out: this CPU has no VNNI, and it gets int8 wrong without."


def _named(run: Run) -> str:
    return f"{run.engine} {run.engine_version} with {run.threads} thread{'s' * (run.threads > 1)}"


def _times(ratio: Interval) -> str:
    interval = f" ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.low == ratio.low else ""
    return f"{ratio.value:.2f}{interval} times"
