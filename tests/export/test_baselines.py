"""The baselines' interface, and their size as published."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from cxrs_export.baselines import chexnet, resnet50
from cxrs_export.keras_complexity import count_keras

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
