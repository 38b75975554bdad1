"""From a Keras model to files: what is in them, and that nothing is left of an export that fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from cxrs_edge.card import Calibration
from cxrs_edge.engines.registry import ENGINES
from cxrs_edge.errors import CxrsError, ModelError, VerificationError
from cxrs_edge.grader import Grader
from cxrs_edge.model_file import read_model_file
from cxrs_edge.prepare import InputSpec
from cxrs_edge.version import __version__
from cxrs_export import exporting, network
from cxrs_export.exporting import ExportPlan, export_files
from cxrs_export.keras_file import Provenance
from cxrs_export.network import Widths, build_network
from cxrs_export.representative import RepresentativeSet
from cxrs_export.verify import FileCheck, Limits

SIZE = 64
FILES = ("small-float32.onnx", "small-float32.tflite", "small-int8.onnx", "small-int8.tflite")
PROVENANCE = Provenance(
    input=InputSpec(size=SIZE, crop_top=0.1),
    training={"data_sha256": "f" * 64, "split": "train", "packages": {"keras": keras.__version__}},
    temperature=1.7,
    temperature_fitted="fold 0",
)
LOOSE = Limits(int8_difference=1.0, int8_flips=1.0)


def random_set(name: str, count: int, seed: int) -> RepresentativeSet:
    rng = np.random.default_rng(seed)
    pixels = tuple(
        np.repeat(rng.integers(0, 256, (1, SIZE, SIZE, 1), np.uint8), 3, axis=3) for _ in range(count)
    )
    return RepresentativeSet(tuple(f"{name}{n}" for n in range(count)), pixels, f"random {name}")


CALIBRATION, VERIFICATION = random_set("cal", 4, seed=1), random_set("ver", 3, seed=2)


@pytest.fixture(scope="module")
def small_network() -> keras.Model:
    """The real graph with few blocks and channels, so that it converts in seconds."""
    keras.utils.set_random_seed(6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "STAGE_CHANNELS", (8, 16, 24, 32))
        patch.setattr(network, "STAGE_BLOCKS", (2, 1, 1, 1))
        return build_network(size=SIZE, widths=Widths((4, 6, 8, 10), 1), name="few")


@pytest.fixture(scope="module")
def exported(
    small_network: keras.Model, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[FileCheck]]:
    folder = tmp_path_factory.mktemp("export") / "new" / "folder"
    plan = ExportPlan("small", VERIFICATION, CALIBRATION, LOOSE, accuracy={"auc": 0.75})
    return folder, export_files(small_network, PROVENANCE, plan, folder)


def test_names_are_the_models_and_the_precisions(exported: tuple[Path, list[FileCheck]]) -> None:
    folder, checks = exported
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", *FILES]
    assert [(c.file, c.engine) for c in checks] == [
        (f"small-{precision}.{kind}", entry.name)
        for precision in ("float32", "int8")
        for kind in ("tflite", "onnx")
        for entry in ENGINES
        if entry.kind == kind and entry.package()
    ]
    assert {check.engine for check in checks} >= {"tflite", "onnx"}
    assert all(check.images == 3 for check in checks)


@pytest.mark.parametrize("name", FILES)
def test_card_is_complete(
    name: str, exported: tuple[Path, list[FileCheck]], small_network: keras.Model
) -> None:
    path = exported[0] / name
    file = read_model_file(path)
    card = file.card
    data = path.read_bytes()
    assert (card.name, card.version, card.labels) == ("small", __version__, ("level1", "level2"))
    assert card.input == InputSpec(size=SIZE, channels=1, crop_top=0.1, resize="bilinear")
    assert list(card.outputs) == ["probabilities"]
    assert card.calibration == Calibration(1.7, "fold 0")
    assert card.training == PROVENANCE.training
    assert card.accuracy == {"auc": 0.75}
    assert f"{small_network.count_params():,} parameters" in card.network
    assert "Not a medical device" in card.intended_use
    assert card.precision == name.split("-")[1].split(".")[0]
    assert card.sha256 == hashlib.sha256(data[: card.base_bytes]).hexdigest()
    assert 0 < card.base_bytes < len(data)


def test_only_int8_cards_speak_of_calibration(exported: tuple[Path, list[FileCheck]]) -> None:
    folder, _ = exported
    found = {name: read_model_file(folder / name).card.quantization for name in FILES}
    assert found["small-float32.onnx"] == found["small-float32.tflite"] == {}
    for name in ("small-int8.onnx", "small-int8.tflite"):
        assert found[name]["calibration_ids"] == ["cal0", "cal1", "cal2", "cal3"]
        assert found[name]["calibration_source"] == "random cal"
        # test_quantize.py looks inside
        assert "head in float32" in found[name]["method"]


def test_report(exported: tuple[Path, list[FileCheck]]) -> None:
    folder, checks = exported
    report = json.loads((folder / "export.json").read_text())
    assert report["schema"] == "cxrs-edge/export/1"
    assert report["verified_on"] == "random ver"
    assert report["calibrated_on"] == "random cal"
    assert report["calibration_ids"] == ["cal0", "cal1", "cal2", "cal3"]
    assert report["checks"] == [check.to_json() for check in checks]


@pytest.mark.parametrize("name", FILES)
def test_grader_reads_them(name: str, exported: tuple[Path, list[FileCheck]], tiny_set: Path) -> None:
    # The set's phantoms are too small for the quality gate.
    grader = Grader.open(exported[0] / name, threads=1, gated=False)
    grade = grader.grade(tiny_set / "images" / "t00.jpg")
    assert grade.outcome == "graded"
    assert grade.model.name == "small"
    assert sum(grade.probabilities.values()) == pytest.approx(1)


def dense_model(kernel: tuple[tuple[float, float], ...] = ((2.0, -1.0),)) -> keras.Model:
    """Converts in a second: the mean gray value, a head, softmax."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(
        keras.layers.Rescaling(1 / 255)(image)
    )
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(2, use_bias=False, name="logits")(x)
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(x), name="dense")
    model.get_layer("logits").kernel.assign(kernel)
    return model


PLAN = ExportPlan("small", VERIFICATION, limits=LOOSE)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_float_only(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    checks = export_files(
        dense_model(), PROVENANCE, PLAN, tmp_path, report=lambda *stage: stages.append(stage)
    )
    assert sorted(contents(tmp_path)) == ["export.json", "small-float32.onnx", "small-float32.tflite"]
    assert {check.precision for check in checks} == {"float32"}
    report = json.loads((tmp_path / "export.json").read_text())
    assert (report["calibrated_on"], report["calibration_ids"]) == (None, [])
    assert stages[:2] == [("converted to tflite float32", 1, 2), ("converted to onnx float32", 2, 2)]
    assert read_model_file(tmp_path / "small-float32.onnx").card.accuracy == {}


@pytest.mark.parametrize("corrupted", ["to_tflite", "to_onnx", "quantize_tflite", "quantize_onnx"])
def test_one_wrong_weight_in_one_file_and_nothing_is_written(
    corrupted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converter is handed a network with one changed weight; the previous files must survive."""
    wrong = dense_model(((2.0, 9.0),))
    convert: Callable[..., bytes] = getattr(exporting, corrupted)
    floats = {"quantize_onnx": exporting.to_onnx, "quantize_tflite": exporting.to_tflite}
    given: Any = floats[corrupted](wrong) if corrupted in floats else wrong
    monkeypatch.setattr(exporting, corrupted, lambda _, *rest: convert(given, *rest))
    for name in ("small-float32.tflite", "small-int8.onnx", "export.json"):
        (tmp_path / name).write_bytes(b"previous")
    before = contents(tmp_path)
    plan = replace(PLAN, calibration=CALIBRATION, limits=Limits())
    # The float files are what the int8 ones are made from.
    at_fault = {
        "to_tflite": {"small-float32.tflite", "small-int8.tflite"},
        "to_onnx": {"small-float32.onnx", "small-int8.onnx"},
        "quantize_tflite": {"small-int8.tflite"},
        "quantize_onnx": {"small-int8.onnx"},
    }
    with pytest.raises(VerificationError) as caught:
        export_files(dense_model(), PROVENANCE, plan, tmp_path)
    *faults, last = str(caught.value).split("; ")
    assert {fault.split(" on ")[0] for fault in faults} == at_fault[corrupted]
    assert last == "nothing was written"
    assert contents(tmp_path) == before


def test_exporting_again_replaces_the_files(tmp_path: Path) -> None:
    export_files(dense_model(), PROVENANCE, PLAN, tmp_path)
    first = contents(tmp_path)
    export_files(dense_model(((1.0, 3.0),)), PROVENANCE, PLAN, tmp_path)
    second = contents(tmp_path)
    assert sorted(first) == sorted(second)
    assert all(first[name] != second[name] for name in first if name != "export.json")


def test_a_network_that_answers_nan_is_not_let_through(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="differs by nan"):
        export_files(dense_model(((np.nan, 1.0),)), PROVENANCE, PLAN, tmp_path)
    assert contents(tmp_path) == {}


def test_converter_that_fails_is_named(tmp_path: Path) -> None:
    """No TFLite operator computes the inverse error function; its converter has an error class of its own."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D()(image)
    x = keras.layers.Dense(2)(keras.ops.erfinv(x / 300))
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(x))
    with pytest.raises(CxrsError, match=r"^small: the converter failed: "):
        export_files(model, PROVENANCE, PLAN, tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["", "a/b", "../a", "."])
def test_names_that_are_paths_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="expected a word that can begin a file's name"):
        replace(PLAN, name=name)


def test_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CxrsError, match=r"file.*can't be written"):
        export_files(dense_model(), PROVENANCE, PLAN, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
