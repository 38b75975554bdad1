"""`cxrs-edge export` of weights in the shape of the released ones: from the checkpoint to `predict`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

pytest.importorskip("tensorflow")

import keras
from tf1_writer import IMAGE, OUTPUT, Recipe, run_graph, write_as_tf1, write_checkpoint

from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_edge.cli import main
from cxrs_edge.engines.registry import ENGINES
from cxrs_edge.grader import Grader
from cxrs_edge.image import read_file, read_image
from cxrs_edge.model_file import read_model_file
from cxrs_edge.prepare import InputSpec, prepare
from cxrs_export.cli_export_sources import released_checkpoint
from cxrs_export.keras_file import load_model
from cxrs_export.network import resize_network

SPEC = InputSpec(size=480, channels=3, crop_top=0.08)
FILES = tuple(
    f"covidnet-cxr-s-{precision}.{kind}" for precision in ("float32", "int8") for kind in ("onnx", "tflite")
)
FEW = ("--calibration-images", "5", "--verification-images", "2")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """480 x 480, as the preset wants it."""
    return write_checkpoint(tmp_path_factory.mktemp("COVIDNet-CXR-S") / "model", Recipe(size=480, bias=-4.1))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="module")
def exported(released: Path, tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """By the very command of the documentation."""
    folder = tmp_path_factory.mktemp("out")
    source = ("--checkpoint", released, "--input", IMAGE, "--output", OUTPUT)
    return folder, run(*source, "-o", folder, "--quantize", "--calibration", tiny_set, *FEW)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """20 drawn phantoms as PNG files."""
    folder = tmp_path_factory.mktemp("scans")
    paths = [folder / f"scan{number:02}.png" for number in range(20)]
    for path, phantom in zip(paths, varied_phantoms(20, seed=4), strict=True):
        Image.fromarray(draw_phantom(replace(phantom, width=500, height=560))).save(path)
    return paths


@pytest.fixture(scope="module")
def expected(released: Path, scans: list[Path]) -> Any:
    """Level 2 by TensorFlow itself, fed as the authors' script does: BGR, 0..1, column 0."""
    images = [prepare(read_image(read_file(path), name=path.name), SPEC)[0, :, :, ::-1] for path in scans]
    return run_graph(released, [image.astype(np.float32) / 255 for image in images])[:, 0]


def test_all_files_are_written_and_what_was_assumed_is_said(exported: tuple[Path, Result]) -> None:
    folder, result = exported
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == [*FILES, "export.json"]
    first = result.stdout.splitlines()[0]
    assert first.startswith("COVIDNet-CXR-S, weights released by its authors, ")
    assert "(preset covidnet-cxr-s): input_1:0 takes 480 x 480 x 3, 0..1, channel order BGR" in first
    assert first.endswith("without the top 8 %; norm_dense_2/Softmax:0 gives level2, level1")


@pytest.mark.parametrize("name", FILES)
def test_card(name: str, exported: tuple[Path, Result]) -> None:
    card = read_model_file(exported[0] / name).card
    assert (card.name, card.labels) == ("covidnet-cxr-s", ("level2", "level1"))
    assert card.input == SPEC
    assert "AGPL" in card.licence
    assert "CC BY-NC-SA" not in card.licence
    assert card.network.startswith("COVIDNet-CXR-S, weights released by its authors, ")
    assert card.training["channel_order"] == "BGR; fed gray, so that RGB and BGR are the same"
    assert (card.training["input"], card.training["input_range"]) == (IMAGE, "0..1")
    assert len(card.training["files"]["model.meta"]) == 64
    if card.precision == "int8":
        assert len(card.quantization["calibration_ids"]) == 5


@pytest.mark.parametrize("entry", ENGINES, ids=lambda entry: entry.name)
def test_float_files_answer_as_the_graph(
    entry: Any, exported: tuple[Path, Result], scans: list[Path], expected: Any
) -> None:
    pytest.importorskip(entry.package() or entry.packages[0])
    grader = Grader.open(exported[0] / f"covidnet-cxr-s-float32.{entry.kind}", engine=entry.name)
    found = [grader.grade(path).probabilities["level2"] for path in scans]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected) > 0.25


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_int8_files_answer_nearly_so(
    kind: str, exported: tuple[Path, Result], scans: list[Path], expected: Any
) -> None:
    grader = Grader.open(exported[0] / f"covidnet-cxr-s-int8.{kind}")
    found = np.array([grader.grade(path).probabilities["level2"] for path in scans])
    assert 1e-5 < np.abs(found - expected).max() < 0.15
    assert np.ptp(expected) > 0.25


def test_predict_maps_the_labels(exported: tuple[Path, Result], scans: list[Path], expected: Any) -> None:
    paths = [str(path) for path in scans]
    command = ["predict", *paths, "--model", str(exported[0] / FILES[1]), "--format", "json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    grades = [json.loads(line) for line in result.stdout.splitlines()]
    assert [grade["level"] for grade in grades] == [2 if p >= 0.5 else 1 for p in expected]
    assert {grade["level"] for grade in grades} == {1, 2}
    np.testing.assert_allclose([grade["probabilities"]["level2"] for grade in grades], expected, atol=1e-5)


def test_another_network_needs_its_facts(small: Path, tmp_path: Path) -> None:
    result = run("--checkpoint", small, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "the preset's network takes 480 x 480 pixels" in result.stderr
    assert not (tmp_path / "out").exists()
    facts = ("--preset", "none", "--labels", "level1,level2", "--input-range", "-1..1", "--crop-top", "0.1")
    tensors = ("--input", IMAGE, "--output", OUTPUT)
    result = run("--checkpoint", small, "-o", tmp_path / "out", *facts, *tensors, *FEW)
    assert result.exit_code == 0, result.output
    card = read_model_file(tmp_path / "out" / "model-float32.onnx").card
    assert (card.labels, card.input.crop_top, card.input.size) == (("level1", "level2"), 0.1, 64)
    assert card.training["input_range"] == "-1..1"
    assert "not stated" in card.licence


def test_h5_through_the_command(tiny_set: Path, tmp_path: Path) -> None:
    image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    levels = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(image, levels).save(tmp_path / "ours.h5")
    facts = ("--labels", "level2,level1", "--input-range", "0..1")
    options = ("--quantize", "--calibration", tiny_set, *FEW, "--name", "mine")
    result = run(tmp_path / "ours.h5", "-o", tmp_path / "out", *facts, *options)
    assert result.exit_code == 0, result.output
    card = read_model_file(tmp_path / "out" / "mine-int8.tflite").card
    assert card.network == "Keras .h5 file ours.h5, 122 parameters"
    assert card.labels == ("level2", "level1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m.h5", "--checkpoint", "d/model"), "MODEL m.h5 and --checkpoint d/model: name one of them"),
        (("m.keras", "--output", "out"), "the folder to write is -o"),
        (("m.keras", "--labels", "level1,level2"), "--labels: for a --checkpoint, a SavedModel folder or"),
        (("m.h5",), "name --input-range and --labels, or a --preset"),
        (("m.h5", "--labels", "level1,level2"), "name --input-range and --labels, or a --preset"),
        (("m.h5", "--head", "flatten"), "--head flatten: only a .keras model of `train` has two heads"),
        (("--checkpoint", "d/model", "--preset", "none", "--labels", "level1,level2", "--input-range", "0..1"),
         "needs --input and --output"),
    ],
)  # fmt: skip
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())


def test_labels_that_are_no_levels(small: Path) -> None:
    result = run("--checkpoint", small, "--labels", "positive,negative")
    assert result.exit_code == 1
    assert "Error: labels 'positive,negative'; expected level1,level2 in the order" in result.stderr


@pytest.mark.slow
def test_the_whole_network(scans: list[Path], tmp_path: Path) -> None:
    """COVID-Net CXR-S with the weights of this repository and the published head, as the authors' files are."""
    model = resize_network(load_model(released_checkpoint())[0], 480, head="flatten")
    prefix = write_as_tf1(model, tmp_path / "model")
    options = ("--quantize", "--calibration-images", "20", "--verification-images", "20")
    result = run("--checkpoint", prefix, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert f"{model.count_params():,} parameters" in result.stdout
    pixels = [prepare(read_image(read_file(path), name=path.name), SPEC) for path in scans]
    expected = [float(model.predict_on_batch(image.astype(np.float32))[0, 1]) for image in pixels]
    assert np.ptp(expected) > 0.25
    # So deep a network rounds: TensorFlow's own graph and Keras forms of it differ by 2e-5.
    graph = run_graph(prefix, [image[0].astype(np.float32) / 255 for image in pixels])[:, 0]
    np.testing.assert_allclose(graph, expected, atol=1e-4)
    for entry in ENGINES:
        grader = Grader.open(tmp_path / "out" / f"covidnet-cxr-s-float32.{entry.kind}", engine=entry.name)
        found = [grader.grade(path).probabilities["level2"] for path in scans]
        np.testing.assert_allclose(found, graph, atol=1e-4)
