"""ONNX Runtime's profiler: one JSON file of trace events for each session."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from cxrs_bench.probing.events import Event, Profile, mean_events
from cxrs_edge.engines.onnx import INPUT_TYPES, session_options
from cxrs_edge.engines.telemetry import without_telemetry
from cxrs_edge.extras import import_extra

KERNEL = "_kernel_time"


def open_session(path: Path, threads: int, trace: Path | None = None) -> tuple[Any, dict[str, Any]]:
    """A session with the options of `cxrs_edge.engines.onnx`, and inputs of noise; `trace` is where to profile to."""
    with without_telemetry():
        runtime: Any = import_extra("onnxruntime", "onnx")
    options = session_options(runtime, threads)
    if trace is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(trace)
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    feed = {
        value.name: generator.integers(
            0, 256, [size if isinstance(size, int) else 1 for size in value.shape]
        ).astype(INPUT_TYPES[value.type])
        for value in session.get_inputs()
    }
    return session, feed


def profile(path: Path, threads: int, inferences: int) -> Profile:
    """Mean over so many inferences after one that isn't counted."""
    with tempfile.TemporaryDirectory() as folder:
        session, feed = open_session(path, threads, Path(folder) / "trace")
        walls = []
        for _ in range(1 + inferences):
            start = time.perf_counter()
            session.run(None, feed)
            walls.append(1000 * (time.perf_counter() - start))
        trace = json.loads(Path(session.end_profiling()).read_bytes())
    return Profile(mean_events(read_trace(trace, skip=1), inferences), statistics.median(walls[1:]))


def read_trace(trace: list[dict[str, Any]], *, skip: int) -> list[Event]:
    """Kernel times of a trace (durations in microseconds) after the first `skip` inferences, in order."""
    events, runs = [], 0
    for entry in sorted(trace, key=lambda entry: entry["ts"]):
        # The event of a whole run starts before those of its operators.
        runs += entry["name"] == "model_run"
        if entry["name"].endswith(KERNEL) and runs > skip:
            name = entry["name"].removesuffix(KERNEL)
            events.append(Event(name, entry["args"]["op_name"], entry["dur"] / 1000))
    return events
