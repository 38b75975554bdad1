"""Real processes measure real engines; one of them is really killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

pytest.importorskip("msgspec")
if not all(map(find_spec, ("onnxruntime", "ai_edge_litert"))):
    pytest.skip("needs both engines", allow_module_level=True)

from cxrs_bench.latency.child import ChildRequest
from cxrs_bench.latency.configurations import Configuration, configure, find_models
from cxrs_bench.latency.process import ChildError, run_child
from cxrs_bench.latency.run import interleaved, run_benchmark
from cxrs_bench.record import Report, Settings, decode_report, encode_report, read_report
from cxrs_edge.errors import EngineError

SETTINGS = Settings(
    rounds=2,
    samples=10,
    seconds=0.2,
    threads=(1,),
    engines=("tflite", "onnx"),
    seed=0,
    quick=False,
    commands=1,
    sustained_minutes=0.01,
    image="drawn",
)


def ignore(*_: object) -> None:
    """For progress and saving."""


def test_everything_is_measured(tiny_models: Path) -> None:
    saved: list[Report] = []
    report = run_benchmark(find_models(tiny_models), SETTINGS, progress=ignore, save=saved.append)
    assert {run.key: run.outcome for run in report.runs} == {
        ("tiny.onnx", "onnx", 1): "measured",
        ("tiny.tflite", "tflite", 1): "measured",
    }
    for run in report.runs:
        assert [one.number for one in run.rounds] == [1, 2]
        assert all(5 <= len(one.samples_ms) <= 10 for one in run.rounds)
        first = run.rounds[0]
        assert first.rss_bare_bytes is not None
        assert first.rss_peak_bytes is not None
        # An interpreter alone, and with numpy and an engine.
        assert 5e6 < first.rss_bare_bytes < 25e6 < first.rss_peak_bytes
        assert first.load_ms > 10
        assert run.engine_version
    for command in report.commands:
        assert command.outcome == "measured"
        parts = (command.start_ms, command.read_ms, command.prepare_ms, command.gate_ms, command.infer_ms)
        assert sum(sum(part) for part in parts) == pytest.approx(command.wall_ms[0], abs=0.01)
        assert command.start_ms[0] > 50
    (sustained,) = report.sustained
    assert sustained.outcome == "measured"
    assert sustained.points[-1].seconds == pytest.approx(0.6, abs=0.5)
    assert report.finished is not None
    # Every state was a whole report, and what wasn't measured yet said so.
    assert decode_report(encode_report(saved[0]), name="a") == saved[0]
    assert {run.outcome for run in saved[0].runs} == {"interrupted"}
    assert saved[0].finished is None


def test_a_killed_child_is_told_of_and_the_others_survive(tiny_models: Path) -> None:
    killed: list[int] = []

    def progress(what: str, _done: int, _total: int) -> None:
        if what.startswith("round 2") and "onnx" in what:
            threading.Thread(target=lambda: killed.append(kill_child())).start()

    settings = replace(SETTINGS, seconds=1.0, samples=10**6, rounds=3, commands=0, sustained_minutes=0.0)
    report = run_benchmark(find_models(tiny_models), settings, progress=progress, save=ignore)
    runs = {run.engine: run for run in report.runs}
    assert len(killed) == 1
    assert runs["onnx"].outcome == "failed"
    assert runs["onnx"].reason is not None
    assert runs["onnx"].reason.startswith("round 2 of 3: its process was ended by SIGKILL")
    assert len(runs["onnx"].rounds) == 1
    assert runs["tflite"].outcome == "measured"
    assert len(runs["tflite"].rounds) == 3


def kill_child() -> int:
    """Kill the measuring process once there is one."""
    for _ in range(1000):
        for child in psutil.Process().children():
            if "cxrs_bench.latency.child" in child.cmdline():
                child.kill()
                return child.pid
        time.sleep(0.01)
    raise AssertionError("no child to kill")


def request(**values: object) -> ChildRequest:
    """A request that no engine will see."""
    fields = {"model": "a.onnx", "engine": "onnx", "threads": 1, "pixels": "p", "samples": 1, "seconds": 1.0}
    return ChildRequest(**{**fields, **values})  # type: ignore[arg-type]


def end_of(program: str) -> str:
    with pytest.raises(ChildError) as error:
        list(run_child(request(), (sys.executable, "-c", program)))
    return str(error.value)


def test_how_a_process_ended_is_told() -> None:
    assert end_of("import os; os.abort()") == "its process was ended by SIGABRT"
    assert end_of("raise SystemExit('bad luck')") == "its process ended with status 1: bad luck"
    assert "PermissionError: no" in end_of("raise PermissionError('no')")
    assert "SIGKILL, which Linux also sends when memory runs out" in end_of(
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )


def test_an_absent_model_is_an_error_of_the_child() -> None:
    with pytest.raises(ChildError, match=r"^a\.onnx: no such file") as error:
        list(run_child(request()))
    assert not error.value.unsupported


def test_an_engine_that_is_not_installed_is_unsupported(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxrs_edge.engines import registry

    found = registry.find_spec
    monkeypatch.setattr(registry, "find_spec", lambda name: name != "openvino" and found(name))
    settings = replace(SETTINGS, engines=("openvino", "onnx"), rounds=1, commands=0, sustained_minutes=0.0)
    report = run_benchmark(find_models(tiny_models), settings, progress=ignore, save=ignore)
    runs = {run.engine: run for run in report.runs}
    assert runs["openvino"].outcome == "unsupported"
    assert runs["openvino"].reason == "openvino: not installed; run: pip install 'cxrs-edge[openvino]'"
    assert runs["onnx"].outcome == "measured"
    with pytest.raises(
        EngineError, match=r"nothing could be measured: tiny\.onnx on openvino: openvino: not"
    ):
        run_benchmark(
            find_models(tiny_models), replace(settings, engines=("openvino",)), progress=ignore, save=ignore
        )


def test_rounds_are_interleaved_in_orders_that_a_seed_fixes(tiny_models: Path) -> None:
    todo = configure(find_models(tiny_models), ("tflite", "onnx", "openvino"), (1, 2))
    assert len(todo) == 6
    order = list(interleaved(todo, 4, seed=1))
    assert [number for number, _ in order] == [n for n in (1, 2, 3, 4) for _ in todo]
    by_round: list[list[Configuration]] = [
        [one for n, one in order if n == number] for number in (1, 2, 3, 4)
    ]
    assert all({one.key for one in each} == {one.key for one in todo} for each in by_round)
    assert all(len(each) == len(todo) for each in by_round)
    assert len({tuple(one.key for one in each) for each in by_round}) > 1
    assert order == list(interleaved(todo, 4, seed=1))
    assert order != list(interleaved(todo, 4, seed=2))


def test_ctrl_c_keeps_what_was_measured(tiny_models: Path, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    command = [
        sys.executable,
        "-m",
        "cxrs_edge",
        "bench",
        "run",
        "--models",
        str(tiny_models),
        "--rounds",
        "50",
    ]
    with subprocess.Popen(
        [*command, "--seconds", "0.3", "--engine", "onnx", "--threads", "1", "-o", str(output)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not output.exists() or not any(run.rounds for run in read_report(output).runs):
            assert process.poll() is None
            time.sleep(0.1)
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"{output}: holds what was measured" in said
    (run,) = read_report(output).runs
    assert run.outcome == "interrupted"
    assert 1 <= len(run.rounds) < 50
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
