"""Count a Keras model on its graph, before any conversion.

It shares only the dataclasses with the counts of exported files, so that one checks the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cxrs_bench.complexity import Complexity, OperatorCost
from cxrs_edge.errors import ModelError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class _Counter:
    """Each element of these kernels is used once per position of the output, or of the input."""

    kernels: tuple[str, ...] = ("kernel",)
    at_input: bool = False


_PLAIN = _Counter()
_TRANSPOSED = _Counter(at_input=True)
_SEPARABLE = _Counter(kernels=("depthwise_kernel", "pointwise_kernel"))

_COUNTERS = {
    "Conv1D": _PLAIN,
    "Conv2D": _PLAIN,
    "Conv3D": _PLAIN,
    "DepthwiseConv1D": _PLAIN,
    "DepthwiseConv2D": _PLAIN,
    "Conv1DTranspose": _TRANSPOSED,
    "Conv2DTranspose": _TRANSPOSED,
    "Conv3DTranspose": _TRANSPOSED,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "Dense": _PLAIN,
}

_FREE = frozenset(
    """
    Activation ActivityRegularization Add AlphaDropout Average AveragePooling1D AveragePooling2D
    AveragePooling3D BatchNormalization CenterCrop Concatenate Cropping1D Cropping2D Cropping3D
    Dropout ELU Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization Identity InputLayer LayerNormalization LeakyReLU MaxPooling1D MaxPooling2D
    MaxPooling3D Maximum Minimum Multiply Normalization PReLU Permute ReLU RMSNormalization
    RepeatVector Rescaling Reshape Resizing Softmax SpatialDropout1D SpatialDropout2D
    SpatialDropout3D Subtract UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
    ZeroPadding2D ZeroPadding3D
    """.split()  # noqa: SIM905
)
"""Layers without a counted MAC: element-wise, pooling, normalization and data movement."""


def count_keras(model: keras.Model) -> Complexity:
    """Count a functional or sequential Keras model for one image, as `Complexity` defines it.

    A layer that is called twice costs its MACs twice and its parameters once; models inside the
    model are entered. Layers are told by their exact class, so a subclass of a known layer is
    reported as unknown.

    Returns
    -------
    Complexity whose `parameters` are the trainable ones of the model as it stands, so unfreeze it first.

    Raises
    ------
    ModelError : the model has no graph (a subclassed or unbuilt one), or an input size that isn't
        fixed.
    """
    calls = list(_walk(model, ""))
    seen: set[int] = set()
    rows = tuple(_cost(call, seen) for call in calls if call.kind in _COUNTERS)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return Complexity(
        parameters=trainable,
        macs=sum(row.macs for row in rows),
        rows=rows,
        other_parameters=model.count_params() - trainable,
        unknown=tuple(
            dict.fromkeys(call.kind for call in calls if call.kind not in _COUNTERS.keys() | _FREE)
        ),
    )


@dataclass(frozen=True)
class _Call:
    """One call of a layer or Keras operation in the graph."""

    name: str
    kind: str
    layer: Any
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]


def _walk(model: keras.Model, prefix: str) -> Iterator[_Call]:
    """Calls in graph order.

    The nodes are private in Keras 3, yet the only record of layers called twice.
    """
    import keras

    graph = getattr(model, "_functional", None) or model
    for node in _graph_nodes(graph, prefix + model.name):
        layer, name = node.operation, prefix + node.operation.name
        if isinstance(layer, keras.Model):
            _check_same_shapes(node, layer, name)
            yield from _walk(layer, f"{name}/")
        elif not node.is_input:
            input_shape, output_shape = node.input_tensors[0].shape, node.output_tensors[0].shape
            yield _Call(name, _kind(layer), layer, input_shape, output_shape)


def _graph_nodes(graph: Any, name: str) -> list[Any]:
    depths = getattr(graph, "_nodes_by_depth", None)
    if depths is None:
        raise ModelError(
            f"{name}: a {type(graph).__name__} without a graph; "
            "expected a functional or a built sequential model; call it on a keras.Input first"
        )
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth]]


def _check_same_shapes(node: Any, model: keras.Model, name: str) -> None:
    """A nested model's own graph stands for the call only if it was called with its own shapes."""
    got = [tensor.shape[1:] for tensor in node.input_tensors]
    expected = [tensor.shape[1:] for tensor in model.inputs]
    if got != expected:
        raise ModelError(
            f"{name}: called with {got}; expected its own shapes, {expected}; build it for those"
        )


def _kind(layer: Any) -> str:
    """The class name, with its module unless Keras's own: another Conv2D may cost anything."""
    cls = type(layer)
    return cls.__name__ if cls.__module__.startswith("keras.") else f"{cls.__module__}.{cls.__name__}"


def _cost(call: _Call, seen: set[int]) -> OperatorCost:
    counter = _COUNTERS[call.kind]
    positions = math.prod(_positions(call, call.input_shape if counter.at_input else call.output_shape))
    elements = sum(math.prod(getattr(call.layer, kernel).shape) for kernel in counter.kernels)
    parameters = 0 if id(call.layer) in seen else elements
    seen.add(id(call.layer))
    output_shape = (1, *_known(call, call.output_shape[1:]))
    return OperatorCost(call.name, call.kind, positions * elements, parameters, output_shape)


def _positions(call: _Call, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """The axes between batch and channels."""
    channels_first = getattr(call.layer, "data_format", None) == "channels_first"
    return _known(call, shape[2:] if channels_first else shape[1:-1])


def _known(call: _Call, extents: tuple[int | None, ...]) -> tuple[int, ...]:
    known = tuple(extent for extent in extents if extent is not None)
    if len(known) != len(extents):
        raise ModelError(
            f"{call.name}: {call.kind} has the shape {call.output_shape}; "
            "expected fixed sizes; build the model with a fixed input size"
        )
    return known
