"""The baselines' interface, and their size as published."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from cxrs_edge.prepare import InputSpec
from cxrs_export.baselines import chexnet, random_networks, resnet50
from cxrs_export.keras_complexity import count_keras
from cxrs_export.representative import phantom_set

Build = Callable[..., keras.Model]


@pytest.mark.parametrize("build", [resnet50, chexnet])
def test_interface_is_the_networks(build: Build) -> None:
    keras.utils.set_random_seed(0)
    model = build(64, channels=1)
    black_and_white = np.stack([np.zeros((64, 64, 1)), np.full((64, 64, 1), 255)])
    probabilities = np.asarray(model(black_and_white.astype(np.float32), training=False))
    assert [tensor.name for tensor in model.inputs] == ["image"]
    assert model.output_names == ["probabilities"]
    assert model.layers[1].get_config()["scale"] == pytest.approx(1 / 255)
    assert probabilities.shape == (2, 2)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert abs(probabilities[0] - probabilities[1]).max() > 1e-6


def test_resnet50_at_480() -> None:
    """35.5 GFLOPs in Aboutalebi et al. 2022; He et al. 2016 give 3.8 G MACs at 224 x 224."""
    complexity = count_keras(resnet50())
    assert round(complexity.flops / 1e9, 1) == 35.4
    assert round(complexity.total_parameters / 1e6, 1) == 23.6
    assert round(complexity.parameters / 1e6, 2) == 23.54
    assert complexity.unknown == ()


def test_chexnet_at_480() -> None:
    """26.0 GFLOPs in Aboutalebi et al. 2022, whose 8.1 M parameters include the 1000-class top."""
    complexity = count_keras(chexnet())
    assert round(complexity.flops / 1e9, 1) == 26.0
    assert round(complexity.total_parameters / 1e6, 2) == 7.04
    assert round(complexity.parameters / 1e6, 2) == 6.96
    assert complexity.unknown == ()


def test_resnet50_is_the_reference_with_another_head() -> None:
    """Keras documents 25,636,712 parameters, with Dense 1000 and its bias as the top."""
    complexity = count_keras(resnet50(64))
    assert complexity.total_parameters == 25_636_712 - (2048 * 1000 + 1000) + 2048 * 2


def test_chexnet_is_the_reference_with_another_head() -> None:
    """Keras documents 8,062,504 parameters for DenseNet121."""
    complexity = count_keras(chexnet(64))
    assert complexity.total_parameters == 8_062_504 - (1024 * 1000 + 1000) + 1024 * 2


def test_batch_norms_hold_the_statistics_of_phantoms() -> None:
    """As they are initialized they neither shift nor scale, and converters would drop their work."""
    spec = InputSpec(size=64)
    (one,) = random_networks(spec, "chexnet")
    assert one.provenance.training["weights"] == "random"
    norms = [layer for layer in one.model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 121
    assert all(np.abs(norm.moving_mean.numpy()).max() > 1e-4 for norm in norms)
    assert {norm.momentum for norm in norms} == {0.9}
    # Fed with the same phantoms, each channel that lives is centred and has unit variance.
    images = np.concatenate(phantom_set(spec, 4, seed=0).pixels).astype(np.float32)
    last = np.asarray(keras.Model(one.model.input, norms[-1].output)(images, training=False))
    assert last.mean(axis=(0, 1, 2)) == pytest.approx(0, abs=1e-3)
    assert np.median(last.var(axis=(0, 1, 2))) == pytest.approx(1, abs=0.05)


def test_the_same_seed_makes_the_same_network() -> None:
    first, second = (next(random_networks(InputSpec(size=32), "cxrs")) for _ in range(2))
    assert all(
        np.array_equal(*pair)
        for pair in zip(first.model.get_weights(), second.model.get_weights(), strict=True)
    )
