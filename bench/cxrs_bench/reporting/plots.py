"""The charts of a report, each a function from its figures to SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrs_bench.analyses import OperatorProfile, Roofline
from cxrs_bench.analysing.roofline import memory_gb_s
from cxrs_bench.probing.groups import GROUPS
from cxrs_bench.record import Sustained
from cxrs_bench.reporting.charts import INKS, canvas
from cxrs_bench.reporting.rows import Timed, balanced_accuracy, pareto_front
from cxrs_bench.reporting.words import engine_name, network_name, percent

NETWORK_INKS = {"cxrs": "n0", "chexnet": "n1", "resnet50": "n2"}
OTHER_INK = "n3"
MARKERS = {"tflite": "o", "onnx": "s", "openvino": "^"}
OTHER_MARKER = "D"
LINES = {"tflite": "-", "onnx": "--", "openvino": ":"}
OTHER_LINE = "-."
LONGEST_NAME = 32
MOST_TICKS = 120
ROW = 0.26
"""Inches of one line in a chart of lines."""
MOST_ROWS = 60
"""Lines of one chart; the tables have all."""
GROUP_INKS = {group: f"g{index}" for index, group in enumerate(GROUPS)}


def _ink(network: str) -> str:
    return INKS[NETWORK_INKS.get(network, OTHER_INK)]


def _marker(engine: str) -> str:
    return MARKERS.get(engine, OTHER_MARKER)


def _fill(row: Timed) -> str:
    """Integers are filled, floats hollow."""
    return _ink(row.model.network) if row.model.precision == "int8" else INKS["paper"]


def _tick_names(axis: Any, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), list(map(_short, names)))
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(False, axis="y")


def _short(name: str) -> str:
    """Names from a report may be of any length; a chart's edge isn't."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def _plain_numbers(axis: Any) -> None:
    """1, 2, 5, 10 on a logarithmic axis, not powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def plot_accuracy(rows: Sequence[Timed], name: str) -> str:
    """Balanced accuracy over median time, with both intervals and the Pareto front; what nobody judged stands in a
    strip below."""
    judged = [(row, found) for row in rows if (found := balanced_accuracy(row.accuracy))]
    with canvas(name, 3.4) as (drawn, axis):
        axis.set_xscale("log")
        floor = min((low for _, (_, low, _) in judged), default=0.4) - 0.06
        for row, (value, low, high) in judged:
            axis.plot(
                [row.median.value] * 2, [low, high], color=_ink(row.model.network), alpha=0.45, linewidth=1.2
            )
            _point(axis, row, value)
        for row in rows:
            if balanced_accuracy(row.accuracy) is None:
                _point(axis, row, floor, alpha=0.55)
        front = pareto_front(list(rows))
        values = [found[0] for row in front if (found := balanced_accuracy(row.accuracy))]
        axis.step(
            [row.median.value for row in front],
            values,
            where="post",
            color=INKS["ink"],
            linewidth=1,
            linestyle=":",
        )
        if len(judged) < len(rows):
            axis.axhspan(floor - 0.03, floor + 0.03, color=INKS["line"], alpha=0.35, linewidth=0)
            axis.annotate(
                "latency only", (0, floor + 0.03), xycoords=("axes fraction", "data"), va="bottom",
                color=INKS["soft"], xytext=(4, 2), textcoords="offset points", fontsize=8,
            )  # fmt: skip
        axis.set_xlabel("median time of one image, ms")
        axis.set_ylabel("balanced accuracy, 95 % interval")
        axis.set_ylim(floor - 0.05, None)
        _plain_numbers(axis.xaxis)
    return drawn.svg


def _point(axis: Any, row: Timed, value: float, alpha: float = 1.0) -> None:
    axis.plot(
        row.median.value, value, _marker(row.run.engine), color=_ink(row.model.network), markersize=7, alpha=alpha,
        markerfacecolor=_fill(row), markeredgewidth=1.5,
    )  # fmt: skip


def plot_latencies(rows: Sequence[Timed], name: str) -> str:
    """Every sample of every run as a tick; the line is 5 to 95 %, the bar 25 to 75 %, the point the median."""
    shown = list(rows)[:MOST_ROWS]
    with canvas(name, 0.75 + ROW * len(shown)) as (drawn, axis):
        axis.set_xscale("log")
        for line, row in enumerate(shown):
            ink, summary = _ink(row.model.network), row.summary
            axis.plot(*_ticks(row.run.samples_ms, line), color=ink, alpha=0.35, linewidth=0.7)
            axis.plot([summary.p5, summary.p95], [line, line], color=ink, linewidth=1.2)
            axis.plot(
                [summary.p25, summary.p75],
                [line, line],
                color=ink,
                linewidth=5,
                alpha=0.5,
                solid_capstyle="butt",
            )
            axis.plot(summary.median.value, line, "o", color=ink, markersize=4.5)
            axis.annotate(
                f"{summary.median.value:.3g} ms" + (" unstable" if row.run.unstable else ""),
                (summary.p95, line), xytext=(9, 0), textcoords="offset points", va="center", fontsize=8,
                color=INKS["soft"],
            )  # fmt: skip
        _tick_names(
            axis, [f"{network_name(row.model.network)}  {engine_name(row.run.engine)}" for row in shown]
        )
        axis.margins(x=0.2)
        axis.set_xlabel("time of one image, ms (logarithmic)")
        _plain_numbers(axis.xaxis)
    return drawn.svg


def _ticks(samples: Sequence[float], line: int) -> tuple[list[float], list[float]]:
    """One path of short upright strokes, `MOST_TICKS` of the samples at most; NaN lifts the pen."""
    step = -(-len(samples) // MOST_TICKS)
    shown = samples[::step]
    xs = [x for sample in shown for x in (sample, sample, math.nan)]
    return xs, [line - 0.18, line + 0.18, math.nan] * len(shown)


def plot_roofline(rows: Sequence[Timed], roofline: Roofline, precision: str, threads: int, name: str) -> str:
    """Achieved G MACs per second over MACs per byte, under the roofs of each engine."""
    points = [row for row in rows if row.gmac_s and row.intensity]
    computed = "int8" if precision == "int8" else "float32"
    peaks = [one for one in roofline.peaks if (one.threads, one.precision) == (threads, computed)]
    memory = memory_gb_s(roofline, threads)
    with canvas(name, 3.4) as (drawn, axis):
        axis.set_xscale("log")
        axis.set_yscale("log")
        intensities = [row.intensity for row in points if row.intensity]
        low, high = min(intensities, default=1.0) / 8, max(intensities, default=100.0) * 5
        for peak in peaks:
            ridge = peak.gmac_s / memory if memory else low
            xs = [low, max(low, ridge), max(high, ridge)]
            ys = [min(peak.gmac_s, (memory or peak.gmac_s) * x) for x in xs]
            label = f"{_short(engine_name(peak.engine))} {peak.gmac_s:.0f}"
            style = LINES.get(peak.engine, OTHER_LINE)
            axis.plot(xs, ys, style, color=INKS["soft"], linewidth=1.3, label=label)
        for row in points:
            axis.plot(
                row.intensity, row.gmac_s, _marker(row.run.engine), color=_ink(row.model.network), markersize=7,
                markerfacecolor=_fill(row), markeredgewidth=1.5,
            )  # fmt: skip
        axis.set_xlabel("arithmetic intensity, MACs per byte")
        axis.set_ylabel("G MACs per second")
        axis.set_xlim(low, None)
        if peaks:
            axis.legend(loc="lower right", title=_memory_label(memory), fontsize=8, title_fontsize=8)
        _plain_numbers(axis.xaxis)
        _plain_numbers(axis.yaxis)
    return drawn.svg


def _memory_label(memory: float | None) -> str:
    return "peaks, G MACs per second" + ("" if memory is None else f"\nmemory: {memory:.0f} GB per second")


def plot_operators(profiles: Sequence[OperatorProfile], networks: Mapping[str, str], name: str) -> str:
    """For each profile a bar of MACs above a bar of time, both as shares by group; `networks` are names by model."""
    from matplotlib.ticker import PercentFormatter

    shown = list(profiles)[: MOST_ROWS // 2]
    with canvas(name, 0.6 + 2.2 * ROW * len(shown)) as (drawn, axis):
        for index, profile in enumerate(shown):
            total = sum(row.ms for row in profile.rows) or 1.0
            macs = sum(row.macs for row in profile.rows) or 1
            for place, shares in (
                (index - 0.17, {row.group: row.macs / macs for row in profile.rows}),
                (index + 0.17, {row.group: row.ms / total for row in profile.rows}),
            ):
                _stack(axis, place, shares)
            for place, text in ((-0.17, f"{macs / 1e9:.1f} G MACs"), (0.17, f"{total:.3g} ms")):
                axis.annotate(
                    text, (1, index + place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8,
                    color=INKS["soft"], annotation_clip=False,
                )  # fmt: skip
        _tick_names(axis, [networks.get(profile.model, profile.model) for profile in shown])
        axis.set_xlim(0, 1.13)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axis.xaxis.set_major_formatter(PercentFormatter(1))
    return drawn.svg


def _stack(axis: Any, place: float, shares: Mapping[str, float]) -> None:
    left = 0.0
    for group in GROUPS:
        share = shares.get(group, 0.0)
        if share > 0:
            axis.barh(
                place, share, height=0.3, left=left, color=INKS[GROUP_INKS[group]], linewidth=0.6,
                edgecolor=INKS["paper"],
            )  # fmt: skip
        if share >= 0.08:
            axis.annotate(
                percent(share),
                (left + share / 2, place),
                ha="center",
                va="center",
                fontsize=8,
                color=INKS["paper"],
            )
        left += share


def plot_sustained(run: Sustained, name: str) -> str:
    """Median and 95th percentile of each stretch, and the temperature where the system tells it."""
    minutes = [point.seconds / 60 for point in run.points]
    degrees = [point.conditions.temperature_c for point in run.points]
    with canvas(name, 2.4) as (drawn, axis):
        axis.plot(minutes, [point.median_ms for point in run.points], color=INKS["n0"], label="median")
        axis.plot(
            minutes,
            [point.p95_ms for point in run.points],
            color=INKS["n0"],
            alpha=0.45,
            label="95th percentile",
        )
        axis.set_ylim(0, None)
        axis.set_xlabel("minutes without a pause")
        axis.set_ylabel("ms")
        if None not in degrees:
            warmth = axis.twinx()
            warmth.plot(minutes, degrees, color=INKS["n2"], linestyle=":", label="temperature")
            warmth.set_ylabel("°C")
            warmth.grid(False)
            warmth.legend(loc="lower right", bbox_to_anchor=(1, 1))
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return drawn.svg
