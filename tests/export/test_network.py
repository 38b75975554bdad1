"""The network against the published shapes and counts, and against the connectivity written naively in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

import keras

from cxrs_edge.errors import ModelError
from cxrs_export.baselines import resnet50
from cxrs_export.keras_complexity import count_keras
from cxrs_export.network import (
    CXR_S_WIDTHS,
    Widths,
    build_network,
    has_gap_head,
    network_widths,
    resize_network,
)

Map = NDArray[np.float64]

PUBLISHED_STAGES = ((120, 160, 3), (60, 328, 4), (30, 640, 6), (15, 2048, 3))
"""Side of the map at 480 x 480, channels, blocks (Aboutalebi et al. 2022 and its backbone's figure)."""
EPSILON = 1e-3
"""Keras's batch normalization adds it to the variance."""


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Every weight random, batch norm's too, at a scale that keeps activations near 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape = tuple(weight.shape)
        if len(shape) == 1:
            low, high = (-0.2, 0.2) if weight.name in ("beta", "moving_mean") else (0.4, 1.2)
            weight.assign(rng.uniform(low, high, shape))
        else:
            taps = shape[0] * shape[1] if weight.path.endswith("depthwise/kernel") else np.prod(shape[:-1])
            weight.assign(rng.normal(0, 1 / np.sqrt(taps), shape))
    return model


def random_images(count: int, size: int, channels: int = 3) -> NDArray[np.float32]:
    rng = np.random.default_rng(9)
    return rng.integers(0, 256, (count, size, size, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def at_480() -> keras.Model:
    return build_network(head="flatten")


def output_shape(model: keras.Model, name: str) -> tuple[int, ...]:
    shape: tuple[int, ...] = model.get_layer(name).output.shape[1:]
    return shape


def test_published_shapes(at_480: keras.Model) -> None:
    assert at_480.input_shape == (None, 480, 480, 3)
    assert output_shape(at_480, "stem") == (240, 240, 48)
    assert at_480.get_layer("stem").kernel_size == (7, 7)
    assert output_shape(at_480, "stem_pool") == (120, 120, 48)
    for stage, (side, channels, blocks) in enumerate(PUBLISHED_STAGES, 1):
        assert output_shape(at_480, f"stage{stage}_long_range") == (side, side, channels)
        for block in range(1, blocks + 1):
            assert output_shape(at_480, f"stage{stage}_block{block}_expand") == (side, side, channels)
            assert output_shape(at_480, f"stage{stage}_sum{block}") == (side, side, channels)
    assert output_shape(at_480, "features") == (15, 15, 2048)
    assert output_shape(at_480, "flatten") == (460_800,)
    assert at_480.output_shape == (None, 2)


def test_numbers_of_layers(at_480: keras.Model) -> None:
    """One stem, one long-range convolution a stage, three 1x1 and one depthwise a block, 16 blocks."""
    kinds = [type(layer).__name__ for layer in at_480.layers]
    assert kinds.count("Conv2D") == 1 + 4 + 3 * 16
    assert kinds.count("DepthwiseConv2D") == kinds.count("Add") == 16
    assert kinds.count("BatchNormalization") == kinds.count("ReLU") == 1 + 4 + 4 * 16
    assert kinds.count("Dense") == 1


def test_only_the_first_blocks_of_stages_2_to_4_have_a_stride(at_480: keras.Model) -> None:
    strided = [
        layer.name
        for layer in at_480.layers
        if isinstance(layer, keras.layers.DepthwiseConv2D) and layer.strides == (2, 2)
    ]
    assert strided == [f"stage{stage}_block1_depthwise" for stage in (2, 3, 4)]


def test_published_parameters_and_macs(at_480: keras.Model) -> None:
    complexity = count_keras(at_480)
    assert complexity.unknown == ()
    assert round(complexity.parameters / 1e6, 1) == 8.8
    assert complexity.macs == pytest.approx(5.55e9, abs=0.05e9)
    assert round(complexity.flops / 1e9, 1) == 11.1


def test_scaling_is_the_first_layer() -> None:
    model = build_network(size=32)
    levels = np.arange(256, dtype=np.float32)
    images = np.broadcast_to(levels[:, None, None, None], (256, 32, 32, 3))
    scale = keras.Model(model.input, model.layers[1].output)
    assert model.layers[1].name == "scale"
    assert np.asarray(scale(images))[:, 5, 7, 1] == pytest.approx(levels / 255, abs=1e-7)


class Naive:
    """The paper's rules in NumPy and float64; every block sums what it is connected to afresh."""

    def __init__(self, model: keras.Model, replication: int) -> None:
        self.model, self.replication = model, replication

    def features(self, image: Map) -> Map:
        x = max_pool(self.conv(image / 255, "stem", stride=2))
        for stage, (_, _, blocks) in enumerate(PUBLISHED_STAGES, 1):
            stride = 1 if stage == 1 else 2
            long_range = self.conv(x, f"stage{stage}_long_range", stride)
            outputs = [self.block(x, f"stage{stage}_block1", stride)]
            for number in range(2, blocks + 1):
                outputs.append(self.block(long_range + sum(outputs), f"stage{stage}_block{number}", 1))
            x = long_range + sum(outputs)
        return x

    def block(self, x: Map, name: str, stride: int) -> Map:
        x = self.conv(x, f"{name}_project1")
        x = np.concatenate([x] * self.replication, axis=-1)
        x = self.depthwise(x, f"{name}_depthwise", stride)
        return self.conv(self.conv(x, f"{name}_project2"), f"{name}_expand")

    def conv(self, x: Map, name: str, stride: int = 1) -> Map:
        kernel = self.weight(name)
        out = sum(
            tap @ kernel[row, column] for (row, column), tap in taps(x, kernel.shape[0], stride).items()
        )
        return self.norm_relu(np.asarray(out), name)

    def depthwise(self, x: Map, name: str, stride: int) -> Map:
        kernel = self.weight(name)
        out = sum(tap * kernel[row, column, :, 0] for (row, column), tap in taps(x, 3, stride).items())
        return self.norm_relu(np.asarray(out), name)

    def norm_relu(self, x: Map, name: str) -> Map:
        gamma, beta, mean, variance = (
            w.astype(np.float64) for w in self.model.get_layer(f"{name}_norm").get_weights()
        )
        return np.maximum((x - mean) / np.sqrt(variance + EPSILON) * gamma + beta, 0)

    def weight(self, name: str) -> Map:
        kernel: Map = self.model.get_layer(name).get_weights()[0].astype(np.float64)
        return kernel


def taps(x: Map, kernel: int, stride: int) -> dict[tuple[int, int], Map]:
    """What each kernel element sees; TensorFlow's `same` puts the odd pixel of padding last."""
    side = -(-x.shape[0] // stride)
    total = max((side - 1) * stride + kernel - x.shape[0], 0)
    padded = np.pad(x, ((total // 2, total - total // 2),) * 2 + ((0, 0),))
    last = (side - 1) * stride + 1
    return {
        (row, column): padded[row : row + last : stride, column : column + last : stride]
        for row in range(kernel)
        for column in range(kernel)
    }


def max_pool(x: Map) -> Map:
    return np.max([x[row::2, column::2] for row in (0, 1) for column in (0, 1)], axis=0)


@pytest.mark.parametrize("widths", [CXR_S_WIDTHS, Widths((8, 12, 16, 20), 2)])
def test_connectivity_is_the_papers(widths: Widths) -> None:
    model = randomize(build_network(size=64, widths=widths))
    image = random_images(1, 64)
    features = keras.Model(model.input, model.get_layer("features").output)
    found = np.asarray(features(image, training=False))[0]
    expected = Naive(model, widths.replication).features(image[0].astype(np.float64))
    assert expected.shape == (2, 2, 2048)
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    logits = expected.mean(axis=(0, 1)) @ model.get_layer("logits").get_weights()[0]
    exponentials = np.exp(logits - logits.max())
    probabilities = np.asarray(model(image, training=False))[0]
    assert probabilities == pytest.approx(exponentials / exponentials.sum(), abs=1e-5)


@pytest.mark.parametrize("size", [64, 96])
def test_flatten_head_is_the_same_function(size: int) -> None:
    gap = randomize(build_network(size=size), seed=size)
    flatten = resize_network(gap, size, head="flatten")
    images = random_images(3, size)
    expected = np.asarray(gap(images, training=False))
    assert np.ptp(expected[:, 0]) > 1e-4
    assert expected.min() > 0.01
    assert np.asarray(flatten(images, training=False)) == pytest.approx(expected, abs=1e-6)
    assert not has_gap_head(flatten)
    assert flatten.get_layer("logits").kernel.shape == ((size // 32) ** 2 * 2048, 2)


def test_resizing_keeps_every_weight_and_leaves_the_original_alone() -> None:
    small = randomize(build_network(size=32, channels=1, widths=Widths((8, 12, 16, 20), 2), name="mine"))
    before = small.get_weights()
    large = resize_network(small, 96)
    assert large.input_shape == (None, 96, 96, 1)
    assert large.name == "mine"
    assert has_gap_head(large)
    for mine, theirs in zip(before, large.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)
    large.set_weights([weight * 0 for weight in before])
    assert all(np.array_equal(a, b) for a, b in zip(before, small.get_weights(), strict=True))


def test_a_flatten_head_can_not_be_resized() -> None:
    with pytest.raises(ValueError, match="has a flatten head"):
        resize_network(build_network(size=32, head="flatten"), 64)


@given(st.integers(-64, 2000).filter(lambda size: size < 32 or size % 32 != 0))
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size: {size}; expected a multiple of 32"):
        build_network(size=size)


def test_unknown_head_is_refused() -> None:
    head: Any = "max"
    with pytest.raises(ValueError, match="head: 'max'; expected 'gap' or 'flatten'"):
        build_network(size=32, head=head)


def test_one_channel() -> None:
    model = randomize(build_network(size=32, channels=1))
    assert model.input_shape == (None, 32, 32, 1)
    assert model.get_layer("stem").kernel.shape == (7, 7, 1, 48)
    sums = np.asarray(model(random_images(2, 32, 1), training=False)).sum(axis=1)
    assert sums == pytest.approx([1, 1], abs=1e-6)


@pytest.mark.parametrize("widths", [CXR_S_WIDTHS, Widths((5, 6, 7, 8), 3)])
def test_widths_are_read_back(widths: Widths) -> None:
    assert network_widths(build_network(size=32, widths=widths)) == widths


def test_widths_of_another_network_are_refused() -> None:
    with pytest.raises(ModelError, match="resnet50: has no stages"):
        network_widths(resnet50(32))
