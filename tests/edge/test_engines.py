"""Which engine runs what, and what one engine has of its own; what all must do is in test_conformance.py."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from cxrs_edge.engines import onnx, registry
from cxrs_edge.engines.preference import by_preference, has_vnni
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


@pytest.mark.parametrize("vnni", [True, False])
def test_onnxruntime_takes_exact_kernels_only_where_the_fast_ones_saturate(monkeypatch, vnni):
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx, "has_vnni", lambda: vnni)
    options = onnx.session_options(runtime, threads=1)
    if vnni:
        with pytest.raises(RuntimeError):
            options.get_session_config_entry("session.x64quantprecision")
    else:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"


def test_onnxruntimes_threads_leave_the_cores_to_decoding_between_inferences():
    runtime = pytest.importorskip("onnxruntime")
    options = onnx.session_options(runtime, threads=2)
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize("threads", [0, -1, MAX_THREADS + 1, 1.5, True, "2"])
def test_a_number_of_threads_that_makes_no_sense_is_refused(write_model, threads):
    with pytest.raises(EngineError, match=r"threads: got .* expected a whole number from 1 to 256"):
        opened(write_model("onnx"), threads=threads)


def installed(*packages):
    """`find_spec` of a machine that has only these packages."""
    return lambda package: SimpleNamespace() if package in packages else None


@pytest.mark.parametrize(
    ("machine", "vnni", "packages", "order"),
    [
        (
            "x86_64",
            True,
            EVERYTHING,
            ("openvino", "ai_edge_litert", "onnxruntime", "tflite_runtime", "tensorflow"),
        ),
        (
            "x86_64",
            False,
            EVERYTHING,
            ("ai_edge_litert", "onnxruntime", "tflite_runtime", "tensorflow", "openvino"),
        ),
        (
            "aarch64",
            False,
            EVERYTHING,
            ("ai_edge_litert", "onnxruntime", "openvino", "tflite_runtime", "tensorflow"),
        ),
        ("AMD64", True, ("ai_edge_litert", "openvino"), ("openvino", "ai_edge_litert")),
        ("AMD64", False, ("ai_edge_litert", "openvino"), ("ai_edge_litert", "openvino")),
        ("arm64", False, ("ai_edge_litert", "openvino"), ("ai_edge_litert", "openvino")),
        ("armv7l", False, ("tflite_runtime",), ("tflite_runtime",)),
        (
            "aarch64",
            False,
            ("tensorflow", "tflite_runtime", "openvino"),
            ("openvino", "tflite_runtime", "tensorflow"),
        ),
        ("x86_64", False, ("openvino",), ("openvino",)),
        ("x86_64", True, (), ()),
    ],
)
def test_the_order_of_preference(machine, vnni, packages, order):
    assert by_preference(machine, packages, vnni=vnni) == order


# Flags as Linux lists them, shortened.
CASCADE_LAKE = "fpu vme sse4_2 avx2 fma avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni"
SKYLAKE_SERVER = "fpu vme sse4_2 avx2 fma avx512f avx512dq avx512cd avx512bw avx512vl"
ALDER_LAKE = "fpu vme sse4_2 avx2 fma avx_vnni gfni vaes vpclmulqdq"
HASWELL = "fpu vme sse4_2 avx2 fma bmi1 bmi2"
NEWER_ONLY = "fpu avx2 avx_vnni_int8 xavx_vnni"


@pytest.mark.parametrize(
    ("text", "vnni"),
    [
        (f"processor\t: 0\nflags\t\t: {CASCADE_LAKE}\nbugs\t\t: spectre_v1\n\nprocessor\t: 1\n", True),
        (f"processor\t: 0\nflags\t\t: {ALDER_LAKE}\n", True),
        (f"processor\t: 0\nflags\t\t: {SKYLAKE_SERVER}\n", False),
        (f"processor\t: 0\nflags\t\t: {HASWELL}\nmodel name\t: avx512_vnni\n", False),
        (f"flags\t: {NEWER_ONLY}\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", False),
        ("flags", False),
        ("", False),
        (None, False),
    ],
)
def test_vnni_is_read_from_the_flags_and_not_believed_in_without(tmp_path, text, vnni):
    cpuinfo = tmp_path / "cpuinfo"
    if text is not None:
        cpuinfo.write_bytes(text.encode() + b"\xff")
    assert has_vnni(cpuinfo) is vnni


@pytest.fixture
def pretend(monkeypatch):
    """Make this machine another one, with other packages."""

    def pretend(machine, *packages, vnni=True):
        monkeypatch.setattr(registry.platform, "machine", lambda: machine)
        monkeypatch.setattr(registry, "has_vnni", lambda: vnni)
        monkeypatch.setattr(registry, "find_spec", installed(*packages))

    return pretend


@pytest.mark.parametrize(
    ("machine", "vnni", "packages", "any_model", "onnx_model"),
    [
        ("x86_64", True, ("ai_edge_litert", "onnxruntime", "openvino"), "openvino", "openvino"),
        ("x86_64", False, ("ai_edge_litert", "onnxruntime", "openvino"), "tflite", "onnx"),
        ("x86_64", False, ("openvino",), "openvino", "openvino"),
        ("x86_64", True, ("ai_edge_litert", "onnxruntime"), "tflite", "onnx"),
        ("x86_64", True, ("tflite_runtime", "onnxruntime"), "onnx", "onnx"),
        ("aarch64", False, ("ai_edge_litert", "onnxruntime", "openvino"), "tflite", "onnx"),
        ("aarch64", False, ("tensorflow", "openvino"), "openvino", "openvino"),
        ("armv7l", False, ("tflite_runtime",), "tflite", "onnx"),
        ("x86_64", True, (), "tflite", "onnx"),
    ],
)
def test_auto_is_the_fastest_right_engine_that_runs_the_file(
    pretend, machine, vnni, packages, any_model, onnx_model
):
    pretend(machine, *packages, vnni=vnni)
    assert choose_engine().name == any_model
    assert choose_engine("auto", "onnx").name == onnx_model
    assert choose_engine("auto", "tflite").name == "tflite"


def test_available_engines_are_in_order_of_preference(pretend):
    pretend("x86_64", "openvino", "tflite_runtime", "onnxruntime")
    assert [entry.name for entry in available_engines()] == ["openvino", "onnx", "tflite"]


@pytest.mark.parametrize(
    ("name", "precision", "machine", "vnni", "doubted"),
    [
        ("openvino", "int8", "x86_64", False, True),
        ("openvino", "int8", "x86_64", True, False),
        ("openvino", "float32", "x86_64", False, False),
        ("openvino", "int8", "aarch64", False, False),
        ("onnx", "int8", "x86_64", False, False),
        ("tflite", "int8", "x86_64", False, False),
    ],
)
def test_int8_on_openvino_is_doubted_without_vnni(pretend, name, precision, machine, vnni, doubted):
    pretend(machine, vnni=vnni)
    found = registry.doubts(name, precision)
    assert [note.split(" in ")[0] for note in found] == ["openvino: no VNNI found"] * doubted


def test_telemetry_is_off_inside_and_the_host_keeps_what_it_had(monkeypatch):
    mine = ModuleType("openvino_telemetry")
    for before in (None, mine):
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        monkeypatch.delenv("ONEDNN_JIT_PROFILE", raising=False)
        monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
        if before is not None:
            monkeypatch.setitem(sys.modules, "openvino_telemetry", before)
        with without_telemetry(), pytest.raises(ImportError):
            import openvino_telemetry  # noqa: F401
        assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
        assert os.environ["ONEDNN_JIT_PROFILE"] == "0"
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
