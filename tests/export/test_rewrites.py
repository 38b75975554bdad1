"""Rewritten networks are the same functions: every output, on images of equal channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from cxrs_export import backbones, network
from cxrs_export.network import Widths
from cxrs_export.rewrites import blocks_kernel, find_stem, for_inference
from cxrs_export.severity_network import build_severity_network

SIZE = 64
LAYERS = keras.layers


def gray(count: int, channels: int, size: int = SIZE) -> np.ndarray[Any, Any]:
    """Noise, one image brighter than the other."""
    plane = np.random.default_rng(2).integers(0, 256, (count, size, size, 1)).astype(np.float32)
    plane *= np.linspace(0.2, 1, count, dtype=np.float32)[:, None, None, None]
    return np.repeat(plane, channels, axis=3)


def randomize(model: keras.Model) -> None:
    """Weights as training leaves them: biases and batch norms that do something."""
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if len(weight.shape) == 1:
            low, high = (0.4, 1.2) if weight.name in ("gamma", "moving_variance") else (-0.2, 0.2)
            weight.assign(rng.uniform(low, high, weight.shape))


def settle_heads(model: keras.Model, images: np.ndarray[Any, Any]) -> None:
    """Logits about as large as 1, so that probabilities are neither 0 nor 1."""
    features = np.asarray(keras.Model(model.input, model.get_layer("features").output)(images))
    rng = np.random.default_rng(4)
    for name in ("logits", "zone_maps", "extent_maps"):
        kernel = model.get_layer(name).kernel
        kernel.assign(rng.normal(0, 1 / np.linalg.norm(features, axis=3).mean(), kernel.shape))


def stem_network(*before: keras.layers.Layer, channels: int = 3, **convolution: Any) -> keras.Model:
    """An image through `before` and one convolution; its feature map is the output."""
    x = image = keras.Input((SIZE, SIZE, channels), name="image")
    for layer in before:
        x = layer(x)
    x = LAYERS.Conv2D(**{"filters": 5, "kernel_size": 7, "strides": 2, "name": "stem", **convolution})(x)
    model = keras.Model(image, x)
    randomize(model)
    return model


def answers(model: keras.Model, images: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(x) for x in keras.tree.flatten(model(images, training=False))]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_output_of_the_network_stays(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "STAGE_CHANNELS", (8, 16, 24, 32))
    monkeypatch.setattr(backbones, "CXR_S_WIDTHS", Widths((4, 6, 8, 10), 1))
    model = build_severity_network(size=SIZE, channels=channels)
    images = gray(3, channels)
    randomize(model)
    settle_heads(model, images)
    fast = for_inference(model)
    assert fast.input_shape == (None, SIZE, SIZE, 1)
    assert fast.input.name == "image"
    assert fast.output_names == model.output_names == ["evidence", "extents", "probabilities", "zones"]
    for found, expected in zip(answers(fast, images[..., :1]), answers(model, images), strict=True):
        assert np.abs(found - expected).max() < 1e-5
        assert np.ptp(expected, axis=0).max() > 1e-3  # constants would agree as well


def test_the_trained_layers_are_shared_and_the_original_is_left_alone() -> None:
    model = stem_network(LAYERS.Rescaling(1 / 255), padding="same")
    before = answers(model, gray(1, 3))
    fast = for_inference(model)
    assert not any(layer.name == "stem" for layer in fast.layers)
    assert fast.get_layer("stem_blocks").kernel.shape == (4, 4, 4, 5)
    assert np.array_equal(answers(model, gray(1, 3)), before)
    # Asked once more: the same again, not a rewrite of the rewrite.
    again = for_inference(model)
    assert np.array_equal(answers(again, gray(1, 1)), answers(fast, gray(1, 1)))


@pytest.mark.parametrize(
    ("before", "convolution"),
    [
        ((), {"padding": "same"}),
        ((LAYERS.Rescaling(1 / 255),), {"padding": "same", "use_bias": False}),
        ((LAYERS.Rescaling(1 / 255),), {"padding": "same", "activation": "relu"}),
        ((LAYERS.Rescaling(1 / 255), LAYERS.ZeroPadding2D(3)), {}),  # ResNet-50, DenseNet-121
        ((LAYERS.ZeroPadding2D(3), LAYERS.Rescaling(2.0)), {}),
        ((LAYERS.ZeroPadding2D(((2, 3), (3, 2))),), {}),
        ((LAYERS.ZeroPadding2D(((0, 1), (1, 0))),), {"kernel_size": 3}),
        ((), {"kernel_size": 3, "padding": "same"}),
        ((), {"kernel_size": 4, "padding": "same"}),
        ((), {"kernel_size": 5, "padding": "same"}),
        ((LAYERS.ZeroPadding2D(2),), {"kernel_size": 5}),
    ],
)
def test_stems(before: tuple[keras.layers.Layer, ...], convolution: dict[str, Any]) -> None:
    model = stem_network(*before, **convolution)
    fast = for_inference(model)
    assert fast is not model
    (expected,), (found,) = answers(model, gray(2, 3)), answers(fast, gray(2, 1))
    assert found.shape == expected.shape == (2, SIZE // 2, SIZE // 2, 5)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("before", "convolution"),
    [
        ((), {"padding": "same", "strides": 1}),
        ((), {"padding": "same", "kernel_size": (7, 5)}),
        ((), {"padding": "valid"}),  # fewer rows come out than half
        ((), {"padding": "same", "groups": 3, "filters": 6}),
        ((LAYERS.Rescaling(1 / 127.5, offset=-1),), {"padding": "same"}),  # then the padding isn't black
        ((LAYERS.Rescaling((0.1, 0.2, 0.3)),), {"padding": "same"}),
        ((LAYERS.ZeroPadding2D(3),), {"padding": "same"}),
        ((LAYERS.ZeroPadding2D(2), LAYERS.ZeroPadding2D(1)), {}),
        ((LAYERS.ReLU(),), {"padding": "same"}),
    ],
)
def test_other_stems_stay(before: tuple[keras.layers.Layer, ...], convolution: dict[str, Any]) -> None:
    model = stem_network(*before, **convolution)
    assert for_inference(model) is model


def test_an_image_that_is_read_twice_stays() -> None:
    image = keras.Input((SIZE, SIZE, 3), name="image")
    stem = LAYERS.Conv2D(4, 7, strides=2, padding="same")(image)
    mean = LAYERS.GlobalAveragePooling2D()(image)
    model = keras.Model(image, [LAYERS.GlobalAveragePooling2D()(stem), mean])
    assert find_stem(model) is None


def test_a_sequential_model_stays() -> None:
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), LAYERS.Conv2D(4, 7, strides=2, padding="same")])
    assert for_inference(model) is model


def test_blocks_kernel_by_hand() -> None:
    """One row of zeros above: row 0 of the kernel meets the block above, rows 1 and 2 the block itself."""
    kernel = np.arange(1, 10, dtype=np.float32).reshape(3, 3, 1, 1)
    made, margins = blocks_kernel(np.repeat(kernel, 2, axis=2), (1, 1))
    assert margins == ((1, 0), (1, 0))
    assert made.shape == (2, 2, 4, 1)
    # 4 values of a block: upper left, upper right, lower left, lower right; two equal channels double each.
    assert made[0, 0, :, 0].tolist() == [0, 0, 0, 2]
    assert made[0, 1, :, 0].tolist() == [0, 0, 4, 6]
    assert made[1, 0, :, 0].tolist() == [0, 8, 0, 14]
    assert made[1, 1, :, 0].tolist() == [10, 12, 16, 18]
