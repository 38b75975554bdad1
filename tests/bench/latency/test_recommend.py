"""The paragraph names the fastest, admits a tie, and warns."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("scipy")
pytest.importorskip("msgspec")

from simulated import example, scaled, with_runs

from cxrs_bench.latency import recommend as module
from cxrs_bench.latency.recommend import recommend
from cxrs_bench.record import Report, Run


def only(*keys: tuple[str, str, int]) -> Report:
    """The example with these runs, times multiplied as the test needs."""
    runs = {run.key: run for run in example().runs}
    return replace(example(), runs=tuple(runs[key] for key in keys))


INT8 = ("cxrs-int8.onnx", "openvino", 1), ("cxrs-int8.onnx", "onnx", 1), ("cxrs-int8.tflite", "tflite", 1)


@pytest.fixture(autouse=True)
def _no_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's CPU is none of the example's."""
    monkeypatch.setattr(module, "doubts", lambda *_: ())


def test_the_fastest_is_named_with_the_next() -> None:
    text = recommend(only(*INT8))
    assert "openvino 2026.4.1 with 1 thread is the fastest for cxrs int8: 12.6 ms an image" in text
    assert "The next engine is tflite 2.3.0 with 1 thread, which takes 2.4" in text
    assert "predict --model cxrs-int8.onnx --engine openvino --threads 1." in text
    assert "selftest" in text


def test_a_tie_is_admitted_and_the_frugal_one_named() -> None:
    two = ("cxrs-int8.onnx", "openvino", 2)
    report = only(INT8[0], two)

    def alike(run: Run) -> Run:
        # One thread's times, a hair less.
        return scaled(report.runs[0], 0.999) if run.key == two else run

    tied = with_runs(report, alike)
    second = replace(tied.runs[1], threads=2)
    text = recommend(replace(tied, runs=(tied.runs[0], second)))
    assert "openvino 2026.4.1 with 1 thread is among the fastest" in text
    assert "Within the noise of this measurement as fast: openvino 2026.4.1 with 2 threads" in text
    assert "--threads 1" in text


def test_what_threads_bring_is_told() -> None:
    text = recommend(only(INT8[0], ("cxrs-int8.onnx", "openvino", 2)))
    assert "with 2 threads is the fastest" in text
    assert "On one thread it takes 1.8" in text


def test_instability_is_told() -> None:
    shaky = with_runs(only(*INT8), lambda run: replace(run, unstable=("drift",)))
    assert "Don't rely on it: drift." in recommend(shaky)


def test_an_engine_that_gets_it_wrong_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "doubts", lambda engine, _: ("wrong",) if engine == "openvino" else ())
    text = recommend(only(*INT8))
    assert "tflite 2.3.0 with 1 thread is the fastest" in text
    assert "openvino was left out: this CPU has no VNNI" in text


def test_nothing_measured() -> None:
    assert recommend(replace(example(), runs=())).startswith("No recommendation")
