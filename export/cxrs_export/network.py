"""COVID-Net CXR-S as a Keras model.

Published (Aboutalebi et al., Diagnostics 2022, 12(1), 25, and its backbone's figure): the 480 x 480 x 3 input,
the 7x7 stem and max-pool, the map sizes and channels of the four stages and their 3, 4, 6 and 3 blocks, the
block's project-replicate-project-expand pattern, the long-range connections, a dense and a softmax layer,
8.8 M parameters and 11.1 GFLOPs (5.55 G MACs).
Fitted by us, because nobody published it: the projection widths and the replication (ADR 0001), and that every
convolution is followed by batch normalization and ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cxrs_edge.errors import ModelError

if TYPE_CHECKING:
    import keras

Head = Literal["gap", "flatten"]

OUTPUTS: Mapping[str, str] = {
    "probabilities": "probability of each level, in the order of labels",
    "zones": "probability of any opacity in zones a to f (right lung upper, middle, lower; left lung likewise)",
    "extents": "geographic and opacity extent, 0 to 8, both lungs added up",
    "evidence": "what each cell of the last feature map adds to the logit of level 2 minus that of level 1",
}

STEM_CHANNELS = 48
STAGE_CHANNELS = (160, 328, 640, 2048)
STAGE_BLOCKS = (3, 4, 6, 3)
REDUCTION = 32
"""Input pixels a side for each cell of the last feature map."""

# With a few hundred images an epoch is a handful of steps: Keras's 0.99 would never catch up with the weights.
BATCH_NORM_MOMENTUM = 0.9


@dataclass(frozen=True)
class Widths:
    """The unpublished inner widths: channels of the projections, one a stage, and their replication."""

    projections: tuple[int, int, int, int]
    replication: int


CXR_S_WIDTHS = Widths(projections=(32, 56, 256, 320), replication=1)


def build_network(
    *,
    size: int = 480,
    channels: int = 3,
    head: Head = "gap",
    widths: Widths = CXR_S_WIDTHS,
    name: str = "cxrs",
) -> keras.Model:
    """Build COVID-Net CXR-S with random weights.

    Parameters
    ----------
    size : input height and width in pixels, a multiple of 32; the paper's is 480.
    channels : input channels, 3 in the paper (one gray image three times).
    head : ``gap`` (global average pooling, Dense 2) for training, ``flatten`` for the published graph
        (Flatten, Dense 2); `flatten_head` turns the first into the second without changing the function.
    widths : the inner widths, see `Widths`.

    Returns
    -------
    keras.Model from ``image`` (float32, N x size x size x channels, pixel values 0..255) to ``probabilities``
    (float32, N x 2: level 1, level 2). Its layer ``logits`` holds their logarithms up to a constant and
    ``features`` the last feature map, N x size/32 x size/32 x 2048.
    """
    import keras

    image, features = backbone(size, channels, widths)
    x = _head(features, head)
    return keras.Model(image, keras.layers.Softmax(name="probabilities")(x), name=name)


def freeze_stages(model: keras.Model, stages: int) -> None:
    """Keep the weights of the first `stages` stages, the stem with them, as they are; 0 freezes nothing.

    Their batch norms then use the statistics that they have, so those must have been trained.
    """
    frozen = ("stem", *(f"stage{stage}" for stage in range(1, stages + 1))) if stages else ()
    for layer in model.layers:
        if layer.name.startswith(tuple(frozen)):
            layer.trainable = False


def backbone(size: int, channels: int, widths: Widths) -> tuple[Any, Any]:
    """The image and the last feature map, N x size/32 x size/32 x 2048."""
    import keras

    if size < REDUCTION or size % REDUCTION:
        raise ValueError(f"size: {size}; expected a multiple of {REDUCTION}")
    image = keras.Input((size, size, channels), name="image")
    x = keras.layers.Rescaling(1 / 255, name="scale")(image)
    x = _conv(x, STEM_CHANNELS, 7, "stem", strides=2)
    x = keras.layers.MaxPooling2D(2, name="stem_pool")(x)
    for index in range(4):
        x = _stage(x, index, widths)
    return image, keras.layers.Identity(name="features")(x)


def _stage(x: Any, index: int, widths: Widths) -> Any:
    """Blocks whose input is the long-range map plus all earlier outputs, kept as one running sum."""
    import keras

    name, channels = f"stage{index + 1}", STAGE_CHANNELS[index]
    stride = 1 if index == 0 else 2
    long_range = _conv(x, channels, 1, f"{name}_long_range", strides=stride)
    x = keras.layers.Add(name=f"{name}_sum1")(
        [long_range, _block(x, index, widths, f"{name}_block1", stride)]
    )
    for number in range(2, STAGE_BLOCKS[index] + 1):
        out = _block(x, index, widths, f"{name}_block{number}", 1)
        x = keras.layers.Add(name=f"{name}_sum{number}")([x, out])
    return x


def _block(x: Any, index: int, widths: Widths, name: str, stride: int) -> Any:
    """Project 1x1, replicate, depthwise 3x3, project 1x1, expand 1x1 (PRPE)."""
    import keras

    width = widths.projections[index]
    x = _conv(x, width, 1, f"{name}_project1")
    if widths.replication > 1:
        x = keras.layers.Concatenate(name=f"{name}_replicate")([x] * widths.replication)
    x = keras.layers.DepthwiseConv2D(
        3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _norm_relu(x, f"{name}_depthwise")
    x = _conv(x, width, 1, f"{name}_project2")
    return _conv(x, STAGE_CHANNELS[index], 1, f"{name}_expand")


def _conv(x: Any, filters: int, kernel: int, name: str, strides: int = 1) -> Any:
    import keras

    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return _norm_relu(x, name)


def _norm_relu(x: Any, name: str) -> Any:
    import keras

    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _head(x: Any, head: Head) -> Any:
    import keras

    if head == "gap":
        x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    elif head == "flatten":
        x = keras.layers.Flatten(name="flatten")(x)
    else:
        raise ValueError(f"head: {head!r}; expected 'gap' or 'flatten'")
    return keras.layers.Dense(2, use_bias=False, name="logits")(x)


def network_widths(model: keras.Model) -> Widths:
    """Read the inner widths back from a network that `build_network` made; `ModelError` for another one."""
    try:
        first = [model.get_layer(f"stage{stage}_block1_project1") for stage in range(1, 5)]
    except ValueError as error:
        raise ModelError(
            f"{model.name}: has no stages; expected COVID-Net CXR-S, as train writes it"
        ) from error
    projections = tuple(int(layer.filters) for layer in first)
    depthwise = model.get_layer("stage1_block1_depthwise")
    return Widths(
        projections=(projections[0], projections[1], projections[2], projections[3]),
        replication=int(depthwise.input.shape[-1]) // projections[0],
    )


def resize_network(model: keras.Model, size: int, *, head: Head = "gap") -> keras.Model:
    """Copy a trained ``gap`` network to another input size and, if asked, to the published flatten head.

    Only the level is copied; zones and extents are not in the published graph.

    The flatten head's weights are W[y, x, k, c] = w[k, c] / cells, so both heads are the same function
    (up to float rounding). A network that already has a flatten head can't change its size.
    """
    if not has_gap_head(model):
        raise ValueError(f"{model.name}: has a flatten head; expected the gap head it was trained with")
    target = build_network(
        size=size,
        channels=int(model.input_shape[-1]),
        head=head,
        widths=network_widths(model),
        name=model.name,
    )
    for layer in target.layers:
        if layer.weights:
            weights = model.get_layer(layer.name).get_weights()
            if layer.name == "logits" and head == "flatten":
                cells = (size // REDUCTION) ** 2
                # Flatten is row-major over y, x, k: each cell repeats the same 2048 x 2 block.
                weights = [np.tile(weights[0] / cells, (cells, 1))]
            layer.set_weights(weights)
    return target


def has_gap_head(model: keras.Model) -> bool:
    """Whether the network ends in global average pooling, as trained, not in the published Flatten."""
    return any(layer.name == "gap" for layer in model.layers)
