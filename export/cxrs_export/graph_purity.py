"""Refuses graphs that do more than arithmetic.

A TensorFlow graph is a program: its operations can read and write files, open connections, or call Python. Models
come from strangers, so only the operations listed here are let through, before TensorFlow sees the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cxrs_edge.errors import ModelError
from cxrs_export.graph_inference import CALLS, called_functions

VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
CODE = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
ARITHMETIC = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin AvgPool BatchMatMul BatchMatMulV2
    BatchNormWithGlobalNormalization BatchToSpaceND BiasAdd BroadcastTo Cast Ceil ClipByValue Concat
    ConcatV2 Const Conv2D DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu Equal Erf Exp
    ExpandDims Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd
    GatherV2 Greater GreaterEqual Identity IdentityN LeakyRelu Less LessEqual Log Log1p LogicalAnd
    LogicalNot LogicalOr LogSoftmax MatMul Max Maximum MaxPool MaxPoolV2 Mean Min Minimum MirrorPad Mul Neg
    NoOp NotEqual OnesLike OptionalFromValue OptionalNone Pack Pad PadV2 Placeholder Pow PreventGradient
    Prod Range Rank ReadVariableOp RealDiv Reciprocal RefIdentity Relu Relu6 Reshape ResizeBilinear
    ResizeNearestNeighbor ReverseV2 Rsqrt Select SelectV2 Selu Shape ShapeN Sigmoid Sign Size Slice Softmax
    Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze
    StopGradient StridedSlice Sub Sum Tanh Tile TopKV2 Transpose Unpack Where ZerosLike
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
    outer = list(nodes)
    inner = (node for function in called_functions(outer, library) for node in function.node_def)
    for node in (*outer, *inner):
        if node.op in CODE:
            raise ModelError(
                f"{subject}: node {node.name} ({node.op}) calls Python code; a model from a stranger must not; "
                "export it without py_function"
            )
        if node.op not in ALLOWED:
            raise ModelError(
                f"{subject}: node {node.name} has the operation {node.op}, which isn't known as plain "
                "arithmetic; it is not run; export the model without it"
            )
