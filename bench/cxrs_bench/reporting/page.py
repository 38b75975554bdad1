"""A report as one HTML file that needs nothing else: no network, no script, no font.

A report may come from anywhere. Everything of it that is text is escaped by the template; charts escape what they
draw; nothing of it becomes an address, a style or a name of an element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cxrs_bench.analysing.advantage import Advantage, find_advantages
from cxrs_bench.analysing.gap import Gap, find_gap
from cxrs_bench.probing.groups import GROUPS
from cxrs_bench.published import COMPLEXITY_NOTES, NOTES
from cxrs_bench.record import Report
from cxrs_bench.reporting import plots, words
from cxrs_bench.reporting.headline import VERDICTS, explain, headline
from cxrs_bench.reporting.rows import Timed, network_place, timed_runs
from cxrs_bench.reporting.three_networks import ThreeNetworks
from cxrs_edge.extras import import_extra

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Chart:
    """An SVG element with its caption, plain text."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Charts:
    """All charts of a page, by section; an empty section has nothing to show."""

    accuracy: tuple[Chart, ...]
    latencies: tuple[Chart, ...]
    operators: tuple[Chart, ...]
    roofline: tuple[Chart, ...]
    sustained: tuple[Chart, ...]


def render_page(report: Report, three_networks: ThreeNetworks | None = None) -> str:
    """The HTML file's text; raises `DataError` for a report whose figures can't be shown."""
    jinja2: Any = import_extra("jinja2", "bench")
    markupsafe: Any = import_extra("markupsafe", "bench")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cxrs_bench.reporting", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "percent": words.percent,
        "megabytes": words.megabytes,
        "network": words.network_name,
        "engine": words.engine_name,
        "threads": words.threads_name,
        # The one text that is not escaped: our own SVG.
        "drawn": lambda chart: markupsafe.Markup(chart.svg),
    }
    rows, advantages = timed_runs(report), find_advantages(report)
    page: str = environment.get_template(TEMPLATE).render(
        report=report,
        rows=rows,
        headline=headline(report, advantages),
        advantages=list(_by_setup(advantages)),
        gaps=list(_gaps(report, advantages)),
        verdicts=VERDICTS,
        charts=draw_charts(report, rows),
        networks=sorted({row.model.network for row in rows}, key=network_place),
        network_inks=plots.NETWORK_INKS,
        other_ink=plots.OTHER_INK,
        group_inks={group: ink for group, ink in plots.GROUP_INKS.items() if group in _groups_of(report)},
        three_networks=three_networks,
        notes=[" ".join(NOTES), *COMPLEXITY_NOTES],
        interval=words.interval,
    )
    return page


def _groups_of(report: Report) -> set[str]:
    return {row.group for profile in report.analyses.operators for row in profile.rows} & set(GROUPS)


def _by_setup(advantages: Sequence[Advantage]) -> Iterator[tuple[str, int, list[Advantage]]]:
    """Precision, threads and the pairs of all engines, the fewest threads first."""
    ordered = sorted(advantages, key=lambda one: _floats_first((one.threads, one.precision)))
    for (threads, precision), group in groupby(ordered, key=lambda one: (one.threads, one.precision)):
        yield precision, threads, list(group)


def _gaps(report: Report, advantages: Sequence[Advantage]) -> Iterator[tuple[Advantage, Gap, str]]:
    for advantage in advantages:
        gap = find_gap(advantage, report.analyses)
        if gap is not None:
            yield advantage, gap, explain(gap, advantage.opponent)


def draw_charts(report: Report, rows: Sequence[Timed]) -> Charts:
    """Every chart that there are figures for."""
    by_threads = {
        threads: [row for row in rows if row.run.threads == threads]
        for threads in sorted({r.run.threads for r in rows})
    }
    return Charts(
        accuracy=tuple(
            Chart(words.threads_name(threads), plots.plot_accuracy(group, f"accuracy{threads}"))
            for threads, group in by_threads.items()
            if any(row.accuracy for row in group)
        ),
        latencies=tuple(_latencies(rows)),
        operators=tuple(_operators(report)),
        roofline=tuple(_rooflines(report, rows)),
        sustained=tuple(
            Chart(
                f"{run.model} on {words.engine_name(run.engine)}, {words.threads_name(run.threads)}",
                plots.plot_sustained(run, f"sustained{index}"),
            )
            for index, run in enumerate(report.sustained)
            if run.points
        ),
    )


def _latencies(rows: Sequence[Timed]) -> Iterator[Chart]:
    keys = sorted({(r.run.threads, r.model.precision, r.model.size) for r in rows}, key=_floats_first)
    for index, (threads, precision, size) in enumerate(keys):
        group = [
            r for r in rows if (r.run.threads, r.model.precision, r.model.size) == (threads, precision, size)
        ]
        caption = f"{precision}, {words.threads_name(threads)}, {size} x {size} pixels"
        yield Chart(caption, plots.plot_latencies(group, f"latency{index}"))


def _floats_first(key: tuple[Any, ...]) -> tuple[Any, ...]:
    threads, precision, *others = key
    return threads, precision != "float32", precision, *others


def _operators(report: Report) -> Iterator[Chart]:
    models = {model.id: model for model in report.models}
    names = {id: words.network_name(model.network) for id, model in models.items()}
    found = [one for one in report.analyses.operators if one.rows and one.model in models]
    keys = {(one.engine, models[one.model].precision) for one in found}
    for index, (engine, precision) in enumerate(sorted(keys, key=lambda k: (words.engine_place(k[0]), k[1]))):
        group = [one for one in found if (one.engine, models[one.model].precision) == (engine, precision)]
        caption = f"{words.engine_name(engine)}, {precision}, {words.threads_name(group[0].threads)}"
        yield Chart(caption, plots.plot_operators(group, names, f"operators{index}"))


def _rooflines(report: Report, rows: Sequence[Timed]) -> Iterator[Chart]:
    roofline = report.analyses.roofline
    keys = sorted(
        {(r.run.threads, r.model.precision) for r in rows if r.gmac_s and r.intensity}, key=_floats_first
    )
    for index, (threads, precision) in enumerate(keys):
        group = [r for r in rows if (r.run.threads, r.model.precision) == (threads, precision)]
        caption = f"{precision}, {words.threads_name(threads)}"
        yield Chart(caption, plots.plot_roofline(group, roofline, precision, threads, f"roofline{index}"))
