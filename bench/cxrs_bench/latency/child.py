"""One configuration in a process of its own: `python -m cxrs_bench.latency.child REQUEST`.

REQUEST is JSON, `ChildRequest`'s fields. The answers are lines of JSON on standard output, where nothing else gets
to: a `Round`'s measured part, or the points of a sustained run as they come, or ``{"error": ..., "kind": ...}``.
Nothing but the standard library is imported before the bare interpreter's memory is read.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from cxrs_edge.engines import Engine
    from cxrs_edge.prepare import Pixels

WINDOW = 5
"""Inferences whose median is compared with that of the ones before."""
SETTLED = 0.02
"""Share by which two such medians may differ."""
FEWEST = 5
"""Timed inferences of a round, however long they take."""
POINT_SECONDS = 5.0
"""Length of one point of a sustained run."""


@dataclass(frozen=True)
class ChildRequest:
    """What to measure.

    Attributes
    ----------
    model : path of the file.
    pixels : path of a ``.npy`` file, uint8, 1 x H x W x C.
    samples, seconds : a round ends after so many timed inferences or so much time.
    sustained_seconds : if not 0, run so long without a pause instead.
    """

    model: str
    engine: str
    threads: int
    pixels: str
    samples: int
    seconds: float
    sustained_seconds: float = 0.0


def main() -> None:
    """Answer the request."""
    bare = _memory("VmRSS")
    answers = _private_stdout()
    request = ChildRequest(**json.loads(sys.argv[1]))
    from cxrs_edge.errors import CxrsError

    try:
        for answer in _answers(request, bare):
            print(json.dumps(answer), file=answers, flush=True)
    except CxrsError as error:
        print(json.dumps({"error": str(error), "kind": error.kind}), file=answers, flush=True)


def _answers(request: ChildRequest, bare: int | None) -> Iterator[dict[str, Any]]:
    started = perf_counter()
    from cxrs_edge.engines.registry import open_engine
    from cxrs_edge.model_file import read_model_file

    engine = open_engine(read_model_file(request.model), request.engine, request.threads)
    load_ms = (perf_counter() - started) * 1000
    import numpy as np

    pixels = np.load(request.pixels)
    warmup_ms, settled = warm_up(engine, pixels, request.seconds)
    if request.sustained_seconds:
        yield from _sustained(engine, pixels, request.sustained_seconds)
        return
    measured = measure(engine, pixels, request.samples, request.seconds)
    yield {
        "engine_version": engine.version,
        "threads_used": engine.threads,
        "load_ms": round(load_ms, 3),
        "warmup_ms": warmup_ms,
        "settled": settled,
        **measured,
        "rss_bare_bytes": bare,
        "rss_peak_bytes": _memory("VmHWM"),
        "after": _conditions(),
    }


def warm_up(engine: Engine, pixels: Pixels, seconds: float) -> tuple[list[float], bool]:
    """Infer until times have settled, for `seconds` at most; the times in ms, and whether they did.

    Settled: the medians of the last `WINDOW` inferences and of those before differ by less than `SETTLED`.
    """
    from statistics import median

    times: list[float] = []
    end = perf_counter() + seconds
    while perf_counter() < end or not times:
        times.append(_infer_ms(engine, pixels))
        # The first one also allocates: it belongs to neither.
        if len(times) > 2 * WINDOW:
            before, last = median(times[-2 * WINDOW : -WINDOW]), median(times[-WINDOW:])
            if abs(last - before) <= SETTLED * before:
                return times, True
    return times, False


def measure(engine: Engine, pixels: Pixels, samples: int, seconds: float) -> dict[str, Any]:
    """Time inferences one by one, at least `FEWEST`."""
    times: list[float] = []
    busy, cpu, started = _busy_ms(), process_time(), perf_counter()
    while len(times) < samples and (len(times) < FEWEST or perf_counter() < started + seconds):
        times.append(_infer_ms(engine, pixels))
    wall_ms, cpu_ms = (perf_counter() - started) * 1000, (process_time() - cpu) * 1000
    others = None if busy is None else max(0.0, (_busy_ms() or busy) - busy - cpu_ms)
    return {
        "samples_ms": times,
        "wall_ms": round(wall_ms, 3),
        "cpu_ms": round(cpu_ms, 3),
        "others_cpu_ms": others and round(others, 3),
    }


def _sustained(engine: Engine, pixels: Pixels, seconds: float) -> Iterator[dict[str, Any]]:
    """Points of `POINT_SECONDS` each, the last one shorter, as they are measured."""
    from statistics import median, quantiles

    started = perf_counter()
    while (begun := perf_counter()) < started + seconds:
        until = min(begun + POINT_SECONDS, started + seconds)
        times = [_infer_ms(engine, pixels)]
        while perf_counter() < until:
            times.append(_infer_ms(engine, pixels))
        high = quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
        yield {
            "seconds": round(perf_counter() - started, 3),
            "inferences": len(times),
            "median_ms": round(median(times), 3),
            "p95_ms": round(high, 3),
            "conditions": _conditions(),
        }


def _infer_ms(engine: Engine, pixels: Pixels) -> float:
    started = perf_counter()
    engine.infer(pixels)
    return round((perf_counter() - started) * 1000, 4)


def _conditions() -> dict[str, Any]:
    # Imported after memory was read: psutil and msgspec are none of what is measured.
    from cxrs_bench.latency.host import read_conditions

    return asdict(read_conditions())


def _memory(field: str) -> int | None:
    """Bytes of the process as Linux states them; elsewhere None.

    `getrusage` would do for the peak, but a process inherits that of the one that started it.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            line = next(line for line in status if line.startswith(f"{field}:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def _busy_ms() -> float | None:
    """CPU time of everything on this machine since its start, as Linux counts it; elsewhere None.

    Time that a virtual machine's host took from it counts too.
    """
    try:
        with open("/proc/stat", encoding="ascii") as stat:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    except (OSError, ValueError):
        return None
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def _private_stdout() -> TextIO:
    """Standard output for the answers alone: what engines print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
