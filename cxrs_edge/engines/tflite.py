"""TensorFlow Lite models on LiteRT, or on the older packages that hold the same interpreter.

LiteRT writes "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." to stderr for the first model of
a process. Its Python packages have no setting for that (github google-ai-edge/LiteRT, issue 7420); the command
line filters it out (`cxrs_edge.native_stderr`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.engines import Outputs
from cxrs_edge.engines.contract import Shape, check_graph, check_pixels, engine_errors
from cxrs_edge.engines.registry import imported_version
from cxrs_edge.errors import ModelError
from cxrs_edge.extras import import_extra
from cxrs_edge.model_file import ModelFile
from cxrs_edge.prepare import Pixels

MODULES = {
    "ai_edge_litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow",
}
"""Package -> the module that has the interpreter, or for TensorFlow the lazy ``lite`` in which it is."""
TYPES = (np.float32, np.uint8, np.int8)
PLAIN = ((1.0, 0), (0.0, 0))
"""Scale and zero point of integers that stand for themselves; 0 is how the interpreter says none."""

Details = Mapping[str, Any]
"""What the interpreter tells of one tensor."""


class TfliteEngine:
    """`cxrs_edge.engines.Engine` on a TensorFlow Lite interpreter."""

    name = "tflite"

    def __init__(self, file: ModelFile, package: str, threads: int) -> None:
        with engine_errors(package, "imported"):
            module: Any = import_extra(MODULES[package], self.name)
            # `import tensorflow.lite` finds another folder than the attribute `lite`, without an interpreter.
            interpreter_class = (module.lite if package == "tensorflow" else module).Interpreter
        self.version = imported_version(package)
        self.threads = threads
        self._file = file
        with engine_errors(str(file.path), "loaded"):
            interpreter = interpreter_class(model_path=str(file.path), num_threads=threads)
            interpreter.allocate_tensors()
            inputs, outputs = _signature(interpreter, file)
            self._run = interpreter.get_signature_runner()
        check_graph(file, _shapes(inputs), _shapes(outputs))
        ((self._input_name, self._input),) = inputs.items()
        self._outputs = {name: outputs[name] for name in file.card.outputs}
        _check_types(file, inputs, unscaled=(np.float32, np.uint8))
        _check_types(file, self._outputs, unscaled=(np.float32,))

    def infer(self, pixels: Pixels) -> Outputs:
        """See `cxrs_edge.engines.Engine`."""
        check_pixels(pixels, self._file.card.input)
        with engine_errors(str(self._file.path), "run"):
            values = self._run(**{self._input_name: quantize(pixels, self._input)})
        return {name: dequantize(values[name], self._outputs[name]) for name in self._outputs}


def open_model(file: ModelFile, package: str, threads: int) -> TfliteEngine:
    """Load a ``.tflite`` file; `package` is a key of `MODULES`. Raises `ModelError`, `EngineError`."""
    return TfliteEngine(file, package, threads)


def quantize(pixels: Pixels, details: Details) -> NDArray[Any]:
    """Pixels 0..255 as the input tensor's type: float32 as they are, integers by its scale and zero point."""
    scale, zero_point = details["quantization"]
    if details["dtype"] == np.float32:
        return pixels.astype(np.float32)
    if details["dtype"] == np.uint8 and (scale, zero_point) in PLAIN:
        return pixels
    limits = np.iinfo(details["dtype"])
    values: NDArray[np.float64] = np.round(pixels / scale) + zero_point
    return values.clip(limits.min, limits.max).astype(details["dtype"])


def dequantize(values: NDArray[Any], details: Details) -> NDArray[np.float32]:
    """An output tensor as the real numbers it stands for."""
    numbers = values.astype(np.float32)
    if details["dtype"] == np.float32:
        return numbers
    scale, zero_point = details["quantization"]
    return (numbers - np.float32(zero_point)) * np.float32(scale)


def _signature(interpreter: Any, file: ModelFile) -> tuple[dict[str, Details], dict[str, Details]]:
    """Inputs and outputs by the names they were exported with; tensors' own names are the converter's."""
    if len(interpreter.get_signature_list()) != 1:
        raise ModelError(
            f"{file.path}: {len(interpreter.get_signature_list())} signatures; expected one, which names "
            "the outputs; export the model again"
        )
    runner = interpreter.get_signature_runner()
    return dict(runner.get_input_details()), dict(runner.get_output_details())


def _shapes(tensors: Mapping[str, Details]) -> dict[str, Shape]:
    return {
        name: tuple(None if size < 0 else int(size) for size in details["shape_signature"])
        for name, details in tensors.items()
    }


def _check_types(file: ModelFile, tensors: Mapping[str, Details], unscaled: tuple[type, ...]) -> None:
    for name, details in tensors.items():
        dtype, scale = details["dtype"], details["quantization"][0]
        if dtype not in (unscaled if scale == 0 else TYPES):
            raise ModelError(
                f"{file.path}: tensor {name}: {np.dtype(dtype)} of scale {scale:g}; expected "
                "float32, or uint8 or int8 with one scale; export the model again"
            )
