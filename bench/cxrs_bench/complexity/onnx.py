"""Count an .onnx file by its shapes, inferred by the onnx package for one image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cxrs_bench.complexity.cost import Complexity, Form
from cxrs_bench.complexity.graph import Node, Shape, Shapes, Tensor
from cxrs_bench.complexity.tally import Rule, dense, form_of, tally
from cxrs_edge.errors import MissingDependency, ModelError

if TYPE_CHECKING:
    import onnx


def _conv(shapes: Shapes) -> int:
    """Weights are out x (in / groups) x kernel, for every element of the output."""
    out, *per_output = shapes.weights
    if len(shapes.weights) != len(shapes.output) or out != shapes.output[1]:
        raise ValueError
    return math.prod(shapes.output) * math.prod(per_output)


def _conv_form(shapes: Shapes) -> Form:
    per_output, *kernel = shapes.weights[1:]
    return form_of(tuple(kernel), each_alone=per_output == 1 and len(kernel) > 0 and shapes.output[1] > 1)


def _transposed_form(shapes: Shapes) -> Form:
    return form_of(shapes.weights[2:], each_alone=False)


def _transposed(shapes: Shapes) -> int:
    """Weights are in x (out / groups) x kernel, for every position of the input."""
    _, *per_input = shapes.weights
    return math.prod(shapes.data) * math.prod(per_input)


def _gemm(shapes: Shapes) -> int:
    """The first factor holds rows x summed elements, transposed or not."""
    rows, _ = shapes.output
    return math.prod(shapes.output) * (math.prod(shapes.data) // rows)


def _matmul(shapes: Shapes) -> int:
    return math.prod(shapes.output) * shapes.data[-1]


_RULES = {
    "Conv": Rule(data=0, weights=1, bias=2, macs=_conv, form=_conv_form),
    "ConvInteger": Rule(data=0, weights=1, bias=None, macs=_conv, form=_conv_form),
    "QLinearConv": Rule(data=0, weights=3, bias=8, macs=_conv, form=_conv_form),
    "ConvTranspose": Rule(data=0, weights=1, bias=2, macs=_transposed, form=_transposed_form),
    "Gemm": Rule(data=0, weights=1, bias=2, macs=_gemm, form=dense),
    "MatMul": Rule(data=0, weights=1, bias=None, macs=_matmul, form=dense),
    "MatMulInteger": Rule(data=0, weights=1, bias=None, macs=_matmul, form=dense),
    "QLinearMatMul": Rule(data=0, weights=3, bias=None, macs=_matmul, form=dense),
}

_FREE = frozenset(
    """
    Abs Add ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant
    ConstantOfShape DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf
    Exp Expand Flatten Floor Gather Gelu GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    HardSigmoid HardSwish Identity LeakyRelu Less LessOrEqual Log LogSoftmax Max MaxPool Min Mul Neg
    Not Or And PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceMax ReduceMean ReduceMin
    ReduceSum Relu Reshape Resize Round Selu Shape Sigmoid Slice Softmax Softplus SpaceToDepth Split
    Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where
    """.split()  # noqa: SIM905
)
"""Operators without a counted MAC: element-wise, pooling, reduction and data movement."""

_CARRIERS = frozenset(
    {"Cast", "DequantizeLinear", "Identity", "QuantizeLinear"}
    | {"Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators that keep a constant's elements: quantized weights come through these."""

_BITS = {
    1: 32,
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    9: 8,
    10: 16,
    11: 64,
    12: 32,
    13: 64,
    16: 16,
    21: 4,
    22: 4,
}
"""onnx.proto: TensorProto.DataType -> bits of an element."""

_DEFAULT_DOMAINS = ("", "ai.onnx")


def count_onnx(data: bytes, subject: str) -> Complexity:
    """Count the ONNX model in `data`; weights in external files need not be there.

    Raises
    ------
    ModelError : not a whole ONNX model, contradictory or unknown shapes, or an input with a batch
        other than 1.
    MissingDependency : onnx isn't installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingDependency("onnx", "bench") from None
    model = _decode(data, subject)
    _set_batch(model.graph, subject)
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{subject}: the shapes of its tensors can't be inferred ({_first_line(error)}); "
            "expected a valid ONNX model; export it again"
        ) from None
    return tally(_read_nodes(model.graph), _RULES, _FREE, subject)


def _decode(data: bytes, subject: str) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
        reason = "no graph or no operator set"
    except DecodeError as error:
        model, reason = onnx.ModelProto(), _first_line(error)
    # Protobuf takes many a truncated file, even an empty one, for a message without some of its
    # fields.
    if not (model.ir_version and model.opset_import and model.graph.node):
        raise ModelError(
            f"{subject}: {len(data)} bytes that are no .tflite and no .onnx file ({reason}); "
            "expected a whole model file; copy or export it again"
        )
    return model


def _set_batch(graph: onnx.GraphProto, subject: str) -> None:
    """Make a dynamic batch 1, the leading axis of every input."""
    stored = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in stored or not dims:
            continue
        if not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
        if dims[0].dim_value != 1:
            raise ModelError(
                f"{subject}: input {value.name!r} has batch {dims[0].dim_value}; "
                "expected batch 1 or dynamic; export it so"
            )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _read_nodes(graph: onnx.GraphProto) -> Iterator[Node]:
    shapes, bits = _read_shapes(graph), _read_bits(graph)
    stored = {tensor.name: tensor.name for tensor in graph.initializer}
    for node in graph.node:
        operator = node.op_type if node.domain in _DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"
        if not node.output:
            continue
        if operator == "Constant":
            stored[node.output[0]] = node.output[0]
        elif operator in _CARRIERS and node.input and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
        operands = tuple(
            Tensor(name, shapes.get(name), stored.get(name), bits.get(name, 0)) if name else None
            for name in node.input
        )
        output = Tensor(node.output[0], shapes.get(node.output[0]), None, bits.get(node.output[0], 0))
        yield Node(node.name or node.output[0], operator, operands, output)


def _read_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Fully known shapes by tensor."""
    shapes: dict[str, Shape] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
    return {name: shape for name, shape in shapes.items() if min(shape, default=0) >= 0}


def _read_bits(graph: onnx.GraphProto) -> dict[str, int]:
    """Bits of one element, by tensor, where its type is known and has a fixed size."""
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: _BITS.get(kind, 0) for name, kind in types.items()}
