"""Tiny models whose answers can be computed by hand.

One averages the pixels and puts softmax([+slope, -slope] * mean / 255) on it, so level 2's probability is
1 / (1 + exp(2 * slope * mean / 255)). It is built node by node, because the converters are no part of the runtime.

Asked for, it has more outputs, of m = mean / 255: `zones` are logistic(ZONE_SLOPES * m), `extents` are
EXTENT_SLOPES * m, and `evidence` is -2 * slope * m of each square of `cell` pixels, divided by their number, so that
it adds up to the logit margin, level 2 minus level 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cxrs_edge.card import Calibration, DecisionRule, ModelCard
from cxrs_edge.prepare import InputSpec

SIZE = 32
SLOPE = 1.5
ZONE_SLOPES = (-8.0, -4.0, -2.0, 0.5, 3.0, 6.0)
EXTENT_SLOPES = (8.0, 2.0)
INT8_OUTPUTS = {"zones": (1 / 256, -128), "extents": (8 / 255, -128), "evidence": (3 / 255, 127)}
"""Scale and zero point."""
ALL_OUTPUTS = {name: f"the {name}" for name in ("probabilities", "zones", "extents", "evidence")}
FULL: dict[str, dict[str, Any]] = {
    "graph": {"size": 64, "more": True},
    "card": {"size": 64, "outputs": ALL_OUTPUTS},
}
"""Options of `write_model` for a tiny model with every output."""


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
    more: bool = False
    zone_slopes: tuple[float, ...] = ZONE_SLOPES
    extent_slopes: tuple[float, ...] = EXTENT_SLOPES
    cell: int = 32

    @property
    def weights(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """classes x channels: +slope for the first class, -slope for the others."""
        return self.weigh(np.array([1.0] + [-1.0] * (self.classes - 1)) * self.slope)

    def weigh(self, slopes: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        """len(slopes) x channels: what turns the channels' means into slopes * mean / 255."""
        rows = np.repeat(np.asarray(slopes, np.float64)[:, np.newaxis], self.channels, 1)
        return (rows / 255 / self.channels).astype(np.float32)

    @property
    def squares(self) -> tuple[int, ...]:
        """The pixels' shape with each square of `cell` x `cell` x channels in the axes 2, 4 and 5."""
        cells = self.size // self.cell
        return (1, cells, self.cell, cells, self.cell, self.channels)

    @property
    def more_shapes(self) -> dict[str, list[int]]:
        """Of the outputs that there may be more."""
        cells = self.size // self.cell
        return {
            "zones": [1, len(self.zone_slopes)],
            "extents": [1, len(self.extent_slopes)],
            "evidence": [1, cells, cells],
        }

    @property
    def evidence_scale(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """What turns the mean of a square into its evidence; one number."""
        return np.array([-2 * self.slope / 255 / (self.size // self.cell) ** 2], np.float32)


@dataclass(frozen=True)
class TinyCard:
    """What a tiny model's card says."""

    size: int = SIZE
    channels: int = 3
    outputs: dict[str, str] = field(default_factory=lambda: {"probabilities": "of the two levels"})
    labels: tuple[str, ...] = ("level1", "level2")
    temperature: float = 1.0
    name: str = "tiny"
    decision: DecisionRule | None = None
    gate: str = "none"

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
            decision=self.decision,
            # What the tests of other stops grade is no chest.
            gate=self.gate,
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
    if graph.more:
        nodes += _more_nodes()
        constants += [
            numpy_helper.from_array(values, name) for name, values in _more_constants(graph).items()
        ]
        outputs += [
            helper.make_tensor_value_info(n, types["float32"], s) for n, s in graph.more_shapes.items()
        ]
    made = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


def _more_nodes() -> list[Any]:
    from onnx import helper

    return [
        helper.make_node("Gemm", ["mean", "zone_weights"], ["zone_logits"], transB=1),
        helper.make_node("Sigmoid", ["zone_logits"], ["zones"]),
        helper.make_node("Gemm", ["mean", "extent_weights"], ["extents"], transB=1),
        helper.make_node("Reshape", ["pixels", "squares"], ["in_squares"]),
        helper.make_node("ReduceMean", ["in_squares", "square_axes"], ["square_means"], keepdims=0),
        helper.make_node("Mul", ["square_means", "evidence_scale"], ["evidence"]),
    ]


def _more_constants(graph: TinyGraph) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "zone_weights": graph.weigh(graph.zone_slopes),
        "extent_weights": graph.weigh(graph.extent_slopes),
        "squares": np.array(graph.squares, np.int64),
        "square_axes": np.array([2, 4, 5], np.int64),
        "evidence_scale": graph.evidence_scale,
    }


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
        logits = self.dense(mean, "w", graph.weights)
        out = soft = self.tensor("soft", [1, graph.classes])
        self.node(s.BuiltinOperator.SOFTMAX, [logits], soft, "SoftmaxOptions", beta=1.0)
        if graph.output_type != "float32":
            out = self.tensor("out", [1, graph.classes], graph.output_type)
            self.quantize(out, graph.output_scale, graph.output_zero)
            self.node(s.BuiltinOperator.QUANTIZE, [soft], out)
        outs = {graph.output_name: out} | (self.more(graph, mean, pixels) if graph.more else {})
        self.sub.inputs, self.sub.outputs = [image], list(outs.values())
        self.model.subgraphs = [self.sub]
        if graph.signature:
            self.model.signatureDefs = [self.signature(image, outs)]
        return self.model

    def more(self, graph: TinyGraph, mean: int, pixels: int) -> dict[str, int]:
        code, shapes = self.s.BuiltinOperator, graph.more_shapes
        zones = self.tensor("logistic", shapes["zones"])
        means, evidence = (self.tensor(name, shapes["evidence"]) for name in ("square_means", "scaled"))
        self.node(code.LOGISTIC, [self.dense(mean, "zone_w", graph.weigh(graph.zone_slopes))], zones)
        extents = self.dense(mean, "extent_w", graph.weigh(graph.extent_slopes))
        squares = self.tensor("squares", list(graph.squares))
        shape = self.tensor("squares_shape", [6], "int32", np.array(graph.squares, np.int32))
        self.node(code.RESHAPE, [pixels, shape], squares)
        axes = self.tensor("square_axes", [3], "int32", np.array([2, 4, 5], np.int32))
        self.node(code.MEAN, [squares, axes], means, "ReducerOptions")
        scale = self.tensor("evidence_scale", [1], "float32", graph.evidence_scale)
        self.node(code.MUL, [means, scale], evidence, "MulOptions")
        found = {"zones": zones, "extents": extents, "evidence": evidence}
        return {name: self.in_int8(graph, name, tensor) for name, tensor in found.items()}

    def dense(self, mean: int, name: str, weights: np.ndarray[Any, Any]) -> int:
        out = self.tensor(f"{name}_out", [1, len(weights)])
        inputs = [mean, self.tensor(name, list(weights.shape), "float32", weights), -1]
        self.node(self.s.BuiltinOperator.FULLY_CONNECTED, inputs, out, "FullyConnectedOptions")
        return out

    def in_int8(self, graph: TinyGraph, name: str, tensor: int) -> int:
        """Each output in int8 with a scale and a zero point of its own, if the first one is."""
        if graph.output_type != "int8":
            return tensor
        out = self.tensor(f"{name}_out", list(self.sub.tensors[tensor].shape), "int8")
        self.quantize(out, *INT8_OUTPUTS[name])
        self.node(self.s.BuiltinOperator.QUANTIZE, [tensor], out)
        return out

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

    def signature(self, image: int, outs: dict[str, int]) -> Any:
        made = self.s.SignatureDefT()
        made.signatureKey, made.subgraphIndex = "serving_default", 0
        made.inputs = [self.named("image", image)]
        # Not in the order of the tensors: only the names say which is which.
        made.outputs = [self.named(name, tensor) for name, tensor in reversed(outs.items())]
        return made

    def named(self, name: str, tensor: int) -> Any:
        made = self.s.TensorMapT()
        made.name, made.tensorIndex = name, tensor
        return made
