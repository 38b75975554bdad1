"""OpenVINO's performance counters."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrs_bench.probing.events import Event, Profile
from cxrs_edge.engines.openvino import INPUT_TYPES, SETTINGS
from cxrs_edge.engines.telemetry import without_telemetry
from cxrs_edge.extras import import_extra


def open_request(path: Path, threads: int, *, count: bool = False) -> Any:
    """An inference request with the settings of `cxrs_edge.engines.openvino`, its inputs filled with noise."""
    with without_telemetry():
        runtime: Any = import_extra("openvino", "openvino")
    frontend = runtime.frontend.FrontEndManager().load_by_framework("onnx")
    model = frontend.convert(frontend.load(str(path)))
    settings = {**SETTINGS, "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": count}
    request = runtime.Core().compile_model(model, "CPU", settings).create_infer_request()
    generator = np.random.default_rng(0)
    for port in model.inputs:
        dtype = INPUT_TYPES[port.get_element_type().get_type_name()]
        values = generator.integers(0, 256, list(port.get_partial_shape().get_min_shape())).astype(dtype)
        request.get_tensor(port).data[:] = values
    return request


def profile(path: Path, threads: int, inferences: int) -> Profile:
    """Mean over so many inferences after one that isn't counted."""
    request = open_request(path, threads, count=True)
    request.infer()
    first = _read(request)
    walls = []
    for _ in range(inferences):
        start = time.perf_counter()
        request.infer()
        walls.append(1000 * (time.perf_counter() - start))
    return Profile(without_first(first, _read(request), inferences), statistics.median(walls))


def without_first(
    first: Sequence[Event], all_together: Sequence[Event], inferences: int
) -> tuple[Event, ...]:
    """Mean of the later inferences, of what the plugin tells: the mean since the model was compiled.

    Parameters
    ----------
    first : events after one inference.
    all_together : the same after 1 + `inferences`.
    """
    before = {(event.name, event.operator): event.ms for event in first}
    return tuple(
        replace(
            event,
            ms=max(0.0, event.ms * (inferences + 1) - before.get((event.name, event.operator), event.ms))
            / inferences,
        )
        for event in all_together
    )


def _read(request: Any) -> tuple[Event, ...]:
    return tuple(
        Event(info.node_name, f"{info.node_type} {info.exec_type}", info.real_time.total_seconds() * 1000)
        for info in request.get_profiling_info()
        if info.status.name == "EXECUTED"
    )
