"""Heads fitted to rounded feature maps."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from ai_edge_litert.interpreter import Interpreter
from small_network import SIZE, STAGE_BLOCKS, small_network, smooth_images

from cxrs_export import heads, int8_weights, network
from cxrs_export.convert import to_tflite
from cxrs_export.heads import RIDGE, fit_heads, ridge
from cxrs_export.quantize import quantize_tflite
from cxrs_export.rewrites import for_inference
from cxrs_export.severity_network import build_severity_network

IMAGES = smooth_images(48, seed=1)
UNSEEN = smooth_images(48, seed=2)


def test_ridge_is_the_one_computed_by_hand() -> None:
    # Squares 10 and 40 have a mean of 25: 30 / (10 + r) and 20 / (40 + r) with r = 25 * RIDGE.
    inputs = np.array([[1, 0], [3, 0], [0, 2], [0, 6]], np.float32)
    targets = np.array([[3], [9], [1], [3]], np.float32)
    np.testing.assert_allclose(
        ridge(inputs, targets), [[30 / (10 + 25 * RIDGE)], [20 / (40 + 25 * RIDGE)]], rtol=1e-6
    )


@pytest.fixture(scope="module")
def severity() -> keras.Model:
    """A small network with heads on each cell, batch norms fitted to images."""
    keras.utils.set_random_seed(4)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(network, "STAGE_CHANNELS", (16, 32, 48, 64))
        patched.setattr(network, "STAGE_BLOCKS", STAGE_BLOCKS)
        made = build_severity_network(size=SIZE)
    for _ in range(30):
        made(np.concatenate(IMAGES).astype(np.float32), training=True)
    return made


def evidence(model: keras.Model) -> Any:
    file = quantize_tflite(to_tflite(for_inference(model)), [image[..., :1] for image in IMAGES])
    runner = Interpreter(model_content=file).get_signature_runner()
    return np.concatenate([runner(image=image[..., :1].astype(np.float32))["evidence"] for image in IMAGES])


def test_the_files_evidence_is_nearer_to_the_networks(severity: keras.Model) -> None:
    wanted = np.asarray(severity(np.concatenate(IMAGES).astype(np.float32))["evidence"])
    with patch.object(int8_weights, "fit_heads"):
        before = evidence(int8_weights.int8_weights(severity, IMAGES))
    after = evidence(int8_weights.int8_weights(severity, IMAGES))
    errors = [np.square(found - wanted).mean() for found in (before, after)]
    assert errors[1] < 0.8 * errors[0], errors


def test_what_distorts_the_features_is_made_up_for(severity: keras.Model) -> None:
    copy = keras.models.clone_model(severity)
    copy.set_weights(severity.get_weights())
    features = np.asarray(keras.Model(copy.input, copy.get_layer("logits").input)(np.concatenate(UNSEEN)))
    distorted = features * np.linspace(0.8, 1.2, features.shape[-1], dtype=np.float32)
    with patch.object(heads, "_int8_features", return_value=distorted), patch.object(heads, "RIDGE", 1e-6):
        fit_heads(copy, UNSEEN)
    for name in ("logits", "zone_maps", "extent_maps"):
        before, after = (np.asarray(model.get_layer(name).kernel) for model in (severity, copy))
        wanted = features @ before
        assert np.abs(distorted @ before - wanted).max() > 0.05 * np.abs(wanted).max()
        np.testing.assert_allclose(distorted @ after, wanted, atol=0.01 * np.abs(wanted).max())


def test_heads_on_pooled_features_stay_as_they_are() -> None:
    model = small_network()
    before = [np.asarray(weight).copy() for weight in model.weights]
    fit_heads(model, IMAGES)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, weight)
