"""A trained network -> the same function, faster: what every exported file is made of (docs/performance.md).

A chest X-ray is gray, so the three channels that networks of photographs take are equal, and a 7 x 7 stem with
stride 2 reads each pixel three times. Integer kernels moreover fill the channels of each tap up to 4 or 8: one costs
as much as three. Here the stem takes one channel, in blocks of 2 x 2 pixels that stand as four channels: 16 taps of 4
channels in place of 49 of 3. The scaling to 0..1 goes into its kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

BLOCK = 2
"""Pixels a side that become channels: the stride of the stem."""


class Stem(NamedTuple):
    """The layers from a network's image to its first convolution.

    Attributes
    ----------
    convolution : of stride 2.
    before : scaling and padding, which the rewritten stem does without.
    scale : what the pixel values are multiplied by.
    padding : zeros above, and to the left.
    """

    convolution: keras.layers.Conv2D
    before: tuple[keras.layers.Layer, ...]
    scale: float
    padding: tuple[int, int]


def for_inference(model: keras.Model) -> keras.Model:
    """The same function of gray images, with a faster stem; its other layers are those of `model`.

    Parameters
    ----------
    model : takes ``image``, float32, N x H x W x C, 0..255, whose channels are equal.

    Returns
    -------
    keras.Model from ``image``, N x H x W x 1, to the same outputs by the same names; `model` itself where its image
    doesn't go through scaling, padding and a convolution of stride 2.
    """
    import keras

    stem = find_stem(model)
    if stem is None:
        return model
    layers = blocks_stem(stem)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer in stem.before:
            return args[0]
        if layer is not stem.convolution:
            return layer(*args, **kwargs)
        x = args[0]
        for replacement in layers:
            x = replacement(x)
        return x

    height, width = model.input_shape[1:3]
    return keras.models.clone_model(
        model,
        input_tensors=keras.Input((height, width, 1), name=model.inputs[0].name),
        clone_function=lambda layer: layer,
        call_function=call,
    )


def find_stem(model: keras.Model) -> Stem | None:
    """The stem, or None where it is another than `for_inference` rewrites."""
    import keras

    *before, last = _chain(model) or [None]
    if not isinstance(last, keras.layers.Conv2D) or not _has_stride_2(last):
        return None
    if any(side is None or side % BLOCK for side in model.input_shape[1:3]):
        return None
    kernel, scale = last.kernel_size[0], 1.0
    # As "same" pads an even side: the odd row of zeros, if there is one, goes below.
    padding = ((kernel - BLOCK) // 2, (kernel - BLOCK + 1) // 2)
    paddings = (padding, padding) if last.padding == "same" else ((0, 0), (0, 0))
    for layer in before:
        if isinstance(layer, keras.layers.Rescaling) and np.ndim(layer.scale) == 0 and layer.offset == 0:
            scale *= float(layer.scale)
        elif isinstance(layer, keras.layers.ZeroPadding2D) and paddings == ((0, 0), (0, 0)):
            paddings = layer.padding
        else:
            return None
    # Half as many rows come out as go in: padded by one more than needed, the last row of zeros is never read.
    if any(sum(pair) not in (kernel - BLOCK, kernel - 1) for pair in paddings):
        return None
    return Stem(last, tuple(before), scale, (paddings[0][0], paddings[1][0]))


def blocks_stem(stem: Stem) -> list[keras.layers.Layer]:
    """Layers that do on N x H x W x 1 what the stem's do on equal channels."""
    import keras
    import tensorflow as tf

    old = stem.convolution
    weights = [variable.numpy() for variable in old.weights]
    kernel, margins = blocks_kernel(weights[0] * stem.scale, stem.padding)
    taps = kernel.shape[:2]
    same = all(margin == ((n - 1) // 2, n // 2) for margin, n in zip(margins, taps, strict=True))
    new = keras.layers.Conv2D(
        old.filters,
        taps,
        padding="same" if same else "valid",
        use_bias=old.use_bias,
        activation=old.activation,
        name=f"{old.name}_blocks",
    )
    new.build((None, None, None, BLOCK**2))
    new.set_weights([kernel, *weights[1:]])
    padding = [] if same else [keras.layers.ZeroPadding2D(margins, name=f"{old.name}_pad")]
    blocks = keras.layers.Lambda(tf.nn.space_to_depth, arguments={"block_size": BLOCK}, name="blocks")
    return [blocks, *padding, new]


def blocks_kernel(
    kernel: NDArray[np.float32], padding: tuple[int, int]
) -> tuple[NDArray[np.float32], tuple[tuple[int, int], tuple[int, int]]]:
    """The kernel over blocks of 2 x 2 pixels that does what `kernel` does on equal channels with stride 2.

    Parameters
    ----------
    kernel : height x width x channels x filters.
    padding : rows of zeros above the image and columns to its left.

    Returns
    -------
    Kernel, taps down x taps across x 4 x filters, and the blocks of zeros above and below, left and right.
    """
    # Row t of the kernel meets pixel 2 i + t - padding, which is in block i + (t - padding) // 2.
    steps = [np.arange(n) - pad for n, pad in zip(kernel.shape[:2], padding, strict=True)]
    (up, down), (left, right) = margins = [
        (int(-(step[0] // BLOCK)), int(step[-1] // BLOCK)) for step in steps
    ]
    made = np.zeros((up + down + 1, left + right + 1, BLOCK, BLOCK, kernel.shape[3]), np.float32)
    rows, columns = np.meshgrid(*steps, indexing="ij")
    places = rows // BLOCK + up, columns // BLOCK + left, rows % BLOCK, columns % BLOCK
    made[places] = kernel.sum(axis=2, dtype=np.float64)
    return made.reshape(*made.shape[:2], BLOCK**2, -1), (margins[0], margins[1])


def _chain(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that an image goes through one after the other, up to the first convolution or branch."""
    import keras

    # A sequential model can't be cloned with other layers in between.
    if isinstance(model, keras.Sequential) or len(model.inputs) != 1:
        return []
    tensor = model.inputs[0]
    chain: list[keras.layers.Layer] = []
    while not chain or not isinstance(chain[-1], keras.layers.Conv2D):
        following = [
            layer
            for layer in model.layers
            if not isinstance(layer, keras.layers.InputLayer) and layer.input is tensor
        ]
        if len(following) != 1:
            return []
        chain += following
        tensor = following[0].output
    return chain


def _has_stride_2(convolution: keras.layers.Conv2D) -> bool:
    """Whether it is one of a square kernel, undilated and ungrouped, with stride 2."""
    height, width = convolution.kernel_size
    return bool(
        convolution.strides == (BLOCK, BLOCK)
        and height == width > BLOCK
        and convolution.dilation_rate == (1, 1)
        and convolution.groups == 1
        and convolution.data_format == "channels_last"
    )
