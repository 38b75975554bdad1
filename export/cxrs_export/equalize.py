"""Cross-layer equalization: every channel of a feature map gets about the same range, and the network stays itself.

An int8 feature map has one scale for all its channels, so the widest channel decides how coarsely the others are
rounded. ReLU, addition and pooling let positive factors through: a channel is divided by its range where it is made
and multiplied by it where it is read (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
Correction, ICCV 2019; here by measured ranges, and across the sums of whole stages).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

Floats = NDArray[np.float32]
TYPICAL = 0.9
"""Quantile of the images' largest values that is called a channel's range: a letter on one film must not decide."""
SMALLEST = 0.05
"""Of the widest channel's range, what a channel that hardly ever fires counts as; its rare value must not be cut."""


@dataclass
class Group:
    """Feature maps that share their channels' factors.

    Attributes
    ----------
    tensors : of the Keras graph, the outputs of ReLUs, additions and pooling in it.
    makers : batch norms that its channels come from.
    readers : convolutions and dense layers that read it.
    """

    tensors: list[Any] = field(default_factory=list)
    makers: list[Any] = field(default_factory=list)
    readers: list[Any] = field(default_factory=list)


def equalize(model: keras.Model, images: Sequence[NDArray[np.uint8]]) -> None:
    """Change the weights in place so that channels of a feature map have alike ranges; the function stays the same.

    `images` are uint8, 1 x H x W x C. What can't be scaled (a batch norm or anything else that isn't homogeneous
    reads it) stays as it is.
    """
    groups = list(scalable_groups(model))
    ranges = channel_ranges(model, [tensor for group in groups for tensor in group.tensors], images)
    for group in groups:
        _rescale(group, _factors([ranges[id(tensor)] for tensor in group.tensors]))


def channel_ranges(
    model: keras.Model, tensors: Sequence[Any], images: Iterable[NDArray[np.uint8]]
) -> Mapping[int, Floats]:
    """By tensor's id, `TYPICAL` of the images' largest values of each channel, C."""
    if not tensors:
        return {}
    largest = [np.concatenate(values) for values in extremes(model, tensors, images)]
    bounds = np.cumsum([tensor.shape[-1] for tensor in tensors])[:-1]
    typical = np.quantile(np.array(largest), TYPICAL, axis=0).astype(np.float32)
    return dict(zip(map(id, tensors), np.split(typical, bounds), strict=True))


def extremes(
    model: keras.Model, tensors: Sequence[Any], images: Iterable[NDArray[np.uint8]]
) -> Iterator[list[Floats]]:
    """Image by image, the largest value of each channel of each tensor: arrays of C."""
    import keras

    if not tensors:
        return
    probe = keras.Model(model.input, [keras.ops.amax(tensor, axis=(1, 2)) for tensor in tensors])
    for image in images:
        yield [values[0] for values in flat(probe.predict_on_batch(image.astype(np.float32)))]


def scalable_groups(model: keras.Model) -> Iterator[Group]:
    """Find the groups of feature maps whose channels may be scaled without changing the network."""
    import keras

    layers = keras.layers
    parents: dict[int, int] = {}

    def root(key: int) -> int:
        while parents.setdefault(key, key) != key:
            key = parents[key]
        return key

    fixed = {id(tensor) for tensor in [*model.inputs, *flat(model.outputs)]}
    makers, readers, tensors = [], [], []
    for layer in model.layers:
        ins, outs = flat(getattr(layer, "input", [])), flat(layer.output)
        if _lets_factors_through(layer):
            first, *rest = [root(id(tensor)) for tensor in [*ins, *outs]]
            for other in rest:
                parents[root(other)] = first
            tensors += outs
            continue
        if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)):
            readers += [(id(tensor), layer) for tensor in ins]
        else:
            fixed |= {id(tensor) for tensor in ins}
        if isinstance(layer, layers.BatchNormalization) and layer.scale and layer.center:
            makers += [(id(tensor), layer) for tensor in outs]
        else:
            fixed |= {id(tensor) for tensor in outs}
    stays = {root(key) for key in fixed}
    groups: dict[int, Group] = defaultdict(Group)
    for tensor in tensors:
        groups[root(id(tensor))].tensors.append(tensor)
    for key, layer in makers:
        groups[root(key)].makers.append(layer)
    for key, layer in readers:
        groups[root(key)].readers.append(layer)
    yield from (group for key, group in groups.items() if key not in stays and group.tensors and group.makers)


def is_relu(layer: Any) -> bool:
    """Whether a layer is max(0, x), under either of the names that it has in Keras."""
    import keras

    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.threshold and not layer.negative_slope
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu


def _lets_factors_through(layer: Any) -> bool:
    import keras

    layers = keras.layers
    others = layers.Add, layers.MaxPooling2D, layers.Identity, layers.ZeroPadding2D
    return is_relu(layer) or isinstance(layer, others)


def _factors(ranges: Sequence[Floats]) -> Floats:
    """What each channel is divided by, C: the geometric mean of its ranges over the group's maps, each map's widest
    channel being 1."""
    shares = [np.maximum(r / max(float(r.max()), 1e-6), SMALLEST) for r in ranges]
    factors: Floats = np.exp(np.mean(np.log(shares), axis=0)).astype(np.float32)
    return factors


def _rescale(group: Group, factors: Floats) -> None:
    for layer in group.makers:
        layer.gamma.assign(layer.gamma / factors)
        layer.beta.assign(layer.beta / factors)
    for layer in group.readers:
        # Kernels are (height, width,) in, out: the input's channels are the axis before the last.
        layer.kernel.assign(layer.kernel * factors[:, None])


def flat(value: Any) -> list[Any]:
    """The tensors in what Keras has as a layer's input or output."""
    import keras

    return list(keras.tree.flatten(value))
