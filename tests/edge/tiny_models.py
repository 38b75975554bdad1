"""Tiny models whose answers can be computed by hand.

One averages the pixels and puts softmax([+slope, -slope] * mean / 255) on it, so level 2's probability is
1 / (1 + exp(2 * slope * mean / 255)). It is built node by node, because the converters are no part of the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cxrs_edge.card import Calibration, ModelCard
from cxrs_edge.prepare import InputSpec

SIZE = 32
SLOPE = 1.5


@dataclass(frozen=True)
class TinyGraph:
    """What a tiny model's graph really is, whatever its card says; no `input_scale` is no quantization."""

    size: int = SIZE
    channels: int = 3
    input_type: str = "uint8"
    input_scale: float | None = 1.0
    input_zero: int = 0
    output_type: str = "float32"
    output_scale: float = 1 / 256
    output_zero: int = 0
    output_name: str = "probabilities"
    classes: int = 2
    signature: bool = True
    slope: float = SLOPE

    @property
    def weights(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """classes x channels: +slope for the first class, -slope for the others."""
        signs = np.array([1.0] + [-1.0] * (self.classes - 1))
        return np.repeat(signs[:, np.newaxis], self.channels, 1).astype(np.float32) * np.float32(
            self.slope / 255 / self.channels
        )


@dataclass(frozen=True)
class TinyCard:
    """What a tiny model's card says."""

    size: int = SIZE
    channels: int = 3
    outputs: dict[str, str] = field(default_factory=lambda: {"probabilities": "of the two levels"})
    labels: tuple[str, ...] = ("level1", "level2")
    temperature: float = 1.0
    name: str = "tiny"

    def card(self) -> ModelCard:
        return ModelCard(
            name=self.name,
            version="1.2",
            network="mean of the pixels",
            precision="float32",
            input=InputSpec(size=self.size, channels=self.channels, crop_top=0.0),
            outputs=self.outputs,
            labels=self.labels,
            licence="CC0-1.0",
            intended_use="tests",
            base_bytes=0,
            sha256="",
            calibration=Calibration(temperature=self.temperature),
        )


def tiny_onnx(graph: TinyGraph) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    types = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8}
    types["float64"] = TensorProto.DOUBLE
    shape = [1, graph.size, graph.size, graph.channels]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["soft"], axis=-1),
        helper.make_node("Cast", ["soft"], [graph.output_name], to=types[graph.output_type]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        numpy_helper.from_array(graph.weights, "weights"),
    ]
    inputs = [helper.make_tensor_value_info("image", types[graph.input_type], shape)]
    outputs = [helper.make_tensor_value_info(graph.output_name, types[graph.output_type], [1, graph.classes])]
    made = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


def tiny_tflite(graph: TinyGraph) -> bytes:
    import flatbuffers

    model = _TfliteBuilder().build(graph)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _TfliteBuilder:
    """The few nodes of a tiny model in the object API of the TensorFlow Lite schema."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.s: Any = schema
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.sub = schema.SubGraphT()
        self.sub.tensors, self.sub.operators = [], []

    def build(self, graph: TinyGraph) -> Any:
        s = self.s
        shape = [1, graph.size, graph.size, graph.channels]
        image = pixels = self.tensor("image", shape, graph.input_type)
        if graph.input_scale is None:
            pixels = self.tensor("pixels", shape)
            self.node(s.BuiltinOperator.CAST, [image], pixels)
        elif graph.input_type != "float32":
            self.quantize(image, graph.input_scale, graph.input_zero)
            pixels = self.tensor("pixels", shape)
            self.node(s.BuiltinOperator.DEQUANTIZE, [image], pixels)
        mean = self.tensor("mean", [1, graph.channels])
        axes = self.tensor("axes", [2], "int32", np.array([1, 2], np.int32))
        self.node(s.BuiltinOperator.MEAN, [pixels, axes], mean, "ReducerOptions")
        weights = self.tensor("w", list(graph.weights.shape), "float32", graph.weights)
        logits = self.tensor("logits", [1, graph.classes])
        full = s.BuiltinOperator.FULLY_CONNECTED
        self.node(full, [mean, weights, -1], logits, "FullyConnectedOptions")
        out = soft = self.tensor("soft", [1, graph.classes])
        self.node(s.BuiltinOperator.SOFTMAX, [logits], soft, "SoftmaxOptions", beta=1.0)
        if graph.output_type != "float32":
            out = self.tensor("out", [1, graph.classes], graph.output_type)
            self.quantize(out, graph.output_scale, graph.output_zero)
            self.node(s.BuiltinOperator.QUANTIZE, [soft], out)
        self.sub.inputs, self.sub.outputs = [image], [out]
        self.model.subgraphs = [self.sub]
        if graph.signature:
            self.model.signatureDefs = [self.signature(image, out, graph.output_name)]
        return self.model

    def tensor(
        self,
        name: str,
        shape: list[int],
        dtype: str = "float32",
        values: np.ndarray[Any, Any] | None = None,
    ) -> int:
        made = self.s.TensorT()
        made.name, made.shape, made.buffer = name, shape, 0
        made.type = getattr(self.s.TensorType, dtype.upper())
        if values is not None:
            buffer = self.s.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.sub.tensors.append(made)
        return len(self.sub.tensors) - 1

    def quantize(self, tensor: int, scale: float, zero: int) -> None:
        made = self.s.QuantizationParametersT()
        made.scale, made.zeroPoint = [scale], [zero]
        self.sub.tensors[tensor].quantization = made

    def node(self, code: int, inputs: list[int], output: int, options: str = "", **values: Any) -> None:
        operator_code = self.s.OperatorCodeT()
        operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
        # DEQUANTIZE reads int8 from its second version on.
        operator_code.version = 2 if code == self.s.BuiltinOperator.DEQUANTIZE else 1
        self.model.operatorCodes.append(operator_code)
        made = self.s.OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes) - 1
        made.inputs, made.outputs = inputs, [output]
        if options:
            made.builtinOptionsType = getattr(self.s.BuiltinOptions, options)
            made.builtinOptions = getattr(self.s, f"{options}T")()
            for key, value in values.items():
                setattr(made.builtinOptions, key, value)
        self.sub.operators.append(made)

    def signature(self, image: int, out: int, output_name: str) -> Any:
        made = self.s.SignatureDefT()
        made.signatureKey, made.subgraphIndex = "serving_default", 0
        made.inputs, made.outputs = [self.named("image", image)], [self.named(output_name, out)]
        return made

    def named(self, name: str, tensor: int) -> Any:
        made = self.s.TensorMapT()
        made.name, made.tensorIndex = name, tensor
        return made
