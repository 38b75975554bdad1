"""A Keras model -> the same network with weights that lose little in int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxrs_export.equalize import equalize
from cxrs_export.heads import fit_heads
from cxrs_export.rounding import round_kernels

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

ROUNDED_ON = 16
"""Images that kernels are rounded on; all their feature maps are held, some gigabytes at 480 pixels."""


def int8_weights(
    model: keras.Model,
    representative: Sequence[NDArray[np.uint8]],
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> keras.Model:
    """Copy `model`; equalize its channels, round its kernels, correct the means and fit the heads.

    See docs/quantization.md. `representative` are uint8, 1 x H x W x C, or x 1 for a model that takes equal channels.
    The copy is for the int8 quantizers alone. A model that isn't made of Keras convolutions, such as an imported
    graph, is returned as it is.
    """
    import keras

    if not any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers):
        return model
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    shape = (1, *model.input_shape[1:])
    images = [np.broadcast_to(pixels, shape) for pixels in representative]
    equalize(copy, images)
    round_kernels(copy, images[:ROUNDED_ON], report)
    fit_heads(copy, images)
    return copy
