"""Weights made for int8: the same network, and less of it lost by rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow")

import keras
from ai_edge_litert.interpreter import Interpreter
from small_network import small_network, smooth_images

from cxrs_export.convert import to_tflite
from cxrs_export.equalize import channel_ranges, equalize, scalable_groups
from cxrs_export.int8_weights import int8_weights
from cxrs_export.quantize import quantize_tflite
from cxrs_export.rounding import STEPS, correct_means, fit_kernel, round_kernels

IMAGES = smooth_images(16, seed=1)
UNSEEN = smooth_images(24, seed=2)


@pytest.fixture
def model() -> keras.Model:
    """The small network; its blocks' channels are made unlike, as training may leave them, its answers are not."""
    made = small_network()
    rng = np.random.default_rng(0)
    for layer in made.layers:
        for part, reader in (("project1", "depthwise"), ("depthwise", "project2"), ("project2", "expand")):
            if layer.name.endswith(f"{part}_norm"):
                factors = np.exp(rng.normal(0, 0.7, layer.gamma.shape)).astype(np.float32)
                layer.gamma.assign(layer.gamma * factors)
                layer.beta.assign(layer.beta * factors)
                kernel = made.get_layer(layer.name.replace(f"{part}_norm", reader)).kernel
                kernel.assign(kernel / factors[:, None])
    return made


def margins(model: keras.Model, images: list[Any]) -> Any:
    logits = keras.Model(model.input, model.get_layer("logits").output)
    values = np.asarray(logits(np.concatenate(images).astype(np.float32)))
    return values[:, 1] - values[:, 0]


def file_margins(data: bytes, images: list[Any]) -> Any:
    runner = Interpreter(model_content=data).get_signature_runner()
    rows = [runner(image=image.astype(np.float32))["probabilities"][0] for image in images]
    return np.array([np.log(row[1] / row[0]) for row in rows])


def test_groups_are_the_maps_that_share_channels(model: keras.Model) -> None:
    groups = {
        frozenset(layer.name for layer in group.makers): {layer.name for layer in group.readers}
        for group in scalable_groups(model)
    }
    first_stage = frozenset(
        {"stage1_long_range_norm", "stage1_block1_expand_norm", "stage1_block2_expand_norm"}
    )
    assert groups[first_stage] == {"stage1_block2_project1", "stage2_block1_project1", "stage2_long_range"}
    assert groups[frozenset({"stem_norm"})] == {"stage1_block1_project1", "stage1_long_range"}
    assert groups[frozenset({"stage3_block1_project1_norm"})] == {"stage3_block1_depthwise"}
    # The last map is read by a pooling layer before the dense one: left alone.
    assert not any("stage4_long_range_norm" in makers for makers in groups)


def test_equalizing_changes_ranges_and_not_answers(model: keras.Model) -> None:
    before = margins(model, UNSEEN)
    tensor = model.get_layer("stage2_block1_project1_relu").output
    spread = [np.ptp(np.log(channel_ranges(model, [tensor], IMAGES)[id(tensor)]))]
    equalize(model, IMAGES)
    spread.append(np.ptp(np.log(channel_ranges(model, [tensor], IMAGES)[id(tensor)])))
    np.testing.assert_allclose(margins(model, UNSEEN), before, atol=1e-4 * np.abs(before).max())
    assert spread[0] > 1
    assert spread[1] < 0.05


@pytest.mark.parametrize("bounded", [True, False])
def test_only_what_is_homogeneous_is_scaled(bounded: bool) -> None:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1, use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(max_value=6 if bounded else None)(x)
    x = keras.layers.Conv2D(2, 1)(x)
    found = list(scalable_groups(keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))))
    assert len(found) == (0 if bounded else 1)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 24), columns=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_fitted_kernels_stay_on_the_quantizers_steps(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(rows, columns)).astype(np.float32)
    fitted = fit_kernel(kernel, rng.uniform(0, 1, (40, rows)).astype(np.float32))
    step = np.abs(fitted).max(axis=0) / STEPS
    # The largest weight is what it was: a quantizer that takes its scale from it rounds nothing again.
    np.testing.assert_allclose(np.abs(fitted).max(axis=0), np.abs(kernel).max(axis=0), rtol=1e-5)
    np.testing.assert_allclose(fitted / step, np.round(fitted / step), atol=1e-3)


def test_fitted_kernels_answer_better_than_nearest_ones() -> None:
    rng = np.random.default_rng(0)
    inputs = (rng.uniform(0, 1, (2000, 4)) @ rng.uniform(0, 1, (4, 32))).astype(np.float32)
    kernel = rng.normal(size=(32, 8)).astype(np.float32)
    step = np.abs(kernel).max(axis=0) / STEPS
    nearest = np.round(kernel / step) * step
    errors = [np.square(inputs @ (made - kernel)).mean() for made in (nearest, fit_kernel(kernel, inputs))]
    assert errors[1] < errors[0] / 10


def test_depthwise_kernels_are_rounded_channel_by_channel(model: keras.Model) -> None:
    round_kernels(model, IMAGES)
    kernel = np.asarray(model.get_layer("stage2_block1_depthwise").kernel)
    steps = kernel / (np.abs(kernel).max(axis=(0, 1, 3), keepdims=True) / STEPS)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_shifted_means_are_put_right_and_an_odd_image_has_no_say() -> None:
    norm = keras.layers.BatchNormalization()
    norm.build((None, 16, 16, 3))
    wanted = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype(np.float32)
    shift = np.array([0.1, -0.2, 0.0], np.float32)
    found = wanted - shift
    wanted[0] += 50  # bright cells that int8 cuts off
    corrected = correct_means(norm, wanted, found)
    np.testing.assert_allclose(norm.beta, shift, atol=0.01)
    np.testing.assert_allclose(corrected[1:], wanted[1:], atol=0.01)


def test_the_file_is_nearer_to_the_network(model: keras.Model) -> None:
    wanted = margins(model, UNSEEN)
    plain = file_margins(quantize_tflite(to_tflite(model), IMAGES), UNSEEN)
    made = int8_weights(model, IMAGES)
    better = file_margins(quantize_tflite(to_tflite(made), IMAGES), UNSEEN)
    np.testing.assert_array_equal(margins(model, UNSEEN), wanted)  # the model itself is not changed
    assert np.abs(better - wanted).mean() < 0.7 * np.abs(plain - wanted).mean()


def test_a_model_without_convolutions_stays_as_it_is() -> None:
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.Flatten()(image))
    assert int8_weights(model, []) is model
