"""Which engine runs what, and what one engine has of its own; what all must do is in test_conformance.py."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from cxrs_edge.engines import registry
from cxrs_edge.engines.preference import by_preference
from cxrs_edge.engines.registry import available_engines, choose_engine, open_engine
from cxrs_edge.engines.telemetry import without_telemetry
from cxrs_edge.engines.tflite import dequantize, quantize
from cxrs_edge.engines.threads import MAX_THREADS
from cxrs_edge.errors import EngineError, MissingDependency
from cxrs_edge.model_file import read_model_file

EVERYTHING = ("ai_edge_litert", "onnxruntime", "openvino", "tensorflow", "tflite_runtime")


def some_pixels(size=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 200, (1, size, size, channels), dtype=np.uint8)


def opened(path, **arguments):
    return open_engine(read_model_file(path), **arguments)


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


@pytest.mark.parametrize("threads", [0, -1, MAX_THREADS + 1, 1.5, True, "2"])
def test_a_number_of_threads_that_makes_no_sense_is_refused(write_model, threads):
    with pytest.raises(EngineError, match=r"threads: got .* expected a whole number from 1 to 256"):
        opened(write_model("onnx"), threads=threads)


def installed(*packages):
    """`find_spec` of a machine that has only these packages."""
    return lambda package: SimpleNamespace() if package in packages else None


@pytest.mark.parametrize(
    ("machine", "packages", "order"),
    [
        (
            "x86_64",
            EVERYTHING,
            ("openvino", "ai_edge_litert", "onnxruntime", "tflite_runtime", "tensorflow"),
        ),
        (
            "aarch64",
            EVERYTHING,
            ("ai_edge_litert", "onnxruntime", "openvino", "tflite_runtime", "tensorflow"),
        ),
        ("AMD64", ("ai_edge_litert", "openvino"), ("openvino", "ai_edge_litert")),
        ("arm64", ("ai_edge_litert", "openvino"), ("ai_edge_litert", "openvino")),
        ("armv7l", ("tflite_runtime",), ("tflite_runtime",)),
        (
            "aarch64",
            ("tensorflow", "tflite_runtime", "openvino"),
            ("openvino", "tflite_runtime", "tensorflow"),
        ),
        ("x86_64", (), ()),
    ],
)
def test_the_order_of_preference(machine, packages, order):
    assert by_preference(machine, packages) == order


@pytest.mark.parametrize(
    ("machine", "packages", "any_model", "onnx_model"),
    [
        ("x86_64", ("ai_edge_litert", "onnxruntime", "openvino"), "openvino", "openvino"),
        ("x86_64", ("ai_edge_litert", "onnxruntime"), "tflite", "onnx"),
        ("x86_64", ("tflite_runtime", "onnxruntime"), "onnx", "onnx"),
        ("aarch64", ("ai_edge_litert", "onnxruntime", "openvino"), "tflite", "onnx"),
        ("aarch64", ("tensorflow", "openvino"), "openvino", "openvino"),
        ("armv7l", ("tflite_runtime",), "tflite", "onnx"),
        ("x86_64", (), "tflite", "onnx"),
    ],
)
def test_auto_is_the_fastest_installed_engine_that_runs_the_file(
    monkeypatch, machine, packages, any_model, onnx_model
):
    monkeypatch.setattr(registry.platform, "machine", lambda: machine)
    monkeypatch.setattr(registry, "find_spec", installed(*packages))
    assert choose_engine().name == any_model
    assert choose_engine("auto", "onnx").name == onnx_model
    assert choose_engine("auto", "tflite").name == "tflite"


def test_available_engines_are_in_order_of_preference(monkeypatch):
    monkeypatch.setattr(registry.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(registry, "find_spec", installed("openvino", "tflite_runtime", "onnxruntime"))
    assert [entry.name for entry in available_engines()] == ["openvino", "onnx", "tflite"]


def test_telemetry_is_off_inside_and_the_host_keeps_what_it_had(monkeypatch):
    mine = ModuleType("openvino_telemetry")
    for before in (None, mine):
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
        if before is not None:
            monkeypatch.setitem(sys.modules, "openvino_telemetry", before)
        with without_telemetry(), pytest.raises(ImportError):
            import openvino_telemetry  # noqa: F401
        assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
        assert sys.modules.get("openvino_telemetry") is before


def test_packages_of_tflite_are_tried_in_order(monkeypatch):
    entry = choose_engine("tflite")
    monkeypatch.setattr(registry, "find_spec", installed("tflite_runtime", "tensorflow"))
    assert entry.package() == "tflite_runtime"
    monkeypatch.setattr(registry, "find_spec", installed("tensorflow"))
    assert entry.package() == "tensorflow"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tflite", "ai_edge_litert: not installed; run: pip install 'cxrs-edge[tflite]'"),
        ("onnx", "onnxruntime: not installed; run: pip install 'cxrs-edge[onnx]'"),
        ("openvino", "openvino: not installed; run: pip install 'cxrs-edge[openvino]'"),
    ],
)
def test_a_missing_engine_is_answered_with_its_pip_line(write_model, monkeypatch, name, line):
    path = write_model(choose_engine(name).kind)
    monkeypatch.setattr(registry, "find_spec", installed())
    with pytest.raises(MissingDependency) as caught:
        opened(path, name=name)
    assert str(caught.value) == line


def test_an_installed_but_broken_engine_is_no_missing_one(write_model, monkeypatch):
    path = write_model("onnx")
    monkeypatch.setattr("cxrs_edge.extras.importlib.import_module", broken_for("onnxruntime"))
    with pytest.raises(EngineError, match=r"onnxruntime: can't be imported: libfoo\.so") as caught:
        opened(path, name="onnx")
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
    with pytest.raises(EngineError, match="expected auto or tflite or onnx or openvino"):
        choose_engine("cuda")
