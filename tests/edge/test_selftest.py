"""`cxrs-edge selftest`: on the bundled model, and on tiny ones whose released answers are right or wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cxrs_edge import cli_selftest, selftest
from cxrs_edge.cli import main
from cxrs_edge.engines import registry
from cxrs_edge.engines.registry import ENGINES, choose_engine
from cxrs_edge.errors import MissingDependency, ModelError, SelftestError
from cxrs_edge.grade import EngineInfo
from cxrs_edge.grader import BUNDLED, Grader
from cxrs_edge.selftest import Answer, EngineCheck, check_engines, entries_to_check, read_golden, require_ok

KEYS = ["schema", "ok", "tolerance", "machine", "models", "engines"]
ENGINE_KEYS = [
    "name", "version", "threads", "ok", "model", "flips", "largest_difference", "infer_ms", "answers", "error",
]  # fmt: skip


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["selftest", *arguments])


@dataclass(frozen=True)
class Release:
    """A folder of tiny model files with golden answers, and a way to falsify these."""

    models: Path

    def edit(self, change: Any) -> None:
        path = self.models / "golden/golden.json"
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))

    def shift(self, model: str, by: float) -> None:
        """Move the first image's released probability of level 2."""

        def change(values: Any) -> None:
            probabilities = values["models"][model]["probabilities"]
            probabilities[next(iter(probabilities))]["level2"] += by

        self.edit(change)


@pytest.fixture
def release(tmp_path, write_model, draw_xray) -> Release:
    """Released answers of tiny models; of two images, with level 2 at 0.228 and 0.244 or so."""
    models = tmp_path / "models"
    golden = models / "golden"
    golden.mkdir(parents=True)
    answers: dict[str, Any] = {}
    for kind in ("tflite", "onnx"):
        path = models / f"cxrs-int8.{kind}"
        shutil.move(write_model(kind), path)
        grader = Grader.open(path, kind)
        answers[path.name] = {"sha256": grader.card.sha256, "probabilities": {}}
        for seed in (1, 2):
            image = golden / f"{seed}.png"
            shutil.copy(draw_xray(seed=seed), image)
            answers[path.name]["probabilities"][image.name] = grader.grade(image).probabilities
    values = {"schema": "cxrs-edge/golden/1", "tolerance": 0.01, "models": answers}
    (golden / "golden.json").write_text(json.dumps(values))
    return Release(models)


def check_one(release: Release, name: str) -> EngineCheck:
    (check,) = check_engines(read_golden(release.models), [choose_engine(name)], threads=1)
    return check


def test_the_bundled_model_gives_the_released_answers_on_every_engine_here():
    golden = read_golden()
    checks = list(check_engines(golden, entries_to_check()))
    assert checks
    assert [check.fault() for check in checks] == [None] * len(checks)
    assert all(len(check.answers) >= 4 and check.infer_ms > 0 for check in checks)


def test_the_golden_files_are_small_and_no_answer_is_a_tie():
    golden = read_golden()
    files = list(golden.folder.iterdir())
    assert {file.name for file in files} == {"golden.json", *golden.level2["cxrs-int8.onnx"]}
    assert sum(file.stat().st_size for file in files) < 400_000
    levels = [level2 for answers in golden.level2.values() for level2 in answers.values()]
    assert all(abs(level2 - 0.5) > golden.tolerance for level2 in levels)


def test_each_answer_is_compared_with_the_released_one(release):
    check = check_one(release, "tflite")
    assert check.ok
    assert check.largest_difference == 0
    assert [answer.image for answer in check.answers] == ["1.png", "2.png"]
    assert check.engine == EngineInfo("tflite", check.engine.version, 1)


@pytest.mark.parametrize(
    ("shift", "ok"), [(0.0099, True), (-0.0099, True), (0.0101, False), (-0.0101, False)]
)
def test_the_tolerance_is_the_limit_in_both_directions(release, shift, ok):
    release.shift("cxrs-int8.tflite", by=shift)
    check = check_one(release, "tflite")
    assert check.largest_difference == pytest.approx(abs(shift), abs=1e-9)
    assert check.ok is ok
    assert check.flips == 0


def test_only_the_engine_of_the_file_that_differs_is_not_ok(release):
    release.shift("cxrs-int8.onnx", by=0.1)
    golden = read_golden(release.models)
    checks = check_engines(golden, [choose_engine(name) for name in ("tflite", "onnx")])
    assert [check.ok for check in checks] == [True, False]


def test_a_level_that_flips_is_not_ok_however_near():
    answers = (Answer("a", 0.499, 0.501), Answer("b", 0.5, 0.5), Answer("c", 0.501, 0.499))
    check = EngineCheck(EngineInfo("onnx", "1", 1), "m.onnx", tolerance=0.02, answers=answers, infer_ms=1.0)
    assert [answer.flips for answer in answers] == [True, False, True]
    assert not check.ok
    assert check.fault() == (
        "onnx 1 on m.onnx: 2 of 3 levels flip, a probability differs by 0.0020, tolerance 0.02"
    )
    with pytest.raises(SelftestError, match=r"onnx 1 on m\.onnx: 2 of 3 levels flip.*--engine NAME"):
        require_ok([check])


def test_no_answer_is_not_ok():
    check = EngineCheck(EngineInfo("onnx", "1", 1), "m.onnx", tolerance=0.02)
    assert not check.ok


def test_an_engine_that_breaks_does_not_stop_the_others(release, monkeypatch):
    real = Grader.open

    def broken(path, engine, threads):
        if engine == "tflite":
            raise selftest.EngineError("model: can't be loaded: no such instruction")
        return real(path, engine, threads)

    monkeypatch.setattr(Grader, "open", broken)
    golden = read_golden(release.models)
    first, second = check_engines(golden, [choose_engine("tflite"), choose_engine("onnx")], threads=2)
    assert (first.ok, second.ok) == (False, True)
    assert first.engine == EngineInfo("tflite", registry.package_version("ai_edge_litert"), 2)
    assert first.fault().endswith("on cxrs-int8.tflite: model: can't be loaded: no such instruction")
    assert first.to_json()["error"] == {
        "kind": "engine",
        "message": "model: can't be loaded: no such instruction",
    }


def test_golden_answers_of_another_model_are_refused(release, write_model):
    shutil.move(write_model("onnx", {"slope": 0.5}), release.models / "cxrs-int8.onnx")
    with pytest.raises(
        ModelError, match=r"golden\.json: recorded for cxrs-int8\.onnx with sha256 .* but this"
    ):
        read_golden(release.models)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(schema="cxrs-edge/golden/2"),
        lambda values: values.pop("tolerance"),
        lambda values: values["models"].pop("cxrs-int8.tflite"),
        lambda values: values["models"]["cxrs-int8.tflite"].update(probabilities=[]),
        lambda values: values["models"]["cxrs-int8.tflite"].update(probabilities={}),
    ],
    ids=["schema", "tolerance", "model", "type", "empty"],
)
def test_damaged_golden_answers_are_refused(release, change):
    release.edit(change)
    with pytest.raises(ModelError, match=r"golden\.json: can't be read: .*; install cxrs-edge again"):
        read_golden(release.models)


def test_missing_golden_answers_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"golden\.json: can't be read: .*No such file"):
        read_golden(tmp_path)


def test_engines_that_are_not_installed_are_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda package: package == "onnxruntime" or None)
    assert [entry.name for entry in entries_to_check()] == ["onnx"]
    with pytest.raises(MissingDependency, match="openvino: not installed; run: pip install"):
        entries_to_check("openvino")
    monkeypatch.setattr(registry, "find_spec", lambda _package: None)
    with pytest.raises(MissingDependency, match="ai_edge_litert: not installed"):
        entries_to_check()


def test_the_command_on_the_bundled_model_in_json():
    result = run("--engine", "tflite", "--threads", "1", "--format", "json")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    report = json.loads(line)
    assert list(report) == KEYS
    assert (report["schema"], report["ok"]) == ("cxrs-edge/selftest/1", True)
    assert list(report["models"]) == ["cxrs-int8.onnx", "cxrs-int8.tflite"]
    (engine,) = report["engines"]
    assert list(engine) == ENGINE_KEYS
    assert (engine["name"], engine["threads"], engine["error"]) == ("tflite", 1, None)
    assert list(engine["answers"][0]) == ["image", "expected", "found"]


def test_the_command_in_text_has_a_line_for_each_engine():
    result = run("--threads", "1")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == len(entries_to_check())
    assert all(line.startswith("ok      ") and ", 1 thread, cxrs-int8." in line for line in lines)


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_command_tells_the_verdict_and_owns_its_status(release, monkeypatch, style):
    release.shift("cxrs-int8.onnx", by=0.4)
    monkeypatch.setattr(selftest, "read_golden", lambda: read_golden(release.models))
    result = run("--engine", "onnx", "--format", style)
    assert result.exit_code == SelftestError.exit_status == 3
    assert "1 of 2 levels flip" in result.stderr
    if style == "text":
        assert result.stdout.startswith("NOT OK  onnx ")
    else:
        assert json.loads(result.stdout)["ok"] is False


def test_help_has_examples_and_every_engine():
    text = run("--help").stdout
    assert "Examples:\n    cxrs-edge selftest" in text
    (option,) = [option for option in cli_selftest.selftest.params if option.name == "engine"]
    assert list(option.type.choices) == [entry.name for entry in ENGINES]


def test_the_golden_files_are_beside_the_bundled_models():
    assert read_golden().folder == BUNDLED / "golden"
