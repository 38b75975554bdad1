"""A Keras model -> the same network with weights that lose little in int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cxrs_export.equalize import equalize
from cxrs_export.rounding import round_kernels

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

ROUNDED_ON = 24
"""Images that kernels are rounded on; all their feature maps are held, some gigabytes at 480 pixels."""


def int8_weights(
    model: keras.Model,
    representative: Sequence[NDArray[np.uint8]],
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> keras.Model:
    """Copy `model`, equalize its channels, round its kernels and correct the means (docs/quantization.md).

    `representative` are uint8, 1 x H x W x C. The copy is for the int8 quantizers alone. A model that isn't made of
    Keras convolutions, such as an imported graph, is returned as it is.
    """
    import keras

    if not any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers):
        return model
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    equalize(copy, representative)
    round_kernels(copy, representative[:ROUNDED_ON], report)
    return copy
