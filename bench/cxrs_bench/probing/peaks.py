"""Peaks of this machine, reached by the engines' own kernels: matrix products, and memory moved by an addition.

No formula of clock and vector width: what an engine's best kernel achieves here is the limit that its other kernels
can be measured by.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cxrs_bench.analyses import Bandwidth, Peak
from cxrs_bench.probing.apart import call_apart
from cxrs_bench.probing.synthetic import Gemm, Precision, add_onnx, add_tflite, gemm_onnx, gemm_tflite
from cxrs_edge.errors import EngineError
from cxrs_edge.extras import import_extra

GEMMS = (Gemm(32, 256), Gemm(32, 512), Gemm(64, 256), Gemm(32, 1024))
"""0.27 to 4.3 G MACs. Which shape suits a kernel best differs, so the best of them is the peak."""
ADDED_ELEMENTS = 8 * 1024 * 1024
"""Of each operand, float32: 96 MB are read and written, more than caches hold."""
REPEATS, SECONDS = 30, 2.0
"""Each is run so often, but not longer; the fastest counts, since other programs only ever slow it down."""

Run = Callable[[], object]


def measure_peak(engine: str, threads: int, precision: Precision) -> Peak:
    """The most MACs per second over `GEMMS`, in a fresh process; raises `EngineError`."""
    gmac_s, shape = call_apart(_best_gemm, engine, threads, precision)
    return Peak(engine, threads, precision, gmac_s, shape)


def measure_bandwidth(engine: str, threads: int) -> Bandwidth:
    """Bytes per second of an addition of two vectors (two reads and a write), in a fresh process."""
    seconds = call_apart(_add, engine, threads)
    return Bandwidth(engine, threads, 3 * 4 * ADDED_ELEMENTS / seconds / 1e9)


def _best_gemm(engine: str, threads: int, precision: Precision) -> tuple[float, str]:
    write = gemm_tflite if engine == "tflite" else gemm_onnx
    best = 0.0, ""
    for gemm in GEMMS:
        speed = gemm.macs / _fastest(write(gemm, precision), engine, threads) / 1e9
        best = max(best, (speed, f"{gemm.side**2} x {gemm.channels} by {gemm.channels} x {gemm.channels}"))
    return best


def _add(engine: str, threads: int) -> float:
    write = add_tflite if engine == "tflite" else add_onnx
    return _fastest(write(ADDED_ELEMENTS), engine, threads)


def _fastest(model: bytes, engine: str, threads: int) -> float:
    """Seconds of the fastest run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe"
        path.write_bytes(model)
        if engine not in OPENERS:
            raise EngineError(f"{engine}: can't be probed; expected {' or '.join(OPENERS)}")
        run = OPENERS[engine](path, threads)
        run()
        best, end = float("inf"), time.perf_counter() + SECONDS
        for _ in range(REPEATS):
            start = time.perf_counter()
            run()
            stop = time.perf_counter()
            best = min(best, stop - start)
            if stop > end:
                break
    return best


def _open_tflite(path: Path, threads: int) -> Run:
    module: Any = import_extra("ai_edge_litert.interpreter", "tflite")
    interpreter = module.Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    generator = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        values = generator.integers(0, 100, details["shape"]).astype(details["dtype"])
        interpreter.set_tensor(details["index"], values)
    run: Run = interpreter.invoke
    return run


def _open_onnx(path: Path, threads: int) -> Run:
    from cxrs_bench.probing.onnx_profiler import open_session

    session, feed = open_session(path, threads)
    return lambda: session.run(None, feed)


def _open_openvino(path: Path, threads: int) -> Run:
    from cxrs_bench.probing.openvino_profiler import open_request

    run: Run = open_request(path, threads).infer
    return run


OPENERS: dict[str, Callable[[Path, int], Run]] = {
    "tflite": _open_tflite,
    "onnx": _open_onnx,
    "openvino": _open_openvino,
}
"""Engine -> opens a model file with the settings that the engine always gets, its inputs filled."""
