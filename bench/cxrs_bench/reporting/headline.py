"""The answer in words: is the advantage in FLOPs one in milliseconds here, and if not, why not?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from cxrs_bench.analysing.advantage import Advantage
from cxrs_bench.analysing.gap import Gap, find_gap
from cxrs_bench.record import Report
from cxrs_bench.reporting.words import engine_name, engine_place, listed, network_name, percent, threads_name

VERDICTS = {
    "realised": "in full",
    "partly": "in part",
    "not realised": "not at all",
    "reversed": "turned round",
    "unclear": "unclear",
}


def headline(report: Report, advantages: Sequence[Advantage]) -> tuple[str, ...]:
    """Paragraphs of plain text: what of the advantage is time, and why not all of it.

    Says what is missing where there is nothing to compare.
    """
    fewest = _fewest_threads(advantages)
    if not fewest:
        return (
            "This report compares no two networks: for the paper's claim it needs runs of CXR-S and of ResNet-50 or "
            "CheXNet in the same precision, on the same engine, with the same number of threads.",
        )
    answer = [_answer(fewest), _advantage(fewest), *_by_precision(fewest), _more_threads(advantages, fewest)]
    return tuple(filter(None, (" ".join(filter(None, answer)), _why(report, fewest))))


def _fewest_threads(advantages: Sequence[Advantage]) -> list[Advantage]:
    threads = min((one.threads for one in advantages), default=0)
    return [one for one in advantages if one.threads == threads]


def _answer(advantages: Sequence[Advantage]) -> str:
    verdicts = {one.verdict for one in advantages}
    if verdicts == {"realised"}:
        return "Yes."
    if "realised" in verdicts or "partly" in verdicts:
        return "In part."
    return "No." if verdicts <= {"not realised", "reversed"} else "That is unclear."


def _advantage(advantages: Sequence[Advantage]) -> str:
    fewer = [f"{ratio:.1f} times fewer than {name}" for name, ratio in _opponents(advantages).items()]
    return f"CXR-S has {listed(fewer).replace('fewer', 'fewer FLOPs', 1)}."


def _opponents(advantages: Sequence[Advantage]) -> dict[str, float]:
    return {network_name(one.opponent): one.flop_ratio for one in advantages}


def _by_precision(advantages: Sequence[Advantage]) -> Iterator[str]:
    ordered = sorted(advantages, key=lambda one: (one.precision, engine_place(one.engine)))
    for index, (precision, group) in enumerate(groupby(ordered, key=lambda one: one.precision)):
        engines = [
            f"{_ratios(pairs)} on {engine_name(engine)}"
            for engine, pairs in groupby(group, key=lambda one: one.engine)
        ]
        lead = "In" if index else f"With {threads_name(advantages[0].threads)}, in"
        yield f"{lead} {precision} it is {listed(engines).replace('times', 'times as fast', 1)}."


def _ratios(advantages: Iterable[Advantage]) -> str:
    """Such as ``2.41 and 2.13 (in full) times``, in the order of the opponents."""
    pairs = [
        f"{one.time_ratio.value:.2f}{'' if one.verdict == 'partly' else f' ({VERDICTS[one.verdict]})'}"
        for one in advantages
    ]
    return f"{listed(pairs)} times"


def _more_threads(advantages: Sequence[Advantage], fewest: Sequence[Advantage]) -> str:
    """Whether more threads change a verdict."""
    verdicts = {(one.engine, one.precision, one.opponent): one.verdict for one in fewest}
    others = [one for one in advantages if one.threads != fewest[0].threads]
    changed = [
        one for one in others if verdicts.get((one.engine, one.precision, one.opponent)) != one.verdict
    ]
    if not others:
        return ""
    if not changed:
        return "More threads change none of these verdicts."
    return f"With more threads {len(changed)} of {len(others)} verdicts are others; the table below has them."


def _why(report: Report, advantages: Sequence[Advantage]) -> str:
    """The widest gap, explained by the profiles of both networks."""
    gaps = [
        (one, gap) for one in advantages if (gap := find_gap(one, report.analyses)) and gap.ours > gap.theirs
    ]
    if not gaps:
        return "" if report.analyses.operators else "No operator was profiled, so why is not told here."
    widest, gap = max(gaps, key=lambda pair: pair[0].flop_ratio / pair[0].time_ratio.value)
    return (
        f"The widest gap is {engine_name(widest.engine)} {widest.precision} against {network_name(widest.opponent)}: "
        f"{explain(gap, widest.opponent)}"
    )


def explain(gap: Gap, opponent: str) -> str:
    """Where the time per MAC goes that the opponent doesn't spend."""
    theirs = network_name(opponent)
    ours = f"{gap.ours:.2f}"
    if gap.ours <= gap.theirs:
        return (
            f"CXR-S spends less time per MAC than {theirs} ({ours} against {gap.theirs:.2f} ms per G MACs)."
        )
    above = gap.ours - gap.theirs
    group, share = gap.largest_rest
    return (
        f"CXR-S spends {ours} ms per G MACs where {theirs} spends {gap.theirs:.2f}. "
        f"{percent(gap.convolutions / above)} of the difference is in its convolutions, which run at "
        f"{gap.our_rate:.0f} against {gap.their_rate:.0f} G MACs per second; {percent(gap.rest / above)} is in "
        f"operators with next to no MACs, which take {percent(gap.our_rest)} of its time (most: {group}, "
        f"{percent(share)}) and {percent(gap.their_rest)} of {theirs}'s."
    )
