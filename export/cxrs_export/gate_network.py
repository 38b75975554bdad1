"""The gate's network in Keras: trained here, run in numpy by cxrs_edge.gate.network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.gate.network import Layer, class_logits, normalise
from cxrs_export.gate_samples import CLASSES, Material, draw_samples

Plane = NDArray[np.uint8]
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class GateRecipe:
    """How the network is made and trained.

    Attributes
    ----------
    side : pixels of the thumbnail.
    widths : channels of the strided convolutions.
    epochs, samples : rounds, and samples drawn anew for each of them.
    phantoms : that are drawn to make samples of.
    dropout : of the last feature map, while training.
    """

    side: int = 32
    widths: tuple[int, ...] = (16, 32, 48)
    epochs: int = 24
    samples: int = 14_000
    phantoms: int = 300
    batch: int = 128
    learning_rate: float = 2e-3
    dropout: float = 0.3
    seed: int = 0


def train_layers(material: Material, recipe: GateRecipe, report: Report, what: str) -> tuple[Layer, ...]:
    """Train from scratch; samples, initial weights and their order come from the recipe's seed."""
    import keras

    keras.utils.set_random_seed(recipe.seed)
    network = _build(recipe)
    rng = np.random.default_rng(recipe.seed)
    for epoch in range(recipe.epochs):
        report(what, epoch, recipe.epochs)
        thumbnails, labels = draw_samples(material, recipe.samples, recipe.side, rng)
        network.fit(normalise(thumbnails)[..., np.newaxis], labels, batch_size=recipe.batch, verbose=0)
    report(what, recipe.epochs, recipe.epochs)
    return _layers_of(network)


def rounded(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """As the file keeps them, in 16 bit."""
    return tuple(
        (kernel.astype(np.float16).astype(np.float32), bias.astype(np.float16).astype(np.float32))
        for kernel, bias in layers
    )


def all_logits(thumbnails: Sequence[Plane], layers: Sequence[Layer]) -> NDArray[np.float32]:
    """The device's own arithmetic: float32, images x classes."""
    return np.stack([class_logits(thumbnail, layers) for thumbnail in thumbnails])


def _build(recipe: GateRecipe) -> Any:
    import keras

    layers = keras.layers
    network = keras.Sequential([keras.Input((recipe.side, recipe.side, 1))])
    for width in recipe.widths:
        network.add(layers.Conv2D(width, 3, 2, "same", activation="relu"))
    network.add(layers.Flatten())
    network.add(layers.Dropout(recipe.dropout))
    network.add(layers.Dense(len(CLASSES)))
    steps = recipe.epochs * -(-recipe.samples // recipe.batch)
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return network


def _layers_of(network: Any) -> tuple[Layer, ...]:
    weighted = [layer.get_weights() for layer in network.layers if layer.get_weights()]
    return rounded([(np.asarray(kernel), np.asarray(bias)) for kernel, bias in weighted])
