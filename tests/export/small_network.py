"""The real graph with few blocks and channels, and images that its features tell apart."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from cxrs_export import network
from cxrs_export.network import Widths, build_network

SIZE = 64
STAGE_BLOCKS = (2, 1, 1, 1)
Pixels = np.ndarray[Any, Any]


def smooth_images(count: int, seed: int) -> list[Pixels]:
    """Blotches over the whole range, each image of another mean: a bit like films, unlike white noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 1, (count, 5, 5, 1)) * rng.uniform(0.3, 1, (count, 1, 1, 1))
    fine = np.asarray(keras.ops.image.resize(coarse, (SIZE, SIZE), interpolation="bilinear"))
    return [np.repeat(image[np.newaxis], 3, axis=3) for image in np.rint(255 * fine).astype(np.uint8)]


def small_network() -> keras.Model:
    """The real graph with few blocks and channels, batch norms fitted to images and a head that tells them apart."""
    keras.utils.set_random_seed(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "STAGE_CHANNELS", (16, 32, 48, 64))
        patch.setattr(network, "STAGE_BLOCKS", STAGE_BLOCKS)
        made = build_network(size=SIZE, widths=Widths((8, 16, 24, 32), 1))
    images = np.concatenate(smooth_images(32, seed=1)).astype(np.float32)
    for _ in range(30):
        made(images, training=True)
    pooled = np.asarray(keras.Model(made.input, made.get_layer("gap").output)(images))
    # The head has no bias: across the mean feature margins are centred on 0. Of those directions the one in
    # which images differ most, as training would find: little is left of a random one after rounding.
    mean = pooled.mean(axis=0)
    across = pooled - np.outer(pooled @ mean, mean) / (mean @ mean)
    direction = np.linalg.svd(across, full_matrices=False)[2][0]
    direction *= 2 / (pooled @ direction).std()
    made.get_layer("logits").kernel.assign(np.stack([-direction / 2, direction / 2], axis=1))
    return made
