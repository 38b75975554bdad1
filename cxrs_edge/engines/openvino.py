"""ONNX models on OpenVINO, on the CPU: the very file that ONNX Runtime runs, card and all."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import Any

import numpy as np

from cxrs_edge.engines import Outputs
from cxrs_edge.engines.compiled_cache import CompiledCache
from cxrs_edge.engines.contract import Shape, check_graph, check_pixels, engine_errors
from cxrs_edge.engines.preference import cpu_identity
from cxrs_edge.engines.registry import imported_version
from cxrs_edge.engines.telemetry import without_telemetry
from cxrs_edge.errors import ModelError
from cxrs_edge.extras import import_extra
from cxrs_edge.model_file import ModelFile
from cxrs_edge.prepare import Pixels

INPUT_TYPES = {"f32": np.float32, "u8": np.uint8}
SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",
    # Where the CPU has them, bfloat16 or float16 would replace float32, and answers depend on the machine.
    "INFERENCE_PRECISION_HINT": "f32",
    # Pinned threads of two processes meet on the same cores while the others idle.
    "ENABLE_CPU_PINNING": False,
}


class OpenvinoEngine:
    """`cxrs_edge.engines.Engine` on an OpenVINO inference request."""

    name = "openvino"

    def __init__(self, file: ModelFile, package: str, threads: int) -> None:
        with engine_errors(package, "imported"), without_telemetry():
            runtime: Any = import_extra(package, self.name)
        self.version = imported_version(package)
        self._file = file
        compiled = _open_compiled(runtime, file, {**SETTINGS, "INFERENCE_NUM_THREADS": threads})
        self._input_type = INPUT_TYPES[_require_type(file, compiled.input(), tuple(INPUT_TYPES))]
        with engine_errors(str(file.path), "loaded"):
            # No more than there are cores, whatever was asked for.
            self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
            self._request = compiled.create_infer_request()

    def infer(self, pixels: Pixels) -> Outputs:
        """See `cxrs_edge.engines.Engine`."""
        check_pixels(pixels, self._file.card.input)
        with engine_errors(str(self._file.path), "run"):
            values = self._request.infer([pixels.astype(self._input_type, copy=False)])
        return {name: values[name] for name in self._file.card.outputs}


def open_model(file: ModelFile, package: str, threads: int) -> OpenvinoEngine:
    """Load an ``.onnx`` file; raises `ModelError` or `EngineError`."""
    return OpenvinoEngine(file, package, threads)


def _open_compiled(runtime: Any, file: ModelFile, settings: dict[str, Any]) -> Any:
    """Compiled as last time, or anew, which takes three times as long."""
    with engine_errors(str(file.path), "loaded"):
        core = runtime.Core()
    cache = CompiledCache("openvino", _key(runtime, file, settings))
    content = cache.read()
    if content is not None:
        with suppress(Exception):  # whatever OpenVINO says of it: it is compiled anew
            compiled = core.import_model(content, "CPU", settings)
            _check(file, compiled)
            return compiled
    compiled = _compile(runtime, core, file, settings)
    exported = io.BytesIO()
    compiled.export_model(exported)
    cache.write(exported.getvalue())
    return compiled


def _compile(runtime: Any, core: Any, file: ModelFile, settings: dict[str, Any]) -> Any:
    with engine_errors(str(file.path), "loaded"):
        # Asked to find the format itself, every frontend has a try, and prints why it can't.
        frontend = runtime.frontend.FrontEndManager().load_by_framework("onnx")
        model = frontend.convert(frontend.load(str(file.path)))
    _check(file, model)
    with engine_errors(str(file.path), "loaded"):
        return core.compile_model(model, "CPU", settings)


def _key(runtime: Any, file: ModelFile, settings: dict[str, Any]) -> str:
    """All that a compiled model depends on."""
    limits = sorted(item for item in os.environ.items() if item[0].startswith(("ONEDNN_", "DNNL_", "OV_")))
    return repr((file.card.sha256, runtime.__version__, sorted(settings.items()), limits, cpu_identity()))


def _check(file: ModelFile, model: Any) -> None:
    """The graph's ports, compiled or not, against the card."""
    outputs = {name: port for port in model.outputs for name in sorted(port.get_names())}
    check_graph(file, _shapes({port.get_any_name(): port for port in model.inputs}), _shapes(outputs))
    _require_type(file, model.input(), tuple(INPUT_TYPES))
    for name in file.card.outputs:
        _require_type(file, outputs[name], ("f32",))


def _shapes(ports: dict[str, Any]) -> dict[str, Shape]:
    return {name: _shape(port.get_partial_shape()) for name, port in ports.items()}


def _shape(shape: Any) -> Shape:
    if shape.rank.is_dynamic:
        return ()
    return tuple(size.get_length() if size.is_static else None for size in shape)


def _require_type(file: ModelFile, port: Any, expected: tuple[str, ...]) -> str:
    found = str(port.get_element_type().get_type_name())
    if found not in expected:
        raise ModelError(
            f"{file.path}: tensor {port.get_any_name()}: {found}; expected {' or '.join(expected)}; "
            "export the model again"
        )
    return found
