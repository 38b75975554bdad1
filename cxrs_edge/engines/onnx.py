"""ONNX models on ONNX Runtime, on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrs_edge.engines import Outputs
from cxrs_edge.engines.contract import Shape, check_graph, check_pixels, engine_errors
from cxrs_edge.engines.preference import has_vnni
from cxrs_edge.engines.telemetry import without_telemetry
from cxrs_edge.errors import ModelError
from cxrs_edge.extras import import_extra
from cxrs_edge.model_file import ModelFile
from cxrs_edge.prepare import Pixels

FATAL = 4
"""Severity below which nothing is printed: errors are raised all the same."""
INPUT_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


class OnnxEngine:
    """`cxrs_edge.engines.Engine` on an ONNX Runtime session."""

    name = "onnx"

    def __init__(self, file: ModelFile, package: str, threads: int) -> None:
        with engine_errors(package, "imported"), without_telemetry():
            runtime: Any = import_extra(package, self.name)
        self.version = str(runtime.__version__)
        self.threads = threads
        self._file = file
        self._names = list(file.card.outputs)
        with engine_errors(str(file.path), "loaded"):
            # Its fallback, from the CPU to the CPU, only prints, and on stdout.
            self._session = runtime.InferenceSession(
                str(file.path),
                session_options(runtime, threads),
                providers=["CPUExecutionProvider"],
                enable_fallback=False,
            )
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_graph(file, _shapes(inputs), _shapes(outputs))
        for value in inputs:
            _check_type(file, value, tuple(INPUT_TYPES))
        for value in outputs:
            if value.name in self._names:
                _check_type(file, value, ("tensor(float)",))
        self._input_name, self._input_type = inputs[0].name, INPUT_TYPES[inputs[0].type]

    def infer(self, pixels: Pixels) -> Outputs:
        """See `cxrs_edge.engines.Engine`."""
        check_pixels(pixels, self._file.card.input)
        feed = {self._input_name: pixels.astype(self._input_type, copy=False)}
        with engine_errors(str(self._file.path), "run"):
            values = self._session.run(self._names, feed)
        return dict(zip(self._names, values, strict=True))


def open_model(file: ModelFile, package: str, threads: int) -> OnnxEngine:
    """Load an ``.onnx`` file; raises `ModelError` or `EngineError`."""
    return OnnxEngine(file, package, threads)


def session_options(runtime: Any, threads: int) -> Any:
    """The `SessionOptions` that every model is run with."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    # The network is one chain of layers: there is nothing to run side by side.
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    # Else its threads go on spinning after an inference, on the core that decodes the next image.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not has_vnni():
        # x86 kernels then add two products in 16 bits and saturate (docs/adr/0005): no wrong sums for speed.
        # With VNNI sums are exact, and this would take all convolutions through slower kernels.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _shapes(values: Any) -> dict[str, Shape]:
    return {
        value.name: tuple(size if isinstance(size, int) else None for size in value.shape) for value in values
    }


def _check_type(file: ModelFile, value: Any, expected: tuple[str, ...]) -> None:
    if value.type not in expected:
        raise ModelError(
            f"{file.path}: tensor {value.name}: {value.type}; expected {' or '.join(expected)}; "
            "export the model again"
        )
