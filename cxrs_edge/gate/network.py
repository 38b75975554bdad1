"""The gate's network in numpy: three strided convolutions and a dense layer on a thumbnail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Layer = tuple[Floats, Floats]
"""Kernel (3 x 3 x channels in x channels out, or features x classes) and bias."""

FLATTEST = 1.0
"""Gray levels: a standard deviation below it is not stretched further."""


def shrink(plane: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Means of blocks: uint8, side x side, of a square plane that is at least as large."""
    return np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BOX))


def normalise(thumbnail: NDArray[np.uint8]) -> Floats:
    """Mean 0 and standard deviation 1, so that exposure doesn't count; float32, ... x side x side."""
    values = thumbnail.astype(np.float32)
    values -= values.mean((-2, -1), keepdims=True)
    values /= np.maximum(values.std((-2, -1), keepdims=True), FLATTEST)
    return values


def class_logits(thumbnail: NDArray[np.uint8], layers: Sequence[Layer]) -> Floats:
    """One logit for each class, float32, of a thumbnail uint8, side x side; the last layer is the dense one."""
    maps = normalise(thumbnail)[:, :, np.newaxis]
    *convolutions, (weights, bias) = layers
    for kernel, offset in convolutions:
        maps = _convolve(maps, kernel, offset)
    logits: Floats = maps.ravel() @ weights + bias
    return logits


def _convolve(maps: Floats, kernel: Floats, bias: Floats) -> Floats:
    """3 x 3 with stride 2 and rectified; padded as TensorFlow's "same" pads an even side: below and right."""
    padded = np.pad(maps, ((0, 1), (0, 1), (0, 0)))
    windows = sliding_window_view(padded, (3, 3), axis=(0, 1))[::2, ::2]
    out: Floats = np.maximum(np.tensordot(windows, kernel, axes=((3, 4, 2), (0, 1, 2))) + bias, 0)
    return out
