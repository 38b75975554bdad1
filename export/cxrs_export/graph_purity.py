"""Refuses graphs that do more than arithmetic.

A TensorFlow graph is a program: its operations can read and write files, open connections, or call Python. Models
come from strangers, so only the operations listed here are let through, before TensorFlow sees the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cxrs_edge.errors import ModelError

VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
CODE = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
ARITHMETIC = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin AvgPool BatchMatMul BatchMatMulV2 BatchNormWithGlobalNormalization
    BatchToSpaceND BiasAdd BroadcastTo Cast Ceil ClipByValue Concat ConcatV2 Const Conv2D DepthToSpace
    DepthwiseConv2dNative Div DivNoNan Einsum Elu Equal Erf Exp ExpandDims Fill Floor FloorDiv FloorMod
    FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual Identity
    IdentityN LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool
    MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mul Neg NoOp NotEqual OnesLike Pack Pad PadV2 Placeholder Pow
    PreventGradient Prod Range Rank ReadVariableOp RealDiv Reciprocal RefIdentity Relu Relu6 Reshape
    ResizeBilinear ResizeNearestNeighbor ReverseV2 Rsqrt Select SelectV2 Selu Shape ShapeN Sigmoid Sign Size
    Slice Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference
    Squeeze StopGradient StridedSlice Sub Sum Tanh Tile TopKV2 Transpose Unpack Where ZerosLike
    """.split()  # noqa: SIM905
)
ALLOWED = ARITHMETIC | frozenset((*VARIABLES, *CALLS))


def require_arithmetic(nodes: Iterable[Any], library: Any, subject: str) -> None:
    """Raise `ModelError` naming the first operation, also inside of called functions, that isn't arithmetic.

    Parameters
    ----------
    nodes : `NodeDef`s that the output depends on.
    library : `FunctionDefLibrary` of their graph.
    subject : the file, for the message.
    """
    functions = {function.signature.name: function for function in library.function}
    for node in _with_called(nodes, functions, subject):
        if node.op in CODE:
            raise ModelError(
                f"{subject}: node {node.name} ({node.op}) calls Python code; a model file from a stranger "
                "must not, export the model without py_function"
            )
        if node.op not in ALLOWED:
            raise ModelError(
                f"{subject}: node {node.name} has the operation {node.op}, which isn't plain arithmetic on "
                "images; it is not run, export the model without it"
            )


def _with_called(nodes: Iterable[Any], functions: Mapping[str, Any], subject: str) -> Iterator[Any]:
    waiting, seen = list(nodes), set()
    while waiting:
        node = waiting.pop()
        yield node
        name = node.attr["f"].func.name if node.op in CALLS else None
        if name is None or name in seen:
            continue
        if name not in functions:
            raise ModelError(f"{subject}: node {node.name} calls {name!r}, which the file hasn't got")
        seen.add(name)
        waiting.extend(functions[name].node_def)
