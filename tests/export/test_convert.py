"""Converted files run on the real engines and answer as Keras does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("tensorflow")

import keras
from ai_edge_litert.interpreter import Interpreter

from cxrs_edge.card import ModelCard
from cxrs_edge.engines.registry import open_engine
from cxrs_edge.model_file import Kind, read_model_file, with_card
from cxrs_edge.prepare import InputSpec
from cxrs_export import network
from cxrs_export.convert import to_onnx, to_tflite
from cxrs_export.network import Widths, build_network

SIZE = 64
CONVERTERS = {"tflite": to_tflite, "onnx": to_onnx}


def random_pixels(count: int, size: int, channels: int, seed: int = 5) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (1, size, size, channels), np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """The real graph with few channels, so that it converts in seconds, and random batch norm."""
    keras.utils.set_random_seed(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "STAGE_CHANNELS", (8, 16, 24, 32))
        made = build_network(size=SIZE, widths=Widths((4, 6, 8, 10), 2))
    rng = np.random.default_rng(3)
    for weight in made.weights:
        if len(weight.shape) == 1:
            low, high = (-0.2, 0.2) if weight.name in ("beta", "moving_mean") else (0.4, 1.2)
            weight.assign(rng.uniform(low, high, weight.shape))
    made.get_layer("logits").kernel.assign(rng.normal(0, 0.1, (32, 2)))
    return made


@pytest.fixture(scope="module")
def converted(model: keras.Model) -> dict[str, bytes]:
    return {kind: convert(model) for kind, convert in CONVERTERS.items()}


def write(folder: Path, base: bytes, kind: Kind, spec: InputSpec, outputs: dict[str, str]) -> Path:
    card = ModelCard(
        name="converted",
        version="0",
        network="test",
        precision="float32",
        input=spec,
        outputs=outputs,
        labels=("level1", "level2"),
        licence="CC0-1.0",
        intended_use="tests",
        base_bytes=0,
        sha256="",
    )
    path = folder / f"converted.{kind}"
    path.write_bytes(with_card(base, card, kind))
    return path


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_engine_answers_as_keras(
    kind: Kind, model: keras.Model, converted: dict[str, bytes], tmp_path: Path
) -> None:
    path = write(tmp_path, converted[kind], kind, InputSpec(size=SIZE), {"probabilities": "levels"})
    engine = open_engine(read_model_file(path), kind, threads=1)
    answers = []
    for pixels in random_pixels(5, SIZE, 3):
        expected = np.asarray(model(pixels.astype(np.float32), training=False))
        found = engine.infer(pixels)["probabilities"]
        assert found.shape == (1, 2)
        assert found == pytest.approx(expected, abs=1e-4)
        answers.append(expected[0, 1])
    # Equal constants would agree as well.
    assert np.ptp(answers) > 1e-2
    assert 0.01 < min(answers) < max(answers) < 0.99


def test_tflite_names_and_shapes(converted: dict[str, bytes]) -> None:
    runner = Interpreter(model_content=converted["tflite"]).get_signature_runner()
    ((name, details),) = runner.get_input_details().items()
    assert (name, details["shape"].tolist(), details["dtype"]) == ("image", [1, SIZE, SIZE, 3], np.float32)
    ((name, details),) = runner.get_output_details().items()
    assert (name, details["shape"].tolist(), details["dtype"]) == ("probabilities", [1, 2], np.float32)


def test_onnx_names_shapes_and_opset(converted: dict[str, bytes]) -> None:
    graph = onnx.load_from_string(converted["onnx"])
    onnx.checker.check_model(graph, full_check=True)
    assert {opset.domain: opset.version for opset in graph.opset_import if opset.domain == ""} == {"": 17}
    assert [(v.name, dimensions(v)) for v in graph.graph.input] == [("image", [1, SIZE, SIZE, 3])]
    assert [(v.name, dimensions(v)) for v in graph.graph.output] == [("probabilities", [1, 2])]


def dimensions(value: onnx.ValueInfoProto) -> list[int]:
    tensor = value.type.tensor_type
    assert tensor.elem_type == onnx.TensorProto.FLOAT
    return [dimension.dim_value for dimension in tensor.shape.dim]


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_several_outputs_keep_their_names(kind: Kind, tmp_path: Path) -> None:
    """One of them feeds another, and their order isn't the alphabet's."""
    image = keras.Input((32, 32, 1), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    zones = keras.layers.Dense(6, activation="sigmoid", bias_initializer="ones", name="zones")(pooled)
    probabilities = keras.layers.Dense(2, activation="softmax", name="probabilities")(zones)
    model = keras.Model(image, [zones, probabilities])
    outputs = {"probabilities": "levels", "zones": "opacity of six zones"}
    path = write(tmp_path, CONVERTERS[kind](model), kind, InputSpec(size=32, channels=1), outputs)
    engine = open_engine(read_model_file(path), kind, threads=1)
    (pixels,) = random_pixels(1, 32, 1)
    found = engine.infer(pixels)
    expected_zones, expected = model(pixels.astype(np.float32))
    assert found["probabilities"] == pytest.approx(np.asarray(expected), abs=1e-6)
    assert found["zones"] == pytest.approx(np.asarray(expected_zones), abs=1e-6)
