"""From bytes to a grade: the composed stops, and the decision by hand-computed values."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FULL

from cxrs_edge import CxrsError, Grade, Grader
from cxrs_edge.card import Calibration, ModelCard
from cxrs_edge.engines import registry
from cxrs_edge.engines.registry import choose_engine
from cxrs_edge.errors import EngineError, ImageError, ModelError
from cxrs_edge.grade import EngineInfo, Failure, ModelInfo, grade
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import InputSpec, prepare


def card_of(labels=("level1", "level2"), temperature=1.0):
    return ModelCard(
        name="hand",
        version="1",
        network="",
        precision="float32",
        input=InputSpec(size=32, crop_top=0.0),
        outputs={"probabilities": ""},
        labels=labels,
        licence="",
        intended_use="",
        base_bytes=1,
        sha256="",
        calibration=Calibration(temperature=temperature),
        gate="none",
    )


def outputs_of(*values):
    return {"probabilities": np.array([values], np.float32)}


def test_uncalibrated_probabilities_are_those_of_the_network():
    decision = grade(outputs_of(0.25, 0.75), card_of())
    assert (decision.outcome, decision.level, decision.notes) == ("graded", 2, ())
    assert decision.probabilities == pytest.approx({"level1": 0.25, "level2": 0.75})


def test_temperature_divides_the_logit_margin():
    # 0.9 : 0.1 = 9, whose square root is 3 = 0.75 : 0.25.
    decision = grade(outputs_of(0.9, 0.1), card_of(temperature=2.0))
    assert decision.level == 1
    assert decision.probabilities == pytest.approx({"level1": 0.75, "level2": 0.25})


def test_columns_are_read_in_the_order_of_the_labels():
    decision = grade(outputs_of(0.75, 0.25), card_of(labels=("level2", "level1")))
    assert decision.level == 2
    assert decision.probabilities == pytest.approx({"level1": 0.25, "level2": 0.75})
    assert list(decision.probabilities) == ["level1", "level2"]


def test_an_even_image_is_level_2():
    assert grade(outputs_of(0.5, 0.5), card_of()).level == 2


def test_a_probability_of_zero_is_taken_as_a_ten_millionth():
    decision = grade(outputs_of(0.0, 1.0), card_of())
    assert decision.probabilities["level1"] == pytest.approx(1e-7, rel=1e-4)
    cooled = grade(outputs_of(0.0, 1.0), card_of(temperature=1e-3))
    assert cooled.probabilities == {"level1": 0.0, "level2": 1.0}


@given(
    level2=st.floats(0, 1, width=32),
    temperature=st.floats(0.05, 20),
    swapped=st.booleans(),
)
def test_temperature_never_changes_the_level(level2, temperature, swapped):
    labels = ("level2", "level1") if swapped else ("level1", "level2")
    values = (level2, 1 - level2) if swapped else (1 - level2, level2)
    decision = grade(outputs_of(*values), card_of(labels, temperature))
    probabilities = decision.probabilities
    assert decision.level == grade(outputs_of(*values), card_of(labels)).level
    assert sum(probabilities.values()) == pytest.approx(1)
    likelier = 2 if probabilities["level2"] >= probabilities["level1"] else 1
    assert decision.level == likelier


@pytest.mark.parametrize(
    "values", [(math.nan, 0.5), (-3.0, 0.5), (0.5, 5.0), (0.5, math.inf), (0.2, 0.3, 0.5), (1.0,)]
)
def test_what_is_no_probability_is_refused(values):
    with pytest.raises(EngineError, match="model hand: output probabilities: got"):
        grade(outputs_of(*values), card_of())


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_the_stops_are_composed(write_model, expected_level2, draw_xray, kind):
    path = draw_xray()
    grader = Grader.open(write_model(kind), threads=1)
    result = grader.grade(path)
    pixels = prepare(read_image(read_file(path), name="same"), grader.card.input)
    level2 = expected_level2(pixels)
    assert result.probabilities["level2"] == pytest.approx(level2, abs=1e-5)
    assert result.level == 1
    assert result.source == str(path)
    assert result.model == ModelInfo("tiny", "1.2", "float32", grader.card.sha256)
    assert len(result.model.sha256) == 64
    assert result.engine == EngineInfo(choose_engine("auto", kind).name, grader.engine.version, 1)
    assert list(result.timing_ms) == ["read", "prepare", "infer"]
    assert all(0 < ms < 10_000 for ms in result.timing_ms.values())


def test_the_card_decides_crop_and_temperature(write_model, draw_xray):
    path = draw_xray()
    plain = Grader.open(write_model("onnx"))
    mild = Grader.open(write_model("onnx", card={"temperature": 4.0}))
    margin = math.log(plain.grade(path).probabilities["level2"]) - math.log(
        plain.grade(path).probabilities["level1"]
    )
    expected = 1 / (1 + math.exp(-margin / 4))
    assert mild.grade(path).probabilities["level2"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_all_outputs_reach_the_grade(write_model, expected_outputs, draw_xray, kind):
    grader = Grader.open(write_model(kind, **FULL), threads=1)
    examined = grader.examine(draw_xray())
    expected = expected_outputs(examined.pixels)
    assert list(examined.grade.zones) == list("abcdef")
    assert list(examined.grade.zones.values()) == pytest.approx(expected["zones"][0], abs=1e-5)
    extents = (examined.grade.geographic, examined.grade.opacity)
    assert extents == pytest.approx(expected["extents"][0], abs=1e-4)
    # For who explains a grade: what the network saw, and what each cell of it adds to the margin.
    assert (examined.pixels.dtype, examined.pixels.shape) == (np.uint8, (1, 64, 64, 3))
    np.testing.assert_allclose(examined.outputs["evidence"], expected["evidence"], atol=1e-5)
    margin = math.log(examined.grade.probabilities["level2"] / examined.grade.probabilities["level1"])
    assert examined.outputs["evidence"].sum() == pytest.approx(margin, abs=1e-4)
    plain = dataclasses.replace(grader.grade(draw_xray()), timing_ms={})
    assert plain == dataclasses.replace(examined.grade, timing_ms={})


def test_a_model_without_more_outputs_gives_none(write_model, draw_xray):
    result = Grader.open(write_model("onnx")).grade(draw_xray())
    assert (result.zones, result.geographic, result.opacity) == (None, None, None)


def test_bytes_and_paths_give_the_same_grade(write_model, draw_xray):
    path = draw_xray()
    grader = Grader.open(write_model("onnx"))
    assert grader.grade(path.read_bytes()).source == "image"
    assert grader.grade(path.read_bytes(), name="patient 7").source == "patient 7"
    assert grader.grade(path, name="patient 7").source == "patient 7"
    same = dataclasses.replace(grader.grade(path), source="x", timing_ms={})
    assert same == dataclasses.replace(grader.grade(path.read_bytes(), name="x"), source="x", timing_ms={})


def test_notes_tell_how_the_image_was_read(write_model, tmp_path):
    from PIL import Image

    path = tmp_path / "red.png"
    Image.new("RGB", (80, 80), (200, 10, 10)).save(path)
    assert Grader.open(write_model("onnx")).grade(path).notes == ("colour image, turned to gray",)


def test_notes_tell_of_an_engine_that_this_cpu_makes_doubtful(write_model, draw_xray, monkeypatch):
    monkeypatch.setattr(registry, "has_vnni", lambda: False)
    monkeypatch.setattr(registry.platform, "machine", lambda: "x86_64")
    tiny = Grader.open(write_model("onnx"), "onnx", 1)
    openvino = SimpleNamespace(name="openvino", version="1", threads=1, infer=tiny.engine.infer)
    (note,) = Grader(dataclasses.replace(tiny.card, precision="int8"), openvino).grade(draw_xray()).notes
    assert note.startswith("openvino: no VNNI found in this CPU")
    assert Grader(tiny.card, openvino).grade(draw_xray()).notes == ()


def test_errors_name_the_image(write_model, tmp_path):
    grader = Grader.open(write_model("onnx"))
    with pytest.raises(ImageError, match=r"nowhere\.png: can't be read: No such file"):
        grader.grade(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match=r"^ward 3: not an image"):
        grader.grade(b"not an image at all", name="ward 3")


@pytest.mark.parametrize("stop", ["read_file", "read_image", "prepare"])
def test_an_image_too_large_for_the_memory(write_model, draw_xray, monkeypatch, stop):
    def exhausted(*_arguments, **_options):
        raise MemoryError

    monkeypatch.setattr(f"cxrs_edge.intake.{stop}", exhausted)
    with pytest.raises(ImageError, match=r"scan\.png: too large for this machine's memory"):
        Grader.open(write_model("onnx")).grade(draw_xray())


def test_a_large_jpeg_is_decoded_at_a_reduced_scale(write_model, draw_xray, monkeypatch):
    seen = {}

    def spy(data, **options):
        seen.update(options)
        return read_image(data, **options)

    monkeypatch.setattr("cxrs_edge.intake.read_image", spy)
    Grader.open(write_model("onnx")).grade(draw_xray("scan.jpg", (512, 512)))
    assert seen["at_least"] == 32


def test_any_engine_will_do(draw_xray):
    asked = []

    def infer(pixels):
        asked.append((pixels.shape, pixels.dtype))
        return outputs_of(0.1, 0.9)

    engine = SimpleNamespace(name="mine", version="0", threads=3, infer=infer)
    result = Grader(card_of(), engine).grade(draw_xray())
    assert asked == [((1, 32, 32, 3), np.dtype(np.uint8))]
    assert result.level == 2
    assert result.engine == EngineInfo("mine", "0", 3)


@pytest.mark.parametrize("engine", ["auto", "tflite", "onnx"])
def test_the_bundled_model(draw_chest, engine):
    grader = Grader.bundled(engine, threads=2)
    result = grader.grade(draw_chest(size=(600, 700)))
    assert isinstance(result, Grade)
    assert result.engine.name == choose_engine(engine).name
    assert result.engine.threads == 2
    assert result.model.precision == "int8"
    assert result.level == (2 if result.probabilities["level2"] >= 0.5 else 1)
    assert sum(result.probabilities.values()) == pytest.approx(1)


def test_a_model_that_is_none(tmp_path):
    with pytest.raises(ModelError, match=r"none\.tflite: no such file"):
        Grader.open(tmp_path / "none.tflite")
    with pytest.raises(CxrsError, match="engine cuda: doesn't run any model"):
        Grader.bundled("cuda")


def test_a_failure_keeps_the_kind_of_its_error():
    failure = Failure.of("a.png", ImageError("a.png: damaged"))
    assert failure == Failure(source="a.png", kind="image", message="a.png: damaged")


def test_of_random_weights_no_level_is_told():
    card = dataclasses.replace(card_of(), training={"weights": "random", "seed": 0})
    decision = grade(outputs_of(0.25, 0.75), card)
    assert (decision.outcome, decision.level) == ("rejected", None)
    assert decision.probabilities == pytest.approx({"level1": 0.25, "level2": 0.75})
    assert decision.notes == ("model hand was never trained: its weights are random, for benchmarks only",)
    assert not card.is_trained
    assert dataclasses.replace(card, training={"weights": "tuned"}).is_trained
