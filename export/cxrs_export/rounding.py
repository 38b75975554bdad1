"""Kernels rounded to int8 for what they are multiplied with, and means of feature maps put right afterwards.

Layer by layer, a network whose feature maps and kernels are rounded follows the exact one. A 1x1 kernel's rounding
errors are made to cancel on the inputs that occur (Frantar et al., Optimal Brain Compression / GPTQ, 2022), and each
batch norm's beta takes back what rounding shifted a channel's mean by (Nagel et al., ICCV 2019, bias correction; here
measured). What comes out is a Keras model whose converted file loses nothing more when its weights are quantized.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrs_export.equalize import extremes, flat, is_relu
from cxrs_export.ranges import tie, typical_ranges
from cxrs_export.rewrites import find_stem

if TYPE_CHECKING:
    import keras

Floats = NDArray[np.float32]
STEPS = 127
"""Of an int8 weight's magnitude; a feature map behind a ReLU has 255, from 0."""
MAP_STEPS = 255
BATCH = 4
SAMPLES = 12_000
"""Places whose inputs a kernel is fitted to."""
MOST_TAPS = 2500
"""Of a kernel that is fitted, not rounded to the nearest step: the work grows with their cube."""
DAMPING = 0.01
"""Of the mean square of the inputs, added to each one's: keeps the fit solvable."""
CORRECTIONS = 4
MOST_CORRECTION = 0.1
"""Of a channel's standard deviation, at a time."""


def round_kernels(
    model: keras.Model,
    images: Sequence[NDArray[np.uint8]],
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> None:
    """Round the kernels of convolutions in place, and correct the batch norms behind them.

    `images` are uint8, 1 x H x W x C, of the representative data set; all are held as feature maps, so give it few.
    Per output channel, a kernel's largest weight stays, and with it the scale that a quantizer will choose.
    """
    import keras

    layers = keras.layers
    ranges = _map_ranges(model, images)
    batch = np.concatenate(images).astype(np.float32)
    stem = find_stem(model)
    exact, rounded = ({id(model.inputs[0]): batch} for _ in range(2))
    last = max(
        n for n, layer in enumerate(model.layers) if isinstance(layer, layers.Conv2D) or _has_range(layer)
    )
    path = model.layers[1 : last + 1]
    waiting = Counter(id(tensor) for layer in path for tensor in flat(layer.input))
    before_relu = {id(tensor) for layer in path if is_relu(layer) for tensor in flat(layer.input)}
    for number, layer in enumerate(path, 1):
        inputs, output = [id(tensor) for tensor in flat(layer.input)], id(layer.output)
        wanted = _apply(layer, [exact[key] for key in inputs])
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
            _round_kernel(layer, rounded[inputs[0]], equal=stem is not None and layer is stem.convolution)
        found = _apply(layer, [rounded[key] for key in inputs])
        if isinstance(layer, layers.BatchNormalization) and output in before_relu:
            found = correct_means(layer, wanted, found)
        if output in ranges:
            found = _round_map(found, ranges[output])
        exact[output], rounded[output] = wanted, found
        waiting.subtract(inputs)
        for key in inputs:
            if not waiting[key]:
                del exact[key], rounded[key]
        report("rounding kernels", number, len(path))


def _map_ranges(model: keras.Model, images: Sequence[NDArray[np.uint8]]) -> Mapping[int, float]:
    """Largest value of each ReLU's and addition's output, by its tensor's id, as int8 files will have it."""
    import keras

    tensors = {str(id(layer.output)): layer.output for layer in model.layers if _has_range(layer)}
    seen = (
        {name: (0.0, float(value.max())) for name, value in zip(tensors, values, strict=True)}
        for values in extremes(model, list(tensors.values()), images)
    )
    sums = (
        [str(id(tensor)) for tensor in [*flat(layer.input), layer.output]]
        for layer in model.layers
        if isinstance(layer, keras.layers.Add)
    )
    return {int(name): high for name, (_, high) in tie(typical_ranges(seen), sums).items()}


def _has_range(layer: Any) -> bool:
    import keras

    return is_relu(layer) or isinstance(layer, keras.layers.Add)


def _apply(layer: Any, inputs: Sequence[Floats]) -> Floats:
    """A layer's output, N x H x W x C, a few images at a time."""
    parts = []
    for start in range(0, len(inputs[0]), BATCH):
        some = [value[start : start + BATCH] for value in inputs]
        parts.append(np.asarray(layer(some if len(some) > 1 else some[0], training=False)))
    return np.concatenate(parts)


def _round_map(values: Floats, largest: float) -> Floats:
    step = np.float32(largest / MAP_STEPS)
    rounded: Floats = np.clip(np.round(values / step), 0, MAP_STEPS) * step
    return rounded


def _round_kernel(layer: Any, inputs: Floats, *, equal: bool) -> None:
    """Round a convolution's kernel.

    `equal` says that its input channels are, as `cxrs_export.rewrites` takes them: then only their taps' sums matter.
    """
    import keras

    kernel = np.asarray(layer.kernel)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        layer.kernel.assign(_nearest(kernel, axis=2))
        return
    channels = kernel.shape[2]
    if equal:
        kernel, inputs = kernel.sum(axis=2, keepdims=True), inputs[..., :1]
    if kernel[..., 0].size > MOST_TAPS:
        rounded = _nearest(kernel, axis=3)
    else:
        rounded = fit_kernel(kernel.reshape(-1, kernel.shape[3]), _patches(layer, inputs)).reshape(
            kernel.shape
        )
    layer.kernel.assign(np.repeat(rounded / channels, channels, axis=2) if equal else rounded)


def _patches(layer: Any, inputs: Floats) -> Floats:
    """What `layer`'s kernel is multiplied with at `SAMPLES` places, N x taps, alike often in every image."""
    import keras

    rng = np.random.default_rng(0)
    each = -(-SAMPLES // len(inputs))
    chosen = []
    for image in inputs:
        taken = keras.ops.image.extract_patches(
            image[np.newaxis], layer.kernel_size, strides=layer.strides[0], padding=layer.padding
        )
        rows = np.asarray(taken).reshape(-1, taken.shape[-1])
        chosen.append(rows[rng.permutation(len(rows))[:each]])
    return np.concatenate(chosen)


def _nearest(kernel: Floats, axis: int) -> Floats:
    others = tuple(n for n in range(kernel.ndim) if n != axis)
    step = np.maximum(np.abs(kernel).max(axis=others, keepdims=True) / STEPS, np.finfo(np.float32).tiny)
    rounded: Floats = np.round(kernel / step) * step
    return rounded


def fit_kernel(kernel: Floats, inputs: Floats) -> Floats:
    """Round a matrix, I x O, each column in `STEPS` of its largest weight, so that ``inputs @ it`` changes least.

    Row after row is rounded, and the rows that are left take over its error as far as `inputs`, N x I, allow.
    """
    weights, squares = kernel.astype(np.float64), inputs.astype(np.float64)
    squares = squares.T @ squares
    squares[np.diag_indices_from(squares)] += DAMPING * np.trace(squares) / len(squares) + 1e-12
    order = np.argsort(-np.diag(squares))
    weights, squares = weights[order], squares[np.ix_(order, order)]
    step = np.maximum(np.abs(weights).max(axis=0) / STEPS, np.finfo(np.float32).tiny)
    # A quantizer takes its scale from the largest weight: that one must keep its value.
    keeps = np.abs(weights).argmax(axis=0)
    kept = STEPS * np.sign(weights[keeps, np.arange(len(keeps))])
    factor = np.linalg.cholesky(np.linalg.inv(squares)).T
    rounded = np.zeros_like(weights)
    for row in range(len(weights)):
        steps = np.clip(np.round(weights[row] / step), -STEPS, STEPS)
        rounded[row] = np.where(keeps == row, kept, steps) * step
        error = (weights[row] - rounded[row]) / factor[row, row]
        weights[row:] -= np.outer(factor[row, row:], error)
    result = np.empty_like(rounded)
    result[order] = rounded
    return result.astype(np.float32)


def correct_means(norm: Any, wanted: Floats, found: Floats) -> Floats:
    """Shift `norm`'s channels until, behind the ReLU, the typical image's mean is what it was; returns the new map.

    `wanted` and `found`, N x H x W x C, are what the batch norm `norm` gives in the exact and in the rounded network.
    The median over images: where an odd film's brightest cells are cut off, the others must not pay for it.
    """
    spread = MOST_CORRECTION * wanted.std(axis=(0, 1, 2))
    for _ in range(CORRECTIONS):
        missing = np.maximum(wanted, 0).mean(axis=(1, 2)) - np.maximum(found, 0).mean(axis=(1, 2))
        active = np.maximum((found > 0).mean(axis=(0, 1, 2)), 0.05)
        shift = np.clip(np.median(missing, axis=0) / active, -spread, spread).astype(np.float32)
        norm.beta.assign(norm.beta + shift)
        found = found + shift
    return found
