"""Model files that do one thing: multiply matrices, or move memory. Made on the fly, in both formats.

The multiplication is a chain of 1x1 convolutions with as many output as input channels, which every engine computes
as a matrix product (GEMM) of pixels x channels by channels x channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.extras import import_extra

if TYPE_CHECKING:
    import onnx

Precision = Literal["int8", "float32"]
LAYERS = 4
"""Convolutions in a chain: input and output, which the program hands over, weigh little beside them."""
SCALE = 1 / 64
"""Quantization step of everything; the values don't matter, as long as they don't overflow."""
OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True)
class Gemm:
    """A chain of `LAYERS` 1x1 convolutions on side x side pixels."""

    side: int
    channels: int

    @property
    def macs(self) -> int:
        """Of the whole chain."""
        return LAYERS * self.side**2 * self.channels**2


def gemm_onnx(gemm: Gemm, precision: Precision) -> bytes:
    """A model of `gemm` for ONNX engines; int8 is QDQ with uint8 activations, as the exported files are."""
    onnx: Any = import_extra("onnx", "bench")
    make, element = (
        onnx.helper.make_node,
        onnx.TensorProto.UINT8 if precision == "int8" else onnx.TensorProto.FLOAT,
    )
    nodes, name = [], "x0"
    stored: dict[str, Any] = {"s": np.float32(SCALE), "z": np.uint8(128), "zw": np.int8(0)}
    for layer in range(LAYERS):
        weights, out = _weights(gemm, precision, layer), f"x{layer + 1}"
        stored[f"w{layer}"] = weights.reshape(gemm.channels, gemm.channels, 1, 1)
        if precision == "float32":
            nodes.append(make("Conv", [name, f"w{layer}"], [out]))
        else:
            nodes += [
                make("DequantizeLinear", [name, "s", "z"], [f"d{layer}"]),
                make("DequantizeLinear", [f"w{layer}", "s", "zw"], [f"dw{layer}"]),
                make("Conv", [f"d{layer}", f"dw{layer}"], [f"c{layer}"]),
                make("QuantizeLinear", [f"c{layer}", "s", "z"], [out]),
            ]
        name = out
    shape = [1, gemm.channels, gemm.side, gemm.side]
    return _onnx_model(onnx, nodes, stored, {"x0": shape}, {name: shape}, element)


def add_onnx(elements: int) -> bytes:
    """A model that adds two float32 vectors."""
    onnx: Any = import_extra("onnx", "bench")
    shape = [1, elements]
    nodes = [onnx.helper.make_node("Add", ["a", "b"], ["sum"])]
    return _onnx_model(onnx, nodes, {}, {"a": shape, "b": shape}, {"sum": shape}, onnx.TensorProto.FLOAT)


def gemm_tflite(gemm: Gemm, precision: Precision) -> bytes:
    """A model of `gemm` for TFLite engines; int8 has weights per channel, as the exported files have."""
    graph = _TfliteGraph(precision)
    shape = (1, gemm.side, gemm.side, gemm.channels)
    last = first = graph.tensor("x0", shape)
    for layer in range(LAYERS):
        weights = _weights(gemm, precision, layer).reshape(gemm.channels, 1, 1, gemm.channels)
        operands = [
            last,
            graph.tensor(f"w{layer}", weights.shape, weights),
            graph.bias(f"b{layer}", gemm.channels),
        ]
        last = graph.tensor(f"x{layer + 1}", shape)
        graph.convolution(operands, last)
    return graph.to_bytes([first], [last])


def add_tflite(elements: int) -> bytes:
    """A model that adds two float32 vectors."""
    graph = _TfliteGraph("float32")
    first, second, total = (graph.tensor(name, (1, elements)) for name in ("a", "b", "sum"))
    graph.addition([first, second], total)
    return graph.to_bytes([first, second], [total])


def _weights(gemm: Gemm, precision: Precision, layer: int) -> NDArray[Any]:
    values = np.random.default_rng(layer).integers(-8, 9, (gemm.channels, gemm.channels))
    return values.astype(np.int8) if precision == "int8" else (values * SCALE).astype(np.float32)


def _onnx_model(
    onnx: Any,
    nodes: list[onnx.NodeProto],
    stored: dict[str, Any],
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    element: int,
) -> bytes:
    used = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "probe",
        *(
            [onnx.helper.make_tensor_value_info(n, element, s) for n, s in ports.items()]
            for ports in (inputs, outputs)
        ),
        [
            onnx.numpy_helper.from_array(np.asarray(value), name)
            for name, value in stored.items()
            if name in used
        ],
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model: bytes = onnx.helper.make_model(
        graph, opset_imports=opset, ir_version=IR_VERSION
    ).SerializeToString()
    return model


class _TfliteGraph:
    """A flatbuffer under construction, through the object interface of its schema."""

    def __init__(self, precision: Precision) -> None:
        self._schema: Any = import_extra("ai_edge_litert.schema_py_generated", "tflite")
        self._precision = precision
        self._model, self._graph = self._schema.ModelT(), self._schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.version, self._model.subgraphs = 3, [self._graph]
        self._model.operatorCodes, self._model.buffers = [], [self._schema.BufferT()]

    def tensor(self, name: str, shape: tuple[int, ...], values: NDArray[Any] | None = None) -> int:
        """Add a tensor of the graph's precision; with `values` a constant. Returns its index."""
        kind = self._schema.TensorType.INT8 if self._precision == "int8" else self._schema.TensorType.FLOAT32
        # Constants are weights here: one scale for each output channel.
        scales = [SCALE] * (shape[0] if values is not None else 1)
        return self._add(name, shape, kind, scales, values)

    def bias(self, name: str, channels: int) -> int:
        """Add a bias of zeros: int32 beside int8 weights."""
        if self._precision == "float32":
            return self.tensor(name, (channels,), np.zeros(channels, np.float32))
        zeros = np.zeros(channels, np.int32)
        return self._add(name, (channels,), self._schema.TensorType.INT32, [SCALE * SCALE] * channels, zeros)

    def convolution(self, operands: list[int], output: int) -> None:
        options = self._schema.Conv2DOptionsT()
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        self._operator("CONV_2D", "Conv2DOptions", options, operands, output)

    def addition(self, operands: list[int], output: int) -> None:
        self._operator("ADD", "AddOptions", self._schema.AddOptionsT(), operands, output)

    def to_bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        flatbuffers: Any = import_extra("flatbuffers", "bench")
        self._graph.inputs, self._graph.outputs = inputs, outputs
        self._model.signatureDefs = [self._signature(inputs, outputs)]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _signature(self, inputs: list[int], outputs: list[int]) -> Any:
        signature = self._schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs, signature.outputs = map(self._names, (inputs, outputs))
        return signature

    def _names(self, tensors: list[int]) -> list[Any]:
        named = []
        for index in tensors:
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = self._graph.tensors[index].name, index
            named.append(entry)
        return named

    def _add(
        self, name: str, shape: tuple[int, ...], kind: int, scales: list[float], values: NDArray[Any] | None
    ) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), kind
        if self._precision == "int8":
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scales, [0] * len(scales)
        if values is not None:
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, builtin: str, kind: str, options: Any, operands: list[int], output: int) -> None:
        code, operator = self._schema.OperatorCodeT(), self._schema.OperatorT()
        code.builtinCode = getattr(self._schema.BuiltinOperator, builtin)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 3 if self._precision == "int8" else 1
        self._model.operatorCodes.append(code)
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = operands, [output]
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
        operator.builtinOptions = options
        self._graph.operators.append(operator)
