"""Flips, differences and limits by hand; files run through the real engines."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from cxrs_edge.card import ModelCard
from cxrs_edge.engines import registry
from cxrs_edge.errors import MissingDependency, VerificationError
from cxrs_edge.model_file import with_card
from cxrs_edge.prepare import InputSpec
from cxrs_export.convert import to_onnx, to_tflite
from cxrs_export.verify import (
    FileCheck,
    Limits,
    check_files,
    compare,
    keras_answers,
    render_checks,
    require_within,
)

LIMITS = Limits(float32_difference=0.001, int8_difference=0.25, int8_flips=0.05)
CHECK = FileCheck("m.onnx", "int8", "onnx", images=100, flips=0, largest_difference=0.0, mean_difference=0.0)


def test_compare_by_hand() -> None:
    expected = np.array([0.10, 0.49, 0.50, 0.90, 0.60, 0.50])
    found = np.array([0.15, 0.51, 0.499, 0.90, 0.50, 0.53])
    check = compare("m.tflite", "int8", "tflite", expected, found)
    # 0.49 -> 0.51 and 0.50 -> 0.499 change the level; 0.60 -> 0.50 doesn't, for 0.5 is level 2.
    assert (check.images, check.flips) == (6, 2)
    assert check.largest_difference == pytest.approx(0.10)
    assert check.mean_difference == pytest.approx((0.05 + 0.02 + 0.001 + 0 + 0.10 + 0.03) / 6)
    assert check.to_json() == {
        "file": "m.tflite",
        "precision": "int8",
        "engine": "tflite",
        "images": 6,
        "flips": 2,
        "largest_difference": check.largest_difference,
        "mean_difference": check.mean_difference,
        "others": {},
    }


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"largest_difference": 0.25}, None),
        ({"largest_difference": 0.2501}, "a probability differs by 0.2501, limit 0.25"),
        ({"flips": 5}, None),
        ({"flips": 6}, "6 of 100 levels flip, limit 5 %"),
        ({"precision": "float32", "largest_difference": 0.001}, None),
        ({"precision": "float32", "largest_difference": 0.0011}, "differs by 0.0011, limit 0.001"),
        ({"precision": "float32", "flips": 1}, "1 of 100 levels flip, limit 0 %"),
        ({"largest_difference": math.nan}, "a probability differs by nan"),
        ({"precision": "float32", "largest_difference": math.nan}, "a probability differs by nan"),
    ],
)
def test_limits_are_allowed_themselves(change: dict[str, Any], fault: str | None) -> None:
    found = replace(CHECK, **change).fault(LIMITS)
    if fault is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith("m.onnx on onnx: ")
        assert fault in found


@pytest.mark.parametrize(("share", "images", "flips"), [(0.29, 100, 29), (0.07, 100, 7), (0.05, 20, 1)])
def test_a_share_that_binary_fractions_miss(share: float, images: int, flips: int) -> None:
    """int(0.29 * 100) is 28, so the limit must not be computed that way."""
    limits = Limits(int8_flips=share)
    assert replace(CHECK, images=images, flips=flips).fault(limits) is None
    assert replace(CHECK, images=images, flips=flips + 1).fault(limits) is not None


def test_every_fault_is_named() -> None:
    bad = replace(CHECK, file="a.tflite", engine="tflite", flips=50)
    worse = replace(CHECK, largest_difference=0.9)
    require_within([CHECK], LIMITS)
    with pytest.raises(VerificationError) as caught:
        require_within([CHECK, bad, worse], LIMITS)
    assert str(caught.value) == (
        "a.tflite on tflite: 50 of 100 levels flip, limit 5 %; "
        "m.onnx on onnx: a probability differs by 0.9000, limit 0.25; nothing was written"
    )
    assert caught.value.exit_status == 3


def test_table() -> None:
    head, line = render_checks([replace(CHECK, flips=3, largest_difference=0.125)]).splitlines()
    assert head.split() == ["file", "engine", "images", "flips", "largest", "mean"]
    assert line.split() == ["m.onnx", "onnx", "100", "3", "0.125000", "0.000000"]


def small_model() -> keras.Model:
    """softmax(W mean): level 2's probability is the logistic of the margin, known without running it."""
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(2, use_bias=False, name="logits")(x)
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(logits), name="small")
    model.get_layer("logits").kernel.assign([[1.0, -1.0], [0.0, 0.5], [-2.0, 1.0]])
    return model


def gray_pixels() -> list[np.ndarray[Any, Any]]:
    return [np.full((1, 32, 32, 3), level, np.uint8) for level in (0, 51, 255)]


def small_level2(level: int) -> float:
    """The kernel's columns sum to -1 and 0.5: a margin of 1.5 for white."""
    return 1 / (1 + math.exp(-1.5 * level / 255))


def test_keras_answers_by_hand() -> None:
    expected = [small_level2(level) for level in (0, 51, 255)]
    found, others = keras_answers(small_model(), gray_pixels())
    assert others == {}
    assert found.dtype == np.float64
    assert found == pytest.approx(expected, abs=1e-6)


def write_files(folder: Path, labels: tuple[str, ...] = ("level1", "level2")) -> list[Path]:
    model = small_model()
    paths = []
    for kind, convert in (("tflite", to_tflite), ("onnx", to_onnx)):
        card = ModelCard(
            name="small",
            version="0",
            network="test",
            precision="float32",
            input=InputSpec(size=32),
            outputs={"probabilities": "levels"},
            labels=labels,
            licence="CC0-1.0",
            intended_use="tests",
            base_bytes=0,
            sha256="",
        )
        paths.append(folder / f"small.{kind}")
        paths[-1].write_bytes(with_card(convert(model), card, kind))  # type: ignore[arg-type]
    return paths


def test_files_run_on_each_engine(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    expected = np.array([small_level2(level) for level in (0, 51, 255)])
    checks = check_files(
        write_files(tmp_path), expected, gray_pixels(), report=lambda *call: calls.append(call)
    )
    assert [(c.file, c.precision, c.engine, c.images, c.flips) for c in checks] == [
        (f"small.{entry.kind}", "float32", entry.name, 3, 0)
        for kind in ("tflite", "onnx")
        for entry in registry.ENGINES
        if entry.kind == kind and entry.package()
    ]
    assert {check.engine for check in checks} >= {"tflite", "onnx"}
    assert all(check.largest_difference < 1e-6 for check in checks)
    assert calls[2] == ("verifying small.tflite on tflite", 3, 3)
    assert len(calls) == 3 * len(checks)


def test_level_2_is_found_by_its_label(tmp_path: Path) -> None:
    swapped = write_files(tmp_path, labels=("level2", "level1"))
    expected = np.array([1 - small_level2(level) for level in (0, 51, 255)])
    for check in check_files(swapped, expected, gray_pixels()):
        assert check.largest_difference < 1e-6


def test_a_file_that_no_engine_can_run_is_not_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = registry.find_spec
    missing = {package for entry in registry.ENGINES if entry.kind == "onnx" for package in entry.packages}
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name in missing else find(name))
    with pytest.raises(MissingDependency, match="onnxruntime: not installed"):
        check_files(write_files(tmp_path), np.zeros(3), gray_pixels())


def test_a_float_file_whose_zones_differ_is_refused_though_its_levels_agree() -> None:
    """TensorFlow 2.21's converter once folded a constant of the zones into wrong numbers."""
    exact = replace(CHECK, precision="float32", others={"zones": 0.0005})
    assert exact.fault(Limits()) is None
    wrong = replace(exact, others={"zones": 0.14})
    assert wrong.fault(Limits()) == "m.onnx on onnx: zones differ by 0.1400, limit 0.001"
    assert replace(wrong, others={"zones": float("nan")}).fault(Limits()) is not None
    assert replace(wrong, precision="int8").fault(Limits()) is None
