"""Both engines on tiny models with answers computed by hand, and on the bundled ones."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from cxrs_edge.engines import registry
from cxrs_edge.engines.registry import available_engines, choose_engine, open_engine
from cxrs_edge.engines.tflite import dequantize, quantize
from cxrs_edge.engines.threads import MAX_THREADS
from cxrs_edge.errors import EngineError, MissingDependency, ModelError
from cxrs_edge.grader import bundled_path
from cxrs_edge.model_file import read_model_file

KINDS = ("tflite", "onnx")


def some_pixels(size=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 200, (1, size, size, channels), dtype=np.uint8)


def opened(path, **arguments):
    return open_engine(read_model_file(path), **arguments)


@pytest.mark.parametrize(
    ("kind", "graph"),
    [
        ("tflite", {"input_type": "uint8"}),
        ("tflite", {"input_type": "uint8", "input_scale": None}),
        ("tflite", {"input_type": "float32"}),
        ("tflite", {"input_type": "int8", "input_zero": -128}),
        ("onnx", {"input_type": "uint8"}),
        ("onnx", {"input_type": "float32"}),
    ],
)
def test_each_input_type_sees_the_same_pixels(write_model, expected_level2, kind, graph):
    engine = opened(write_model(kind, graph))
    for seed in range(3):
        pixels = some_pixels(seed=seed)
        probabilities = engine.infer(pixels)["probabilities"]
        level2 = expected_level2(pixels)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, [[1 - level2, level2]], atol=1e-5)


@pytest.mark.parametrize(("output_type", "zero"), [("int8", -128), ("uint8", 0)])
def test_quantized_outputs_are_dequantized(write_model, expected_level2, output_type, zero):
    engine = opened(write_model("tflite", {"output_type": output_type, "output_zero": zero}))
    pixels = some_pixels()
    probabilities = engine.infer(pixels)["probabilities"]
    assert probabilities.dtype == np.float32
    assert probabilities[0, 1] == pytest.approx(expected_level2(pixels), abs=0.5 / 256 + 1e-6)


def test_quantize_follows_scale_and_zero_point():
    pixels = np.array([0, 1, 100, 255], np.uint8)
    details = {"dtype": np.int8, "quantization": (2.0, -64)}
    assert quantize(pixels, details).tolist() == [-64, -64, -14, 64]
    assert quantize(pixels, details).dtype == np.int8
    narrow = {"dtype": np.int8, "quantization": (1.0, 0)}
    assert quantize(pixels, narrow).tolist() == [0, 1, 100, 127]


def test_dequantize_follows_scale_and_zero_point():
    details = {"dtype": np.int8, "quantization": (0.5, -10)}
    assert dequantize(np.array([-128, -10, 127], np.int8), details).tolist() == [-59.0, 0.0, 68.5]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("card", "graph", "field"),
    [
        ({"size": 64}, {}, "input.size: got 64, but the graph takes 1 x 32 x 32 x 3"),
        ({"channels": 1}, {}, "input.channels: got 1, but the graph takes 1 x 32 x 32 x 3"),
        (
            {"outputs": {"probabilities": "p", "zones": "z"}},
            {},
            "outputs: got zones, but the graph has the outputs probabilities",
        ),
        ({}, {"output_name": "scores"}, "outputs: got probabilities, but the graph has"),
        ({}, {"classes": 3}, "outputs.probabilities: got 1 x 2, but the graph gives 1 x 3"),
    ],
)
def test_a_card_that_disagrees_with_the_graph_is_refused(write_model, kind, card, graph, field):
    path = write_model(kind, graph, card)
    with pytest.raises(ModelError) as caught:
        opened(path)
    assert str(caught.value).startswith(f"{path}: card field {field}")


@pytest.mark.parametrize(
    ("kind", "graph", "message"),
    [
        ("tflite", {"signature": False}, "0 signatures; expected one"),
        ("tflite", {"input_type": "int8", "input_scale": None}, "tensor image: int8 of scale 0; exp"),
        ("onnx", {"input_type": "int8"}, r"tensor image: tensor\(int8\); expected"),
        ("onnx", {"output_type": "float64"}, r"tensor probabilities: tensor\(double\); expected"),
    ],
)
def test_tensors_that_the_engine_cannot_feed_are_refused(write_model, kind, graph, message):
    with pytest.raises(ModelError, match=message):
        opened(write_model(kind, graph))


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_engine_says_while_loading_is_the_cause(write_model, kind):
    path = write_model(kind)
    file = read_model_file(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(EngineError) as caught:
        open_engine(file)
    assert str(caught.value).startswith(f"{path}: can't be loaded: ")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "pixels",
    [some_pixels(size=16), some_pixels(channels=1), some_pixels().astype(np.float32)],
    ids=["size", "channels", "dtype"],
)
def test_pixels_that_the_card_does_not_name_are_refused(write_model, kind, pixels):
    engine = opened(write_model(kind))
    with pytest.raises(EngineError, match="expected uint8, 1 x 32 x 32 x 3; make them with"):
        engine.infer(pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_bundled_model_runs_and_stays_the_same(kind):
    engine = opened(bundled_path(kind), threads=1)
    pixels = some_pixels(size=480)
    first, second = engine.infer(pixels), engine.infer(pixels)
    assert set(first) == {"probabilities"}
    assert first["probabilities"].sum() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(first["probabilities"], second["probabilities"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_threads_are_honoured(kind):
    program = (
        "import os, sys\n"
        "from cxrs_edge.engines.registry import open_engine\n"
        "from cxrs_edge.model_file import read_model_file\n"
        "file = read_model_file(sys.argv[1])\n"
        "tasks = lambda: len(os.listdir('/proc/self/task'))\n"
        "first = open_engine(file, threads=1)\n"
        "alone = tasks()\n"
        "second = open_engine(file, threads=3)\n"
        "print(first.threads, second.threads, tasks() - alone)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(bundled_path(kind))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["1", "3", "2"]


@pytest.mark.parametrize("threads", [0, -1, MAX_THREADS + 1, 1.5, True, "2"])
def test_a_number_of_threads_that_makes_no_sense_is_refused(write_model, threads):
    with pytest.raises(EngineError, match=r"threads: got .* expected a whole number from 1 to 256"):
        opened(write_model("onnx"), threads=threads)


def test_onnx_says_nothing_on_its_own(write_model, capfd):
    path = write_model("onnx")
    opened(path).infer(some_pixels())
    file = read_model_file(path)
    path.write_bytes(b"\xff" * 50)
    with pytest.raises(EngineError):
        open_engine(file)
    assert capfd.readouterr() == ("", "")


def installed(*packages):
    """`find_spec` of a machine that has only these packages."""
    return lambda package: SimpleNamespace() if package in packages else None


def test_auto_is_the_first_installed_engine_of_the_kind(monkeypatch):
    assert available_engines() == ("tflite", "onnx")
    assert choose_engine().name == "tflite"
    assert choose_engine("auto", "onnx").name == "onnx"
    monkeypatch.setattr(registry, "find_spec", installed("onnxruntime"))
    assert available_engines() == ("onnx",)
    assert choose_engine().name == "onnx"


def test_packages_of_tflite_are_tried_in_order(monkeypatch):
    entry = choose_engine("tflite")
    monkeypatch.setattr(registry, "find_spec", installed("tflite_runtime", "tensorflow"))
    assert entry.package() == "tflite_runtime"
    monkeypatch.setattr(registry, "find_spec", installed("tensorflow"))
    assert entry.package() == "tensorflow"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("tflite", "ai_edge_litert: not installed; run: pip install 'cxrs-edge[tflite]'"),
        ("onnx", "onnxruntime: not installed; run: pip install 'cxrs-edge[onnx]'"),
    ],
)
def test_a_missing_engine_is_answered_with_its_pip_line(write_model, monkeypatch, kind, line):
    path = write_model(kind)
    monkeypatch.setattr(registry, "find_spec", installed())
    with pytest.raises(MissingDependency) as caught:
        opened(path)
    assert str(caught.value) == line


def test_an_installed_but_broken_engine_is_no_missing_one(write_model, monkeypatch):
    path = write_model("onnx")
    monkeypatch.setattr("cxrs_edge.extras.importlib.import_module", broken_for("onnxruntime"))
    with pytest.raises(EngineError, match=r"onnxruntime: can't be imported: libfoo\.so") as caught:
        opened(path)
    assert not isinstance(caught.value, MissingDependency)


def broken_for(package):
    import importlib

    real = importlib.import_module

    def import_module(name):
        if name == package:
            raise ImportError("libfoo.so: cannot open shared object file")
        return real(name)

    return import_module


def test_an_engine_is_not_given_a_file_of_another_kind(write_model):
    with pytest.raises(EngineError, match=r"engine onnx: doesn't run a \.tflite file; expected"):
        opened(write_model("tflite"), name="onnx")
    with pytest.raises(EngineError, match="expected auto or tflite or onnx"):
        choose_engine("cuda")
