"""The networks that CXR-S is compared with, behind the interface of `cxrs_export.network`.

Both start from random weights: nothing is downloaded. Trained here they are ResNet-50 and
DenseNet-121 for two levels, not the authors' checkpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


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
