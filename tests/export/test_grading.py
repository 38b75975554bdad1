"""A Keras model and the files exported from it say the same of a labelled set, and what the formula says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from cxrs_bench.labelled import LabelledSet, in_split, read_labelled
from cxrs_edge.errors import EngineError, ModelError
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import InputSpec, pixels_needed, prepare
from cxrs_export.exporting import ExportPlan, export_files
from cxrs_export.grading import predict_labelled
from cxrs_export.keras_file import Provenance, save_model
from cxrs_export.representative import RepresentativeSet

TEMPERATURE = 2.5
SPEC = InputSpec(size=64, crop_top=0.1)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Level 2's margin is 9 times the mean gray value, less 3: near 0 for a film."""
    image = keras.Input((64, 64, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(2, name="logits")(x)
    made = keras.Model(image, keras.layers.Softmax(name="probabilities")(logits), name="mean")
    made.get_layer("logits").set_weights([np.array([[-1, 2.0]] * 3), np.array([1.0, -2.0])])
    return made


@pytest.fixture(scope="module")
def files(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graded")
    provenance = Provenance(input=SPEC, temperature=TEMPERATURE)
    save_model(model, folder / "mean.keras", provenance)
    gray = tuple(np.full((1, 64, 64, 3), level, np.uint8) for level in (0, 90, 255))
    plan = ExportPlan("mean", RepresentativeSet(("a", "b", "c"), gray, "gray"))
    export_files(model, provenance, plan, folder)
    suffixes = {"keras": "mean.keras", "tflite": "mean-float32.tflite", "onnx": "mean-float32.onnx"}
    return {kind: folder / name for kind, name in suffixes.items()}


@pytest.fixture
def rows(tiny_set: Path) -> LabelledSet:
    return in_split(read_labelled(tiny_set), "all", levels=(1, 2))


def by_formula(rows: LabelledSet) -> list[float]:
    values = []
    for row in rows:
        image = read_image(read_file(row.path), name=row.image_id, at_least=pixels_needed(SPEC))
        margin = 9 * prepare(image, SPEC).mean() / 255 - 3
        values.append(1 / (1 + math.exp(-margin / TEMPERATURE)))
    return values


@pytest.mark.parametrize("kind", ["keras", "tflite", "onnx"])
def test_every_kind_of_model_follows_the_formula(
    kind: str, files: dict[str, Path], rows: LabelledSet
) -> None:
    calls: list[tuple[str, int, int]] = []
    found = predict_labelled(files[kind], rows, threads=1, report=lambda *call: calls.append(call))
    expected = by_formula(rows)
    assert np.ptp(expected) > 0.02
    assert found.level2.tolist() == pytest.approx(expected, abs=1e-5)
    assert found.names == ("t00", "t01", "t02", "t03", "t04", "t05", "t06", "t09", "t10", "t11")
    assert found.patients == ("p0", "p0", "p1", "p2", "p2", "p3", "p4", "p7", "p8", "p8")
    assert found.levels.tolist() == [1, 2, 2, 1, 1, 2, 2, 1, 2, 2]
    assert calls[0] == ("grading", 1, 10)
    assert calls[-1] == ("grading", 10, 10)


def test_engine_that_does_not_run_the_file(files: dict[str, Path], rows: LabelledSet) -> None:
    with pytest.raises(EngineError, match=r"engine onnx: doesn't run a \.tflite file"):
        predict_labelled(files["tflite"], rows, engine="onnx")


@pytest.mark.parametrize("name", ["absent.keras", "absent.tflite", "absent.txt"])
def test_absent_models(name: str, tmp_path: Path, rows: LabelledSet) -> None:
    with pytest.raises(ModelError, match=f"{name}: no such file"):
        predict_labelled(tmp_path / name, rows)


@pytest.mark.parametrize(("margin", "expected"), [(1000, 1 / (1 + 1e-7)), (-1000, 1e-7 / (1 + 1e-7))])
def test_a_probability_of_0_counts_as_the_devices_smallest(
    margin: float, expected: float, tmp_path: Path, rows: LabelledSet
) -> None:
    """Softmax gives 0 in float32, which has no logarithm; `cxrs_edge.grade` takes 1e-7 in its place."""
    image = keras.Input((64, 64, 3), name="image")
    logits = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(logits))
    model.get_layer("logits").set_weights([np.zeros((3, 2)), np.array([0.0, margin])])
    save_model(model, tmp_path / "sure.keras", Provenance(input=SPEC))
    found = predict_labelled(tmp_path / "sure.keras", rows).level2
    assert found == pytest.approx([expected] * len(rows), abs=1e-9)
