"""Maps by the float Keras network, for comparison with those of its exported file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrs_bench.evidence.subject import Map, Subject
from cxrs_edge.errors import ModelError

if TYPE_CHECKING:
    import keras

CELL_LOGITS = "logits"
"""The layer whose values at a cell are the two levels' logits there, before pooling."""


def class_maps_of(path: Path) -> Callable[[Subject], Map]:
    """The decided level's cell logits: Grad-CAM of that level before its ReLU; see `cell_methods`."""
    import keras

    network = _load(path)
    maps = keras.Model(network.input, network.get_layer(CELL_LOGITS).output)

    def class_map(subject: Subject) -> Map:
        found: Map = np.asarray(maps(_batch(subject, network), training=False))[0, :, :, subject.level - 1]
        return found.astype(np.float64)

    return class_map


def evidence_of(path: Path) -> Callable[[Subject], Map]:
    """The evidence for the decided level by the float network."""
    return _evidence(_load(path))


def randomised(path: Path, seed: int) -> Callable[[Subject], Map]:
    """The same by the network with new random weights (Adebayo et al., NeurIPS 2018: sanity checks).

    Every kernel is drawn anew with the spread that it had; what normalizes (batch norms and their means) stays.
    """
    network = _load(path)
    generator = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        values = np.asarray(variable)
        if values.ndim > 1:
            variable.assign(generator.normal(0, values.std(), values.shape).astype(np.float32))
    return _evidence(network)


def _evidence(network: keras.Model) -> Callable[[Subject], Map]:
    def evidence(subject: Subject) -> Map:
        found: Any = network(_batch(subject, network), training=False)["evidence"]
        values: Map = np.asarray(found)[0].astype(np.float64)
        return values if subject.level == 2 else -values

    return evidence


def _batch(subject: Subject, network: keras.Model) -> Any:
    """What the network gets: channels are copies, and its exported file takes fewer of them."""
    return np.repeat(subject.examination.pixels[..., :1].astype(np.float32), network.input_shape[-1], axis=3)


def _load(path: Path) -> keras.Model:
    from cxrs_export.keras_file import load_model

    network, _ = load_model(path)
    if not isinstance(network.output, dict) or "evidence" not in network.output:
        raise ModelError(
            f"{path}: has no output evidence; expected the network that the file was exported from"
        )
    return network
