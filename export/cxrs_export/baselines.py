"""The networks that CXR-S is compared with, behind the interface of `cxrs_export.network`.

Both start from random weights: nothing is downloaded. Trained here they are ResNet-50 and
DenseNet-121 for two levels, not the authors' checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cxrs_edge.card import RANDOM_WEIGHTS
from cxrs_export.backbones import NETWORKS, NetworkName, build_backbone
from cxrs_export.keras_file import Provenance
from cxrs_export.network import build_network

if TYPE_CHECKING:
    import keras

    from cxrs_edge.prepare import InputSpec

SEED = 0
WORDS = {"cxrs": "COVID-Net CXR-S", "resnet50": "ResNet-50", "chexnet": "CheXNet (DenseNet-121)"}
PHANTOMS = 4
"""Drawn phantoms whose statistics the batch norms of random networks get."""


class RandomNetwork(NamedTuple):
    """A network for benchmarks only, with what its files and its card say of it."""

    name: str
    network: str
    model: keras.Model
    provenance: Provenance


def random_networks(spec: InputSpec, *names: NetworkName) -> Iterator[RandomNetwork]:
    """CXR-S and the networks it is compared with, or those of these names, with random weights.

    All take the same input. Batch norms get the statistics of drawn phantoms, as training would leave them: as they
    are initialized, they shift nothing, converters drop the addition, and DenseNet would be measured without a third
    of its elementwise work; quantized ranges would span nothing that a trained network has.
    """
    import keras

    for name in names or NETWORKS:
        keras.utils.set_random_seed(SEED)
        model = level_network(name, spec.size, spec.channels)
        settle_batch_norms(model, spec)
        described = f"{WORDS[name]} with random weights, {model.count_params():,} parameters"
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
    return level_network("resnet50", size, channels)


def chexnet(size: int = 480, channels: int = 3) -> keras.Model:
    """Build CheXNet (Rajpurkar et al., arXiv 1711.05225, 2017) with two levels as its findings.

    CheXNet is DenseNet-121 (Huang et al., Densely Connected Convolutional Networks, CVPR 2017) with
    a head of 14 findings. Parameters and result as in `resnet50`.
    """
    return level_network("chexnet", size, channels)


def level_network(network: NetworkName, size: int, channels: int) -> keras.Model:
    """The backbone of that name, global average pooling, Dense 2, Softmax; random weights."""
    import keras

    if network == "cxrs":
        return build_network(size=size, channels=channels)
    image, features = build_backbone(network, size, channels)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(features)
    x = keras.layers.Dense(2, use_bias=False, name="logits")(x)
    return keras.Model(image, keras.layers.Softmax(name="probabilities")(x), name=network)
