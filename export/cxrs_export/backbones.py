"""The networks that can be trained, up to their last feature map: CXR-S and those that it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from cxrs_export.network import BATCH_NORM_MOMENTUM, CXR_S_WIDTHS, backbone

if TYPE_CHECKING:
    import keras

NetworkName = Literal["cxrs", "resnet50", "chexnet"]
NETWORKS: tuple[NetworkName, ...] = ("cxrs", "resnet50", "chexnet")
HEADS = ("logits", "finding_logits", "zone_maps", "zone_logits", "extent_maps")
"""Layers with weights that lie behind the last feature map."""


def build_backbone(network: NetworkName, size: int, channels: int) -> tuple[Any, Any]:
    """The image (pixel values 0..255, scaled inside) and the last feature map, random weights.

    ResNet-50 and DenseNet-121 are Keras's, N x size/32 x size/32 x 2048 and 1024. Their batch norms get the momentum
    of CXR-S: with Keras's 0.99 the statistics that they grade by would lag behind the weights of a short training.
    """
    import keras

    if network == "cxrs":
        return backbone(size, channels, CXR_S_WIDTHS)
    build = {"resnet50": keras.applications.ResNet50, "chexnet": keras.applications.DenseNet121}[network]
    shape = (size, size, channels)
    image = keras.Input(shape, name="image")
    scaled = keras.layers.Rescaling(1 / 255, name="scale")(image)
    model = build(include_top=False, weights=None, input_tensor=scaled, input_shape=shape)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    return image, keras.layers.Identity(name="features")(model.output)


def is_backbone(layer: keras.layers.Layer) -> bool:
    """Whether a layer lies before the last feature map, so that networks with other heads have it too."""
    return layer.name not in HEADS
