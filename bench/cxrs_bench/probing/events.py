"""Time by operator, by the profiler of each engine; `profile` is what the rest calls."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cxrs_bench.probing.apart import call_apart
from cxrs_edge.errors import EngineError

PROFILERS = {
    "tflite": "cxrs_bench.probing.litert_profiler",
    "onnx": "cxrs_bench.probing.onnx_profiler",
    "openvino": "cxrs_bench.probing.openvino_profiler",
}
"""Engine -> module with `profile(path, threads, inferences) -> Profile`."""


@dataclass(frozen=True)
class Event:
    """One operator as the engine ran it.

    Attributes
    ----------
    name : of the operator in the engine's words; LiteRT gives none that the file has.
    operator : its type in the engine's words, with its kernel where the engine tells it.
    ms : mean for one image.
    """

    name: str
    operator: str
    ms: float


@dataclass(frozen=True)
class Profile:
    """Events in the order in which they ran; `wall_ms` is the median of one inference, the profiler running."""

    events: tuple[Event, ...]
    wall_ms: float


def profile(path: Path, engine: str, threads: int, inferences: int) -> Profile:
    """Profile a model file on an engine in a fresh process; raises `EngineError` when there is no profile."""
    if engine not in PROFILERS:
        raise EngineError(f"{engine}: has no profiler that is known; expected {' or '.join(PROFILERS)}")
    found = call_apart(_profile, engine, path, threads, inferences)
    if not found.events:
        raise EngineError(f"{engine}: its profiler told of no operator")
    return found


def _profile(engine: str, path: Path, threads: int, inferences: int) -> Profile:
    result: Profile = importlib.import_module(PROFILERS[engine]).profile(path, threads, inferences)
    return result


def mean_events(events: Iterable[Event], inferences: int) -> tuple[Event, ...]:
    """Events of several inferences, each operator's times added up, divided by the number of inferences."""
    first: dict[tuple[str, str], Event] = {}
    sums: defaultdict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        key = event.name, event.operator
        first.setdefault(key, event)
        sums[key] += event.ms
    return tuple(replace(event, ms=sums[key] / inferences) for key, event in first.items())
