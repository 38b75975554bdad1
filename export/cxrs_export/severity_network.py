"""The network with all that it tells of an X-ray: level, six zones, two extents and the evidence for the level.

Every head is linear in the last feature map, so that each answer can be traced to places (ADR 0014). Importing this
module registers its layers with Keras, which a file of such a network needs to be read.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from cxrs_bench.readings import LARGEST_EXTENT
from cxrs_export.backbones import NetworkName, build_backbone

OPACITY = 1
"""Which of the two zone maps is opacity; the other is lung."""
FIRST_CENTRES = ((0.32, 0.30), (0.52, 0.27), (0.72, 0.25))
"""Down and across, shares of the side: about where the right lung's zones lie in a film."""
FIRST_SPREAD = 0.15


@keras.saving.register_keras_serializable(package="cxrs")
class ZonePooling(keras.layers.Layer):  # type: ignore[misc]
    """Read six zones off two maps: where the lung is (its logarithm) and how much opacity there is.

    A zone's logit is the mean of the opacity map, weighted by the lung map and by a bell curve around the zone's
    place. Places are shares of the side, so that they hold at any resolution; the left lung's mirror the right's.
    Maps float32, N x h x w x 2 in; N x 6 out.
    """

    def build(self, input_shape: Any) -> None:
        first = keras.initializers.Constant
        self.centres = self.add_weight(shape=(3, 2), name="centres", initializer=first(FIRST_CENTRES))
        self.log_spreads = self.add_weight(
            shape=(3, 2), name="log_spreads", initializer=first(float(np.log(FIRST_SPREAD)))
        )
        rows, columns = input_shape[1:3]
        down, across = np.meshgrid(_middles(rows), _middles(columns), indexing="ij")
        self.places = np.stack([down, across], axis=-1).reshape(1, -1, 2).astype(np.float32)

    def call(self, maps: Any) -> Any:
        cells = ops.reshape(maps, (-1, self.places.shape[1], 2))
        lung, opacity = ops.split(cells, 2, axis=-1)
        weights = ops.softmax(lung + self._bells(), axis=1)
        return ops.sum(weights * opacity, axis=1)

    def _bells(self) -> Any:
        """Logarithm of each zone's bell curve, 1 x cells x 6."""
        mirrored = ops.concatenate([self.centres[:, :1], 1 - self.centres[:, 1:]], axis=1)
        centres = ops.concatenate([self.centres, mirrored], axis=0)
        spreads = ops.exp(ops.concatenate([self.log_spreads, self.log_spreads], axis=0))
        # One axis after the other: TensorFlow 2.21's TFLite converter folds a sum over both into wrong numbers.
        down, across = (
            ops.square(
                (self.places[:, :, axis, None] - centres[None, None, :, axis]) / spreads[None, None, :, axis]
            )
            for axis in (0, 1)
        )
        return -0.5 * (down + across)


@keras.saving.register_keras_serializable(package="cxrs")
class Evidence(keras.layers.Layer):  # type: ignore[misc]
    """What each cell adds to the margin of level 2 over level 1; N x h x w x 2 in, N x h x w out."""

    def call(self, cell_logits: Any) -> Any:
        cells = cell_logits.shape[1] * cell_logits.shape[2]
        return (cell_logits[..., 1] - cell_logits[..., 0]) / cells


def build_severity_network(
    *, size: int = 480, channels: int = 3, network: NetworkName = "cxrs"
) -> keras.Model:
    """Build COVID-Net CXR-S, or another network, with the heads of `cxrs_export.network.OUTPUTS`; random weights.

    The level is told as by `cxrs_export.network.build_network`; pooling and the dense layer have changed places
    (both are linear), so that the dense layer's values at each cell are the evidence.

    Returns
    -------
    keras.Model from ``image`` (float32, N x size x size x channels, 0..255) to the dict of those outputs, float32:
    N x 2, N x 6, N x 2, N x size/32 x size/32.
    """
    layers = keras.layers
    image, features = build_backbone(network, size, channels)
    cell_logits = layers.Dense(2, use_bias=False, name="logits")(features)
    level = layers.GlobalAveragePooling2D(name="gap")(cell_logits)
    zones = ZonePooling(name="zone_logits")(layers.Dense(2, name="zone_maps")(features))
    extents = layers.GlobalAveragePooling2D(name="extent_logits")(
        layers.Dense(2, name="extent_maps")(features)
    )
    outputs = {
        "probabilities": layers.Softmax(name="probabilities")(level),
        "zones": layers.Activation("sigmoid", name="zones")(zones),
        "extents": layers.Rescaling(LARGEST_EXTENT, name="extents")(layers.Activation("sigmoid")(extents)),
        "evidence": Evidence(name="evidence")(cell_logits),
    }
    return keras.Model(image, outputs, name=network)


def logits_model(model: keras.Model) -> keras.Model:
    """The same network, sharing its weights, up to the logits that training sees.

    Returns
    -------
    keras.Model to a dict: ``level`` N x 2, ``zones`` N x 6, ``extents`` N x 2.
    """
    heads = {"level": "gap", "zones": "zone_logits", "extents": "extent_logits"}
    return keras.Model(model.input, {name: model.get_layer(layer).output for name, layer in heads.items()})


def full_model(
    logits: keras.Model, *, size: int, channels: int, network: NetworkName = "cxrs"
) -> keras.Model:
    """The network of `build_severity_network` with the weights of a `logits_model`."""
    model = build_severity_network(size=size, channels=channels, network=network)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(logits.get_layer(layer.name).get_weights())
    return model


def _middles(cells: int) -> Any:
    return (np.arange(cells) + 0.5) / cells
