"""Keras counts against hand-computed products, and against the files exported from the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf
from keras import layers

from cxrs_bench.complexity import OperatorCost, count_file
from cxrs_edge.errors import ModelError
from cxrs_export.keras_complexity import count_keras

BN = 4  # gamma, beta, moving mean, moving variance


def _mixed_net(groups: int = 2) -> keras.Model:
    """Every kind of convolution that the files must agree on; 12 x 12 x 4 pixels in."""
    image = keras.Input((12, 12, 4), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="strided")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(6, 3, groups=groups, name="grouped")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = layers.SeparableConv2D(10, 3, padding="same", name="separable")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(5, activation="relu", name="dense")(x)
    x = layers.Dense(2, use_bias=False, name="logits")(x)
    return keras.Model(image, layers.Softmax(name="probabilities")(x))


MIXED_ROWS = (
    OperatorCost("strided", "Conv2D", 6 * 6 * 3 * 3 * 4 * 8, 3 * 3 * 4 * 8, (1, 6, 6, 8)),
    OperatorCost("grouped", "Conv2D", 4 * 4 * 3 * 3 * 4 * 6, 3 * 3 * 4 * 6, (1, 4, 4, 6)),
    OperatorCost("depthwise", "DepthwiseConv2D", 4 * 4 * 3 * 3 * 12, 3 * 3 * 12, (1, 4, 4, 12)),
    OperatorCost(
        "separable",
        "SeparableConv2D",
        4 * 4 * (3 * 3 * 12 + 12 * 10),
        3 * 3 * 12 + 12 * 10,
        (1, 4, 4, 10),
    ),
    OperatorCost("dense", "Dense", 10 * 5, 10 * 5, (1, 5)),
    OperatorCost("logits", "Dense", 5 * 2, 5 * 2, (1, 2)),
)
MIXED_MACS = 10368 + 3456 + 1728 + 3648 + 50 + 10
MIXED_KERNELS = 288 + 216 + 108 + 228 + 50 + 10


def test_layers_by_hand() -> None:
    complexity = count_keras(_mixed_net())
    assert complexity.rows == MIXED_ROWS
    assert complexity.macs == MIXED_MACS
    assert complexity.kernel_parameters == MIXED_KERNELS
    biases = 6 + 12 + 10 + 5
    assert complexity.parameters == MIXED_KERNELS + biases + 2 * 8
    assert complexity.total_parameters == MIXED_KERNELS + biases + BN * 8
    assert complexity.unknown == ()


def _shared_net() -> keras.Model:
    image = keras.Input((6, 6, 3), name="image")
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    x = layers.Flatten()(shared(layers.ReLU()(shared(image))))
    return keras.Model(image, layers.Dense(2, name="dense")(x))


def test_shared_layer_costs_twice_but_is_stored_once() -> None:
    complexity = count_keras(_shared_net())
    assert [(row.macs, row.parameters) for row in complexity.rows] == [
        (36 * 81, 81),
        (36 * 81, 0),
        (108 * 2, 108 * 2),
    ]
    assert complexity.parameters == 81 + 3 + 108 * 2 + 2


def test_layer_called_outside_the_model_is_not_counted() -> None:
    model = _shared_net()
    model.get_layer("shared")(keras.Input((100, 100, 3)))
    assert count_keras(model) == count_keras(_shared_net())


@pytest.mark.parametrize(
    ("layer", "macs", "parameters"),
    [
        (lambda: layers.Conv2DTranspose(5, 2, strides=2), 64 * 2 * 2 * 3 * 5, 2 * 2 * 3 * 5),
        (lambda: layers.Conv2D(5, 3, dilation_rate=2, padding="same"), 64 * 27 * 5, 27 * 5),
        (lambda: layers.Dense(7), 64 * 3 * 7, 3 * 7),
    ],
)
def test_single_layers(layer: Callable[[], keras.Layer], macs: int, parameters: int) -> None:
    row = count_keras(keras.Sequential([keras.Input((8, 8, 3)), layer()])).rows[0]
    assert (row.macs, row.parameters) == (macs, parameters)


def test_channels_first() -> None:
    model = keras.Sequential([keras.Input((3, 8, 9)), layers.Conv2D(5, 1, data_format="channels_first")])
    assert count_keras(model).rows[0].macs == 8 * 9 * 3 * 5


def test_nested_model_is_entered() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 1, name="conv")], name="inner")
    image = keras.Input((8, 8, 3))
    complexity = count_keras(keras.Model(image, layers.Flatten()(inner(image))))
    assert [(row.name, row.macs) for row in complexity.rows] == [("inner/conv", 64 * 12)]


def test_nested_model_of_another_size_is_refused() -> None:
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 1)], name="inner")
    image = keras.Input((8, 8, 3))
    with pytest.raises(ModelError, match="inner: called with"):
        count_keras(keras.Model(image, inner(image)))


def test_unknown_layers_are_named_not_zero() -> None:
    class Conv2D(layers.Conv2D):  # type: ignore[misc]
        """Its call might do anything."""

    image = keras.Input((8, 8, 3))
    x = layers.MultiHeadAttention(2, 4)(image, image)
    x = Conv2D(4, 1)(x)
    complexity = count_keras(keras.Model(image, keras.ops.einsum("nhwc->nc", x)))
    assert complexity.unknown == ("MultiHeadAttention", f"{__name__}.Conv2D", "Einsum")
    assert complexity.rows == ()


def test_models_without_fixed_shapes_are_refused() -> None:
    class Subclassed(keras.Model):  # type: ignore[misc]
        """Has no graph."""

    with pytest.raises(ModelError, match="Subclassed without a graph"):
        count_keras(Subclassed())
    with pytest.raises(ModelError, match="Sequential without a graph"):
        count_keras(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(ModelError, match=r"conv: Conv2D has the shape \(None, None, None, 4\)"):
        count_keras(keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv")]))


def _with_random_weights(model: keras.Model) -> keras.Model:
    """Biases and batch norm too: a converter drops zeros and merges equal constants."""
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    return model


def _tflite(model: keras.Model, *, int8: bool) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = _images
    data: bytes = converter.convert()
    return data


def _images() -> Iterator[list[np.ndarray]]:
    random = np.random.default_rng(1)
    for _ in range(4):
        yield [random.uniform(0, 255, (1, 12, 12, 4)).astype(np.float32)]


@pytest.mark.parametrize("int8", [False, True])
def test_tflite_file_counts_the_same(tmp_path: Path, int8: bool) -> None:
    model = _with_random_weights(_mixed_net())
    path = tmp_path / "net.tflite"
    path.write_bytes(_tflite(model, int8=int8))
    exported = count_file(path)
    assert (exported.macs, exported.parameters) == (MIXED_MACS, MIXED_KERNELS)
    assert exported.unknown == ()
    assert list(exported.by_operator()) == ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
    # A bias where batch norm was folded in, and one of zeros in the separable's depthwise half.
    assert exported.other_parameters == 8 + 6 + 12 + (12 + 10) + 5


def _dilated_net(batch: int | None) -> keras.Model:
    image = keras.Input(batch_shape=(batch, 8, 8, 3))
    return keras.Model(image, layers.Conv2D(5, 3, dilation_rate=2, padding="same")(image))


def test_dilated_tflite_is_counted_or_refused(tmp_path: Path) -> None:
    """The converter moves pixels to the batch axis, whose true length a dynamic batch hides."""
    path = tmp_path / "net.tflite"
    path.write_bytes(_tflite(_dilated_net(1), int8=False))
    assert count_file(path).macs == count_keras(_dilated_net(1)).macs == 64 * 27 * 5
    path.write_bytes(_tflite(_dilated_net(None), int8=False))
    with pytest.raises(ModelError, match=r"SPACE_TO_BATCH_ND .* moves pixels into a dynamic batch"):
        count_file(path)


def test_onnx_file_counts_the_same(tmp_path: Path) -> None:
    """Ungrouped: Keras compiles grouped convolutions into a call that tf2onnx can't convert."""
    model = _with_random_weights(_mixed_net(groups=1))
    path = tmp_path / "net.onnx"
    model(np.zeros((1, 12, 12, 4), np.float32))  # Keras refuses to export a model never called
    model.export(path, format="onnx", verbose=False)
    exported, counted = count_file(path), count_keras(model)
    assert (exported.macs, exported.parameters) == (counted.macs, counted.kernel_parameters)
    assert exported.macs == MIXED_MACS + 3456
    assert exported.unknown == ()
