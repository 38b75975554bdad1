"""Heads that read an int8 network's last feature map as the float ones read the float network's.

They stay float and are linear in each cell (ADR 0014), so the best ones are those of a ridge regression towards the
weights that were trained: of a few thousand cells, each a sample, not of a few images.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from cxrs_export.convert import to_tflite
from cxrs_export.quantize import quantize_tflite
from cxrs_export.rewrites import for_inference

FloatArray = NDArray[np.float32]
RIDGE = 0.1
"""How much the trained weights count, in mean squares of a feature; 0.03 to 1 do about as well."""


def fit_heads(model: keras.Model, representative: Sequence[NDArray[np.uint8]]) -> None:
    """Change the heads of `model`, whose kernels are those of its int8 file, to make up for rounded feature maps.

    Parameters
    ----------
    model : with `Dense` heads on its last feature map; another one is left as it is.
    representative : uint8, 1 x H x W x C.
    """
    heads = _cell_heads(model)
    if not heads:
        return
    exact = keras.Model(model.input, heads[0].input)
    wanted = np.concatenate([np.asarray(exact(pixels.astype(np.float32))) for pixels in representative])
    rounded = _int8_features(model, wanted.shape[1:], representative)
    kernels = np.concatenate([np.asarray(head.kernel) for head in heads], axis=1)
    change = ridge(rounded.reshape(-1, len(kernels)), (wanted - rounded).reshape(-1, len(kernels)) @ kernels)
    ends = np.cumsum([head.kernel.shape[1] for head in heads])
    for head, part in zip(heads, np.split(change, ends[:-1], axis=1), strict=True):
        head.kernel.assign(head.kernel + part)


def ridge(inputs: FloatArray, targets: FloatArray) -> FloatArray:
    """The matrix W, features x answers, that makes ``inputs @ W`` near `targets`, and is small; a row a sample."""
    squares = inputs.astype(np.float64).T @ inputs
    strength = RIDGE * np.trace(squares) / len(squares)
    products = inputs.astype(np.float64).T @ targets
    found: FloatArray = np.linalg.solve(squares + strength * np.eye(len(squares)), products).astype(
        np.float32
    )
    return found


def _cell_heads(model: keras.Model) -> list[keras.layers.Dense]:
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return [layer for layer in dense if len(layer.input.shape) == 4]


def _int8_features(
    model: keras.Model, shape: tuple[int, ...], images: Sequence[NDArray[np.uint8]]
) -> FloatArray:
    """The last feature map, N x h x w x C, as the heads of the int8 file find it."""
    from ai_edge_litert.interpreter import Interpreter

    fast = for_inference(model)
    images = [pixels[..., : fast.input_shape[-1]] for pixels in images]
    file = quantize_tflite(to_tflite(fast), images)
    interpreter = Interpreter(model_content=file, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    (place,) = (
        tensor["index"]
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] is np.float32 and tuple(tensor["shape"]) == (1, *shape)
    )
    maps = []
    for pixels in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels.astype(np.float32))
        interpreter.invoke()
        maps.append(interpreter.get_tensor(place)[0].copy())
    return np.stack(maps)
