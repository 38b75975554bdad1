"""Engines that report their use to their makers, kept from it: an X-ray's computer must not call anybody.

ONNX Runtime from 1.29 on uploads events, among them names and hashes of models, from its import on, and keeps
an identifier below ``~/.cache`` (its Privacy.md). OpenVINO's Python package sends an event when it is imported,
and keeps an identifier in ``~/intel``; on ARM each process leaves a ``/tmp/perf-PID.map`` for profilers (a default of
oneDNN). LiteRT does none of this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cxrs_edge.extras import without_modules

ONNXRUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"
ONEDNN_PROFILING = "ONEDNN_JIT_PROFILE"
OPENVINO_SENDER = "openvino_telemetry"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import an engine inside of this, and it creates no identifier and sends nothing.

    The switches stay set, because the libraries read them when they like; profiling that somebody asked for stays on.
    OpenVINO is told that its optional sender isn't installed, which it copes with; the host program may import it
    later all the same.
    """
    os.environ[ONNXRUNTIME_SWITCH] = "1"
    os.environ.setdefault(ONEDNN_PROFILING, "0")
    with without_modules(OPENVINO_SENDER):
        yield
