"""Profilers and peaks: what is read is computed by hand, what is run are the real engines."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cxrs_bench.complexity import Complexity, OperatorCost, count_file
from cxrs_bench.probing import groups, litert_profiler, peaks
from cxrs_bench.probing.apart import call_apart
from cxrs_bench.probing.events import PROFILERS, Event, mean_events, profile
from cxrs_bench.probing.groups import group_events, match_costs
from cxrs_bench.probing.onnx_profiler import read_trace
from cxrs_bench.probing.openvino_profiler import without_first
from cxrs_bench.probing.synthetic import LAYERS, Gemm, add_onnx, add_tflite, gemm_onnx, gemm_tflite
from cxrs_edge.errors import DataError, EngineError, MissingDependency
from cxrs_edge.grader import BUNDLED

PACKAGES = {"tflite": "ai_edge_litert", "onnx": "onnxruntime", "openvino": "openvino"}


def _sum(*numbers: int) -> int:
    return sum(numbers)


def _raise(error: Exception) -> None:
    raise error


def _end(how: str) -> None:
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "leave":
        os._exit(3)
    os.write(1, b"noise on standard output")
    time.sleep(60)


def test_a_call_apart_answers_or_says_how_it_ended(capfd: pytest.CaptureFixture[str]) -> None:
    assert call_apart(_sum, 1, 2, 3) == 6
    with pytest.raises(DataError, match=r"^the file$"):
        call_apart(_raise, DataError("the file"))
    with pytest.raises(EngineError, match=r"^RuntimeError: of two lines$"):
        call_apart(_raise, RuntimeError("of two\nlines"))
    with pytest.raises(EngineError, match="SIGSEGV"):
        call_apart(_end, "crash")
    with pytest.raises(EngineError, match="status 3"):
        call_apart(_end, "leave")
    with pytest.raises(EngineError, match=r"no answer within 0\.5 s"):
        call_apart(_end, "hang", seconds=0.5)
    assert capfd.readouterr() == ("", "")


def test_onnx_runtime_trace() -> None:
    def run(start: int, first: int, second: int) -> list[dict[str, Any]]:
        return [
            {"name": "conv_kernel_time", "ts": start + 1, "dur": first, "args": {"op_name": "QLinearConv"}},
            {"name": "conv_fence_before", "ts": start + 1, "dur": 900, "args": {"op_name": "QLinearConv"}},
            {"name": "add_kernel_time", "ts": start + 2, "dur": second, "args": {"op_name": "QLinearAdd"}},
            {"name": "model_run", "ts": start, "dur": first + second, "args": {}},
        ]

    events = read_trace([*run(0, 9000, 9000), *run(100, 1000, 40), *run(200, 3000, 60)], skip=1)
    assert [event.ms for event in events] == [1.0, 0.04, 3.0, 0.06]
    assert mean_events(events, 2) == (Event("conv", "QLinearConv", 2.0), Event("add", "QLinearAdd", 0.05))


def test_openvino_tells_the_mean_since_compiling() -> None:
    """Two inferences after the first of 239 us, with a mean of 115 us over all three: 345 - 239 = 106, 53 each."""
    first = [Event("pool", "MaxPool", 0.239), Event("gone", "Reorder", 5.0)]
    together = [Event("pool", "MaxPool", 0.115), Event("late", "Softmax", 0.01)]
    pool, late = without_first(first, together, 2)
    assert pool.ms == pytest.approx(0.053)
    assert late.ms == pytest.approx(0.01)


SUMMARY = """
======================== Run Order ========================
       [node type]  [start]  [first] [avg ms]     [%]  [cdf%]  [mem KB] [times called] [Name]
  Delegate/Convert (NC)    0.000    0.037    0.040   0.057%   0.057%     0.000       2   [Delegate/Convert (NC)]:0
  Delegate/Fully Connected (NC, QS8, QC8W) GEMM   0.1  0.080  0.081  0.1%  6.2%  0.0   2   [Delegate/Fully GEMM]:1
  SOFTMAX    0.000    0.002    0.003   0.001%   100.000%     0.000       2   [StatefulPartitionedCall_1:0]:70
  TfLiteXNNPackDelegate       0.0    9.9   9.9  99%  99%  0.0   2   not a row of an operator

======================== Top by Computation Time ========================
  Delegate/Fully Connected (NC, QS8, QC8W) GEMM   0.1  0.080  0.081  0.1%  6.2%  0.0   2   [Delegate/Fully GEMM]:1
"""


def test_litert_summary() -> None:
    events = litert_profiler.read_summary(
        SUMMARY.replace("\n  TfLiteXNN", "\n  #").replace("not a row", "") + "?"
    )
    assert events[:3] == (
        Event("Convert (NC)", "Convert (NC)", 0.04),
        Event("Fully GEMM", "Fully Connected (NC, QS8, QC8W) GEMM", 0.081),
        Event("StatefulPartitionedCall_1:0", "SOFTMAX", 0.003),
    )
    assert litert_profiler.read_summary("") == litert_profiler.read_summary("\x00 nonsense %% 1 2 3") == ()


def test_litert_without_the_function_has_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert")
    library = litert_profiler._Library()
    with pytest.raises(EngineError, match="no LiteRtReadMinds"):
        library.call("ReadMinds")
    with pytest.raises(EngineError, match=r"CreateModelFromFile .* failed with status"):
        library.make("CreateModelFromFile", library.make("CreateEnvironment", 0, None), b"/no/such/file")
    monkeypatch.setattr(litert_profiler, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency):
        litert_profiler._Library()


def _cost(name: str, form: Any = "1x1", *tensors: str) -> OperatorCost:
    return OperatorCost(name, "Conv", 10, 1, (1,), form, 1, 1, tensors)


ROWS = (
    _cost("stem", "spatial"),
    _cost("a"),
    _cost("b", "depthwise", "b:0", "b_relu:0"),
    _cost("head", "dense"),
)


def _matched(*events: Event) -> dict[int, str]:
    return {index: cost.name for index, cost in match_costs(events, ROWS).items()}


def test_events_are_found_by_name_whatever_the_order() -> None:
    events = [
        Event("b_relu:0_nchwc", "Conv", 1),
        Event("a_token_17", "QLinearConv", 1),
        Event("a_plus", "QLinearAdd", 1),
        Event("stem/WithoutBiases", "Convolution brgconv", 1),
        Event("head", "MatMul", 1),
    ]
    assert _matched(*events) == {0: "b", 1: "a", 3: "stem", 4: "head"}


def test_events_without_known_names_are_found_by_their_order() -> None:
    convolutions = [Event(f"Delegate {i}", "Convolution (NHWC, QC8) IGEMM", 1) for i in range(3)]
    dense = Event("x", "Fully Connected (NC, QS8, QC8W) GEMM", 1)
    assert _matched(*convolutions, dense) == {0: "stem", 1: "a", 2: "b", 3: "head"}
    # What is left after the names, in order.
    assert _matched(convolutions[0], Event("a", "Conv", 1), convolutions[1], dense)[2] == "b"


def test_events_of_another_number_are_not_guessed() -> None:
    convolutions = [Event(f"Delegate {i}", "Convolution (NHWC, QC8) IGEMM", 1) for i in range(5)]
    assert _matched(*convolutions) == {}
    # Two halves of one operator are neither of them it.
    assert _matched(Event("a", "Conv", 1), Event("a_token_3", "Conv", 1)) == {}


def test_groups_by_what_an_event_is() -> None:
    complexity = Complexity(parameters=0, macs=40, rows=ROWS)
    named = {
        "stem": groups.STEM, "a": groups.POINTWISE, "b": groups.DEPTHWISE, "head": groups.HEAD,
        "batch_mul_nchwc": groups.SCALE, "unknown convolution": groups.UNKNOWN,
    }  # fmt: skip
    timed = group_events([Event(name, "Conv", 1) for name in named], complexity)
    assert {one.event.name: one.group for one in timed} == named
    words = {
        "Add (ND)": groups.ADD, "QLinearAdd": groups.ADD, "Subgraph jit_avx512_f32": groups.SCALE,
        "Multiply (ND)": groups.SCALE, "Max Pooling (NHWC, S8)": groups.POOL, "QLinearGlobalAveragePool": groups.POOL,
        "ReduceMean jit": groups.POOL, "Convert (NC)": groups.REFORMAT, "ReorderOutput": groups.REFORMAT,
        "DequantizeLinear": groups.REFORMAT, "Constant Pad (ND, X32)": groups.REFORMAT, "Softmax": groups.HEAD,
        "Copy (NC, X8)": groups.CONCAT, "QLinearConcat": groups.CONCAT, "Mystery": groups.OTHER,
    }  # fmt: skip
    timed = group_events([Event("?", operator, 1) for operator in words], complexity)
    assert {one.event.operator: one.group for one in timed} == words


@pytest.mark.parametrize("engine", PROFILERS)
def test_every_operator_of_the_bundled_model_is_found_on_every_engine(engine: str) -> None:
    """72 convolutions and products, of which 52 are 1x1, 16 depthwise and 3 dense layers of the heads."""
    pytest.importorskip(PACKAGES[engine])
    path = BUNDLED / f"cxrs-int8.{'tflite' if engine == 'tflite' else 'onnx'}"
    found = profile(path, engine, 1, 1)
    timed = group_events(found.events, count_file(path))
    costs = [one.cost for one in timed if one.cost is not None]
    # OpenVINO calls two of the dense layers by the additions that it melts into them.
    assert len({id(cost) for cost in costs}) == len(costs) == (70 if engine == "openvino" else 72)
    count = [one.group for one in timed].count
    assert (count(groups.STEM), count(groups.POINTWISE), count(groups.DEPTHWISE)) == (1, 52, 16)
    assert count(groups.UNKNOWN) == 0
    # Sixteen sums of feature maps, and up to three small ones in the heads; OpenVINO melts them into convolutions.
    assert count(groups.ADD) in (0, *range(16, 20))
    assert found.wall_ms > 0
    assert all(event.ms >= 0 for event in found.events)


@pytest.mark.parametrize("engine", PROFILERS)
def test_a_file_that_an_engine_can_not_run_has_no_profile(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[engine])
    path = tmp_path / "broken"
    path.write_bytes(b"no model")
    with pytest.raises(EngineError):
        profile(path, engine, 1, 1)


def test_an_engine_without_a_profiler_is_named() -> None:
    with pytest.raises(EngineError, match="abacus: has no profiler"):
        profile(Path("x"), "abacus", 1, 1)


GEMM = Gemm(16, 64)
INTEGER_KERNEL = {"tflite": "QC8W?", "onnx": "QLinearConv", "openvino": "Convolution .*I8"}


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize("write", [gemm_tflite, gemm_onnx])
def test_the_product_has_the_macs_that_it_says(tmp_path: Path, write: Any, precision: Any) -> None:
    """Counted by the readers of model files, which know nothing of how this one was made."""
    path = tmp_path / "gemm"
    path.write_bytes(write(GEMM, precision))
    complexity = count_file(path)
    assert complexity.macs == GEMM.macs == 4 * 16 * 16 * 64 * 64
    assert [row.form for row in complexity.rows] == ["1x1"] * LAYERS
    size = 1 if precision == "int8" else 4
    assert complexity.rows[0].bytes_written == 16 * 16 * 64 * size


@pytest.mark.parametrize("engine", PROFILERS)
def test_the_int8_product_runs_on_integer_kernels(engine: str, tmp_path: Path) -> None:
    """Else the peak would be that of float32, and every network would seem near to it."""
    pytest.importorskip(PACKAGES[engine])
    path = tmp_path / "gemm"
    path.write_bytes((gemm_tflite if engine == "tflite" else gemm_onnx)(GEMM, "int8"))
    operators = [event.operator for event in profile(path, engine, 1, 1).events]
    assert sum(bool(re.search(INTEGER_KERNEL[engine], operator)) for operator in operators) == LAYERS


@pytest.mark.parametrize("engine", PROFILERS)
def test_the_probes_run_on_every_engine(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(PACKAGES[engine])
    monkeypatch.setattr(peaks, "GEMMS", (GEMM,))
    monkeypatch.setattr(peaks, "ADDED_ELEMENTS", 1024)
    for precision in ("int8", "float32"):
        speed, shape = peaks._best_gemm(engine, 1, precision)  # type: ignore[arg-type]
        assert speed > 0
        assert shape == "256 x 64 by 64 x 64"
    assert peaks._add(engine, 1) > 0


def test_the_peak_is_that_of_the_best_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([1.0, 0.5, 2.0])
    monkeypatch.setattr(peaks, "GEMMS", (Gemm(10, 100), Gemm(10, 200), Gemm(10, 300)))
    monkeypatch.setattr(peaks, "_fastest", lambda *_: next(seconds))
    # 4 x 100 pixels x channels squared: 4, 16 and 36 M MACs, in 1, 0.5 and 2 s.
    assert peaks._best_gemm("onnx", 1, "int8") == (0.032, "100 x 200 by 200 x 200")
    monkeypatch.setattr(peaks, "call_apart", lambda *_: 0.01)
    monkeypatch.setattr(peaks, "ADDED_ELEMENTS", 1_000_000)
    assert peaks.measure_bandwidth("onnx", 2).gb_s == pytest.approx(1.2)  # 12 MB in 10 ms


@pytest.mark.parametrize("write", [add_tflite, add_onnx])
def test_the_addition_moves_three_vectors(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "add"
    path.write_bytes(write(1000))
    assert count_file(path).bytes_moved == 3 * 4000
