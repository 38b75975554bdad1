"""The baselines' interface, and their size as published."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
keras = pytest.importorskip("keras")

from cxrs_export.baselines import chexnet, resnet50  # noqa: E402
from cxrs_export.keras_complexity import count_keras  # noqa: E402

Build = Callable[..., keras.Model]


@pytest.mark.parametrize("build", [resnet50, chexnet])
def test_interface_is_the_networks(build: Build) -> None:
    model = build(64, channels=1)
    image = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1)).astype(np.float32)
    probabilities = np.asarray(model(image, training=False))
    assert [tensor.name for tensor in model.inputs] == ["image"]
    assert model.output_names == ["probabilities"]
    assert model.layers[1].get_config()["scale"] == pytest.approx(1 / 255)
    assert probabilities.shape == (2, 2)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert not np.allclose(probabilities[0], probabilities[1], atol=1e-9)


def test_resnet50_at_480() -> None:
    """35.5 GFLOPs in Aboutalebi et al. 2022; He et al. 2016 give 3.8 G MACs at 224 x 224 with the top."""
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
    """Keras documents 25,636,712 parameters; its top is Dense 1000 with bias, ours Dense 2 without."""
    complexity = count_keras(resnet50(64))
    assert complexity.total_parameters == 25_636_712 - (2048 * 1000 + 1000) + 2048 * 2


def test_chexnet_is_the_reference_with_another_head() -> None:
    """Keras documents 8,062,504 parameters for DenseNet121."""
    complexity = count_keras(chexnet(64))
    assert complexity.total_parameters == 8_062_504 - (1024 * 1000 + 1000) + 1024 * 2
