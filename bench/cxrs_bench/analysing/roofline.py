"""The limits of this machine, by engine, precision and number of threads, and what each model asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from cxrs_bench.analyses import Demand, Roofline
from cxrs_bench.complexity import Complexity
from cxrs_bench.probing.peaks import measure_bandwidth, measure_peak
from cxrs_bench.probing.synthetic import Precision
from cxrs_bench.progress import Report as Progress
from cxrs_bench.record import Report
from cxrs_edge.errors import CxrsError

PRECISIONS: tuple[Precision, ...] = ("int8", "float32")
MEMORY: Literal["memory"] = "memory"


def measure_roofline(report: Report, costs: Mapping[str, Complexity], progress: Progress) -> Roofline:
    """Measure peaks and bandwidth on every engine and number of threads that the report has a run of."""
    setups = sorted({(run.engine, run.threads) for run in report.runs if run.outcome == "measured"})
    probes = [(engine, threads, what) for engine, threads in setups for what in (*PRECISIONS, MEMORY)]
    peaks, bandwidths, failures = [], [], []
    for number, (engine, threads, what) in enumerate(probes):
        progress(f"peak of {engine}, {threads} threads: {what}", number, len(probes))
        try:
            if what == MEMORY:
                bandwidths.append(measure_bandwidth(engine, threads))
            else:
                peaks.append(measure_peak(engine, threads, what))
        except CxrsError as error:
            failures.append(f"{engine}, {threads} threads, {what}: {error}")
    return Roofline(
        peaks=tuple(peaks),
        bandwidths=tuple(bandwidths),
        demands=tuple(
            Demand(model, complexity.macs, complexity.bytes_moved) for model, complexity in costs.items()
        ),
        failures=tuple(failures),
    )


def limit_gmac_s(roofline: Roofline, model: str, engine: str, threads: int, precision: str) -> float | None:
    """What the roofline lets a model reach, G MACs per second; None where a limit wasn't measured.

    The engine's own peak, or the machine's memory (the engine that moved most) times the model's arithmetic
    intensity, whichever is lower. Precisions other than int8 are computed in float32.
    """
    computed = "int8" if precision == "int8" else "float32"
    peaks = [
        peak.gmac_s
        for peak in roofline.peaks
        if (peak.engine, peak.threads, peak.precision) == (engine, threads, computed)
    ]
    memory = memory_gb_s(roofline, threads)
    intensity = intensity_of(roofline, model)
    if not peaks or memory is None or intensity is None:
        return None
    return min(max(peaks), memory * intensity)


def memory_gb_s(roofline: Roofline, threads: int) -> float | None:
    """The most that any engine moved with so many threads, GB/s."""
    return max((one.gb_s for one in roofline.bandwidths if one.threads == threads), default=None)


def intensity_of(roofline: Roofline, model: str) -> float | None:
    """MACs per byte of a model file."""
    found = {demand.model: demand.macs / demand.bytes for demand in roofline.demands if demand.bytes}
    return found.get(model)
