"""LiteRT's profiler, which its Python package does not offer.

The package brings the runtime's C library all the same (``libLiteRt.so``), with the profiler in it: a compiled model
made with ``enable_profiling`` tells of each operator inside the XNNPACK delegate, which the interpreter shows as one.
The C interface has no version that a caller could check, so this runs in a process of its own, and whatever goes
wrong in it (a function that is missing, a status other than 0, a crash) means that there is no profile.
"""

from __future__ import annotations

import ctypes
import re
import statistics
import time
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cxrs_bench.probing.events import Event, Profile
from cxrs_edge.errors import EngineError, MissingDependency

CPU = 1
"""litert_common.h: kLiteRtHwAcceleratorCpu."""
WRITE = 1
"""litert_tensor_buffer_types.h: kLiteRtTensorBufferLockModeWrite."""
ROW = re.compile(
    r"^\s*(?P<type>\S.*?)\s+(?P<start>[\d.]+)\s+(?P<first>[\d.]+)\s+(?P<mean>[\d.]+)\s+[\d.]+%\s+[\d.]+%\s+[\d.-]+\s+"
    r"(?P<times>\d+)\s+(?P<name>\S.*)$"
)
"""One line of the summary's table in run order: node type, times in ms, shares, memory, times called, name."""
NAME = re.compile(r"^\[(?:Delegate/)?(.*)\]:\d+$")
HEADING = re.compile(r"^=+ (.+?) =+$")


class _Library:
    """The C library; a call raises `EngineError` for a function that is missing or a status other than 0."""

    def __init__(self) -> None:
        package = find_spec("ai_edge_litert")
        if package is None or not package.submodule_search_locations:
            raise MissingDependency("ai_edge_litert", "tflite")
        path = Path(package.submodule_search_locations[0]) / "libLiteRt.so"
        try:
            self._functions = ctypes.CDLL(str(path))
        except OSError:
            raise EngineError(f"tflite: its package has no {path.name}, and so no profiler") from None

    def call(self, name: str, *arguments: object) -> None:
        try:
            status = self._functions[f"LiteRt{name}"](*arguments)
        except AttributeError:
            raise EngineError(f"tflite: its C library has no LiteRt{name}; so there is no profile") from None
        if status:
            raise EngineError(f"tflite: LiteRt{name} of its C library failed with status {status}")

    def make(self, name: str, *arguments: object) -> c_void_p:
        """The handle that a function returns by its last parameter."""
        handle = c_void_p()
        self.call(name, *arguments, byref(handle))
        if not handle:
            raise EngineError(f"tflite: LiteRt{name} of its C library gave nothing")
        return handle


def profile(path: Path, threads: int, inferences: int) -> Profile:
    """Mean over so many inferences after two that aren't counted."""
    library = _Library()
    environment = library.make("CreateEnvironment", 0, None)
    model = library.make("CreateModelFromFile", environment, str(path).encode())
    compiled = library.make("CreateCompiledModel", environment, model, _options(library, threads))
    run = _runner(library, environment, model, compiled)
    profiler = library.make("CompiledModelGetProfiler", compiled)
    for _ in range(2):
        run()
    library.call("StartProfiler", profiler)
    walls = []
    for _ in range(inferences):
        start = time.perf_counter()
        run()
        walls.append(1000 * (time.perf_counter() - start))
    library.call("StopProfiler", profiler)
    summary = c_char_p()
    library.call("GetProfileSummary", profiler, compiled, byref(summary))
    # Nothing is given back: the process ends here.
    return Profile(read_summary((summary.value or b"").decode("utf-8", "replace")), statistics.median(walls))


def read_summary(summary: str) -> tuple[Event, ...]:
    """Operators of the delegate, in run order, of the profiler's text; those that the delegate left to the
    interpreter are named as the file names them."""
    events, heading = [], ""
    for line in summary.splitlines():
        if title := HEADING.match(line.strip()):
            heading = title[1]
        row = ROW.match(line) if heading == "Run Order" else None
        if row and not row["type"].startswith("["):
            kind = row["type"].removeprefix("Delegate/")
            events.append(Event(NAME.sub(r"\1", row["name"]), kind, float(row["mean"])))
    return tuple(events)


def _options(library: _Library, threads: int) -> c_void_p:
    """Compilation options: on the CPU, with the profiler, and so many threads; TOML as of LiteRT 2.1."""
    options = library.make("CreateOptions")
    library.call("SetOptionsHardwareAccelerators", options, CPU)
    c_library = ctypes.CDLL(None)
    c_library.strdup.restype, c_library.strdup.argtypes = c_void_p, [c_char_p]
    free = ctypes.cast(c_library.free, c_void_p)
    for part, text in (
        ("runtime_options_string", "enable_profiling = true\n"),
        ("xnnpack", f"num_threads = {threads}\n"),
    ):
        payload = c_void_p(c_library.strdup(text.encode()))
        library.call(
            "AddOpaqueOptions", options, library.make("CreateOpaqueOptions", part.encode(), payload, free)
        )
    return options


def _runner(
    library: _Library, environment: c_void_p, model: c_void_p, compiled: c_void_p
) -> Callable[[], None]:
    signature = library.make("GetModelSignature", model, c_size_t(0))
    inputs, outputs = (
        _buffers(library, environment, signature, compiled, kind) for kind in ("Input", "Output")
    )
    for buffer in inputs:
        _fill(library, c_void_p(buffer))

    def run() -> None:
        library.call(
            "RunCompiledModel",
            compiled,
            c_size_t(0),
            c_size_t(len(inputs)),
            inputs,
            c_size_t(len(outputs)),
            outputs,
        )

    return run


def _buffers(
    library: _Library, environment: c_void_p, signature: c_void_p, compiled: c_void_p, kind: str
) -> ctypes.Array[c_void_p]:
    count = c_size_t()
    library.call(f"GetNumSignature{kind}s", signature, byref(count))
    handles = []
    for index in range(count.value):
        tensor = library.make(f"GetSignature{kind}TensorByIndex", signature, c_size_t(index))
        tensor_type = ctypes.create_string_buffer(256)  # larger than LiteRtRankedTensorType has ever been
        library.call("GetRankedTensorType", tensor, tensor_type)
        needs = library.make(
            f"GetCompiledModel{kind}BufferRequirements", compiled, c_size_t(0), c_size_t(index)
        )
        made = library.make("CreateManagedTensorBufferFromRequirements", environment, tensor_type, needs)
        handles.append(made.value)
    return (c_void_p * len(handles))(*handles)


def _fill(library: _Library, buffer: c_void_p) -> None:
    """Noise of 0..255 in float32 (or as bytes, which the files' other input type is)."""
    size, memory = c_size_t(), c_void_p()
    library.call("GetTensorBufferPackedSize", buffer, byref(size))
    library.call("LockTensorBuffer", buffer, byref(memory), c_int(WRITE))
    noise = np.random.default_rng(0).integers(0, 256, size.value // 4).astype(np.float32).tobytes()
    if memory.value is not None:
        ctypes.memmove(memory.value, noise, len(noise))
    library.call("UnlockTensorBuffer", buffer)
