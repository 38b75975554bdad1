"""Count a .tflite file by reading its flatbuffer, with the schema that ai-edge-litert brings.

Nothing is run, so no delegate and no kernel is needed. Whatever follows the flatbuffer (the model
card) is not looked at. Only the main subgraph is counted: operators that call another (WHILE, IF)
are reported as unknown.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cxrs_bench.complexity.cost import Complexity, Form
from cxrs_bench.complexity.graph import Node, Shapes, Tensor
from cxrs_bench.complexity.tally import Rule, dense, form_of, tally
from cxrs_edge.errors import MissingDependency, ModelError

IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every .tflite file."""

# What flatbuffers raises, at random, for offsets that lead nowhere: it has no verifier in Python.
_BROKEN = (struct.error, AttributeError, IndexError, OverflowError, TypeError, ValueError)


def _conv(shapes: Shapes) -> int:
    """Weights are out x kernel x (in / groups), for every element of the output."""
    out, *per_output = shapes.weights
    if len(shapes.weights) != len(shapes.output) or out != shapes.output[-1]:
        raise ValueError
    return math.prod(shapes.output) * math.prod(per_output)


def _conv_form(shapes: Shapes) -> Form:
    *kernel, per_output = shapes.weights[1:]
    each_alone = per_output == 1 and shapes.output[-1] > 1 and shapes.data[-1] > 1
    return form_of(tuple(kernel), each_alone=each_alone)


def _depthwise_form(_: Shapes) -> Form:
    return "depthwise"


def _conv_3d_form(shapes: Shapes) -> Form:
    return form_of(shapes.weights[:3], each_alone=False)


def _depthwise(shapes: Shapes) -> int:
    """Weights are 1 x height x width x out."""
    _, height, width, _ = shapes.weights
    return math.prod(shapes.output) * height * width


def _conv_3d(shapes: Shapes) -> int:
    """Weights are depth x height x width x (in / groups) x out."""
    *per_output, _ = shapes.weights
    return math.prod(shapes.output) * math.prod(per_output)


def _transposed(shapes: Shapes) -> int:
    """Weights are out x height x width x in, for every position of the input."""
    out, height, width, _ = shapes.weights
    return math.prod(shapes.data) * out * height * width


def _dense(shapes: Shapes) -> int:
    """Weights are out x in."""
    _, inputs = shapes.weights
    return math.prod(shapes.output) * inputs


def _matmul(shapes: Shapes) -> int:
    """Transposed or not, the first factor holds output[-2] x summed elements."""
    return math.prod(shapes.output) * (shapes.data[-2] * shapes.data[-1] // shapes.output[-2])


_RULES = {
    "CONV_2D": Rule(data=0, weights=1, bias=2, macs=_conv, form=_conv_form),
    "DEPTHWISE_CONV_2D": Rule(data=0, weights=1, bias=2, macs=_depthwise, form=_depthwise_form),
    "CONV_3D": Rule(data=0, weights=1, bias=2, macs=_conv_3d, form=_conv_3d_form),
    "TRANSPOSE_CONV": Rule(data=2, weights=1, bias=3, macs=_transposed, form=_conv_form),
    "FULLY_CONNECTED": Rule(data=0, weights=1, bias=2, macs=_dense, form=dense),
    "BATCH_MATMUL": Rule(data=0, weights=1, bias=None, macs=_matmul, form=dense),
}

_FREE = frozenset(
    """
    ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CAST
    CEIL CONCATENATION DENSIFY DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FAKE_QUANT
    FILL FLOOR FLOOR_DIV GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION
    LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM
    MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 POW PRELU QUANTIZE RANGE
    REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT SELECT_V2 SHAPE SLICE SOFTMAX
    SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE
    STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE UNPACK WHERE ZEROS_LIKE
    """.split()  # noqa: SIM905
)
"""Operators without a counted MAC: element-wise, pooling, reduction and data movement."""

_BITS = {
    0: 32,
    1: 16,
    2: 32,
    3: 8,
    4: 64,
    6: 8,
    7: 16,
    9: 8,
    10: 64,
    12: 64,
    15: 32,
    16: 16,
    17: 4,
    18: 16,
    20: 4,
}
"""schema.fbs: TensorType -> bits of an element."""

_MOVERS = frozenset({"RESHAPE", "SPACE_TO_BATCH_ND"})
"""Operators that keep all elements, but may move them from the image's axes to the batch axis."""

_DECODERS = frozenset({"DEQUANTIZE", "DENSIFY", "CAST"})
"""Operators that keep a constant's elements: float16 and sparse weights come through these."""


def count_tflite(data: bytes, subject: str) -> Complexity:
    """Count the flatbuffer at the start of `data`.

    Raises
    ------
    ModelError : unreadable or truncated, an input with a batch other than 1 or a dynamic size, or a
        dynamic batch that the graph mixes with the image, as dilated convolutions do.
    MissingDependency : ai-edge-litert isn't installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        raise MissingDependency("ai_edge_litert", "tflite") from None
    try:
        model = schema.Model.GetRootAs(data)
        _check_buffers(model)
        graph = model.Subgraphs(0)
        tensors = [_read_tensor(model, graph.Tensors(i)) for i in range(graph.TensorsLength())]
        inputs = [tensors[i] for i in graph.InputsAsNumpy()]
        nodes = list(_read_nodes(model, graph, tensors, _operator_names(schema)))
    except _BROKEN as error:
        raise ModelError(
            f"{subject}: {len(data)} bytes that are not a readable .tflite file ({error}); "
            "expected a whole flatbuffer; copy or export it again"
        ) from None
    for tensor in inputs:
        _check_input(tensor, subject)
    for node in nodes:
        _check_batch_kept(node, subject)
    return tally(nodes, _RULES, _FREE, subject)


def _check_buffers(model: Any) -> None:
    """Touch the end of every constant, so that a truncated file is noticed."""
    for index in range(model.BuffersLength()):
        model.Buffers(index).DataAsNumpy()


def _read_tensor(model: Any, tensor: Any) -> Tensor:
    name = tensor.Name().decode("utf-8", "replace")
    shape = tuple(tensor.Shape(i) for i in range(tensor.ShapeLength()))
    signature = tuple(tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength()))
    if min(shape, default=0) < 0:
        raise ValueError(f"tensor {name!r} has shape {shape}")
    # A dynamic axis has length 1 in `shape` and -1 in the signature; batch 1 is what is counted.
    known = -1 not in signature[1:]
    stored = name if _is_stored(model, tensor) else None
    return Tensor(name, shape if known else None, stored, _BITS.get(tensor.Type(), 0))


def _is_stored(model: Any, tensor: Any) -> bool:
    if tensor.Buffer() >= model.BuffersLength():
        raise IndexError(f"buffer {tensor.Buffer()} of {model.BuffersLength()}")
    buffer = model.Buffers(tensor.Buffer())
    # Files beyond 2 GB keep constants outside the flatbuffer, by offset and size.
    return bool(buffer.DataLength() or buffer.Size())


def _operator_names(schema: Any) -> dict[int, str]:
    return {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def _read_nodes(model: Any, graph: Any, tensors: Sequence[Tensor], names: dict[int, str]) -> Iterator[Node]:
    decoded: dict[int, str | None] = {}
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        kind = _read_kind(model, operator.OpcodeIndex(), names)
        inputs = [operator.Inputs(i) for i in range(operator.InputsLength())]
        outputs = [operator.Outputs(i) for i in range(operator.OutputsLength())]
        if not outputs:
            continue
        operands = tuple(_operand(tensors, index, decoded) for index in inputs)
        if kind in _DECODERS and operands and operands[0] is not None:
            decoded[outputs[0]] = operands[0].constant
        output = tensors[outputs[0]]
        # Fusing joins the names of all that was fused by semicolons; the first tells which it is.
        yield Node(output.name.partition(";")[0], kind, operands, output)


def _read_kind(model: Any, index: int, names: dict[int, str]) -> str:
    if index >= model.OperatorCodesLength():
        raise IndexError(f"operator code {index} of {model.OperatorCodesLength()}")
    code = model.OperatorCodes(index)
    # Codes below 127 are in the old 8-bit field too, in old files only there.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if names.get(number) == "CUSTOM":
        return f"CUSTOM {code.CustomCode().decode('utf-8', 'replace')}"
    return names.get(number, f"builtin operator {number}")


def _operand(tensors: Sequence[Tensor], index: int, decoded: dict[int, str | None]) -> Tensor | None:
    """The tensor at `index`; -1 stands for an omitted optional input."""
    if index < 0:
        return None
    tensor = tensors[index]
    return replace(tensor, constant=decoded.get(index, tensor.constant))


def _check_input(tensor: Tensor, subject: str) -> None:
    if tensor.shape is None or tensor.shape[:1] not in ((), (1,)):
        got = "a dynamic size" if tensor.shape is None else f"shape {tensor.shape}"
        raise ModelError(
            f"{subject}: input {tensor.name!r} has {got}; "
            "expected one image of a fixed size (batch 1 or dynamic); export it so"
        )


def _check_batch_kept(node: Node, subject: str) -> None:
    """A dynamic batch axis is stored as length 1, even where pixels were moved into it."""
    data = node.inputs[0] if node.operator in _MOVERS and node.inputs else None
    if data is None or data.shape is None or node.output.shape is None:
        return
    if math.prod(node.output.shape) < math.prod(data.shape):
        raise ModelError(
            f"{subject}: {node.operator} {node.name!r} moves pixels into a dynamic batch; "
            "expected a model with a fixed batch of 1; export it so"
        )
