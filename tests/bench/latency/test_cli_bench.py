"""`cxrs-edge bench run` as a user calls it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("msgspec")
pytest.importorskip("psutil")

from cxrs_bench.latency.configurations import describe_model, find_models
from cxrs_bench.record import read_report
from cxrs_edge.cli import main
from cxrs_edge.grader import bundled_path
from cxrs_edge.model_file import read_model_file

needs_onnx = pytest.mark.skipif(not find_spec("onnxruntime"), reason="needs ONNX Runtime")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", "run", *map(str, arguments)])


@needs_onnx
def test_a_folder_is_measured_and_told_of(tiny_models: Path, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    few = ("--engine", "onnx", "--threads", "1,2", "--rounds", "1", "--samples", "5", "--seconds", "0.2")
    result = run("--models", tiny_models, *few, "-o", output, "--seed", "7")
    assert result.exit_code == 0, result.output
    report = read_report(output)
    assert report.settings.seed == 7
    assert [run.key for run in report.runs] == [("tiny.onnx", "onnx", 1), ("tiny.onnx", "onnx", 2)]
    assert [len(run.samples_ms) for run in report.runs] == [5, 5]
    assert "1 rounds: no interval" in result.stdout
    assert "On this" in result.stdout
    assert f"{output}: written" in result.stdout
    before = output.read_bytes()
    again = run("--models", tiny_models, "-o", output)
    assert again.exit_code == 1
    assert f"Error: {output}: is there already" in again.stderr
    assert output.read_bytes() == before


def test_wrong_usage(tmp_path: Path) -> None:
    for threads in ("0", "1,x", "", "1,999"):
        result = run("--threads", threads)
        assert result.exit_code == 2
        assert "expected numbers from 1 to 256" in result.stderr
    empty = run("--models", tmp_path)
    assert empty.exit_code == 1
    assert "no .tflite and no .onnx file" in empty.stderr
    absent = run("--models", tmp_path / "absent")
    assert absent.exit_code == 1
    assert "can't be read: No such file" in absent.stderr
    (tmp_path / "bad.onnx").write_bytes(b"garbage")
    bad = run("--models", tmp_path)
    assert bad.exit_code == 1
    assert "bad.onnx: no model card" in bad.stderr


def test_an_engine_that_runs_none_of_the_models(tiny_models: Path, tmp_path: Path) -> None:
    (tmp_path / "one.onnx").write_bytes((tiny_models / "tiny.onnx").read_bytes())
    result = run("--models", tmp_path, "--engine", "tflite", "--quick")
    assert result.exit_code == 1
    assert "engine tflite: runs none of the models" in result.stderr


def test_threads_are_one_and_the_cores_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from cxrs_bench import cli_bench

    monkeypatch.setattr(cli_bench, "count_cores", lambda: 4)
    context = cli_bench.run.make_context("run", [])
    assert context.params["threads"] == (1, 4)
    monkeypatch.setattr(cli_bench, "count_cores", lambda: 1)
    assert cli_bench.run.make_context("run", []).params["threads"] == (1,)


def test_the_bundled_model_is_described() -> None:
    pytest.importorskip("onnx")
    models = {file.path.name: describe_model(file) for file in find_models(None)}
    assert models
    for name, model in models.items():
        assert (model.id, model.network, model.precision, model.size, model.trained) == (
            name,
            "cxrs",
            "int8",
            480,
            True,
        )
        assert model.macs == pytest.approx(5.34e9, rel=0.01)
        assert model.sha256 == read_model_file(bundled_path(model.format)).card.sha256
