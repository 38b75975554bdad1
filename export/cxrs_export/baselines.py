"""The networks that CXR-S is compared with, behind the interface of `cxrs_export.network`.

Both start from random weights: nothing is downloaded. Trained here they are ResNet-50 and
DenseNet-121 for two levels, not the authors' checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cxrs_edge.card import RANDOM_WEIGHTS
from cxrs_export.keras_file import Provenance

if TYPE_CHECKING:
    import keras

    from cxrs_edge.prepare import InputSpec

SEED = 0
PHANTOMS = 4
"""Drawn phantoms whose statistics the batch norms of random networks get."""


class RandomNetwork(NamedTuple):
    """A network for benchmarks only, with what its files and its card say of it."""

    name: str
    network: str
    model: keras.Model
    provenance: Provenance


def random_networks(spec: InputSpec, *names: str) -> Iterator[RandomNetwork]:
    """CXR-S and the networks it is compared with, or those of these names, with random weights.

    All take the same input. Batch norms get the statistics of drawn phantoms, as training would leave them: as they
    are initialized, they shift nothing, converters drop the addition, and DenseNet would be measured without a third
    of its elementwise work; quantized ranges would span nothing that a trained network has.
    """
    import keras

    from cxrs_export.network import build_network

    builders: dict[str, tuple[str, Callable[[], keras.Model]]] = {
        "cxrs": ("COVID-Net CXR-S", lambda: build_network(size=spec.size, channels=spec.channels)),
        "resnet50": ("ResNet-50", lambda: resnet50(spec.size, spec.channels)),
        "chexnet": ("CheXNet (DenseNet-121)", lambda: chexnet(spec.size, spec.channels)),
    }
    for name in names or builders:
        words, build = builders[name]
        keras.utils.set_random_seed(SEED)
        model = build()
        settle_batch_norms(model, spec)
        described = f"{words} with random weights, {model.count_params():,} parameters"
        yield RandomNetwork(
            name, described, model, Provenance(input=spec, training={**RANDOM_WEIGHTS, "seed": SEED})
        )


def settle_batch_norms(model: keras.Model, spec: InputSpec) -> None:
    """Give every batch norm the mean and variance that drawn phantoms have there, in place."""
    import keras

    from cxrs_export.representative import phantom_set

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the last batch counts, and no other
    batch = np.concatenate(phantom_set(spec, PHANTOMS, seed=SEED).pixels).astype(np.float32)
    model(batch, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def resnet50(size: int = 480, channels: int = 3) -> keras.Model:
    """Build ResNet-50 (He et al., Deep Residual Learning for Image Recognition, CVPR 2016).

    Parameters
    ----------
    size : input height and width in pixels, at least 32.
    channels : input channels.

    Returns
    -------
    keras.Model from ``image`` (float32, N x size x size x channels, pixel values 0..255) to
    ``probabilities`` (float32, N x 2: level 1, level 2), like `cxrs_export.network.build_network`.
    The stride is in a block's first 1x1 convolution, as in the paper; PyTorch's variant has it in
    the 3x3 and costs more.
    """
    import keras

    return _with_levels(keras.applications.ResNet50, size, channels, "resnet50")


def chexnet(size: int = 480, channels: int = 3) -> keras.Model:
    """Build CheXNet (Rajpurkar et al., arXiv 1711.05225, 2017) with two levels as its findings.

    CheXNet is DenseNet-121 (Huang et al., Densely Connected Convolutional Networks, CVPR 2017) with
    a head of 14 findings. Parameters and result as in `resnet50`.
    """
    import keras

    return _with_levels(keras.applications.DenseNet121, size, channels, "chexnet")


def _with_levels(backbone: Any, size: int, channels: int, name: str) -> keras.Model:
    """Scaling, the backbone without its top, global average pooling, Dense 2, Softmax."""
    import keras

    shape = (size, size, channels)
    image = keras.Input(shape, name="image")
    x = keras.layers.Rescaling(1 / 255, name="scale")(image)
    x = backbone(include_top=False, weights=None, input_tensor=x, input_shape=shape).output
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    x = keras.layers.Dense(2, use_bias=False, name="logits")(x)
    return keras.Model(image, keras.layers.Softmax(name="probabilities")(x), name=name)
