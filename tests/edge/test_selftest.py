"""`cxrs-edge selftest`: on the bundled model, and on tiny and damaged ones whose released answers are known."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_models import FULL

from cxrs_edge import cli_selftest, golden, selftest
from cxrs_edge.cli import main
from cxrs_edge.engines import registry
from cxrs_edge.engines.registry import ENGINES, EngineEntry, choose_engine, package_version
from cxrs_edge.errors import EngineError, MissingDependency, ModelError, SelftestError
from cxrs_edge.golden import hash_pixels, prepared_path, read_golden
from cxrs_edge.grade import EngineInfo
from cxrs_edge.grader import BUNDLED, Grader
from cxrs_edge.image import read_image
from cxrs_edge.model_file import read_model_file, with_card
from cxrs_edge.prepare import prepare
from cxrs_edge.selftest import (
    Answer,
    EngineCheck,
    PreparationCheck,
    check_engine,
    check_preparation,
    entries_to_check,
)
from cxrs_edge.selftest_report import render_preparation, require_ok

KEYS = ["schema", "ok", "tolerance", "machine", "models", "preparation", "engines"]
ENGINE_KEYS = [
    "name", "version", "threads", "ok", "package", "released_version", "model", "flips", "largest_difference",
    "infer_ms", "answers", "error",
]  # fmt: skip
PACKAGES = {"tflite": "ai_edge_litert", "onnx": "onnxruntime", "openvino": "openvino"}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["selftest", *arguments])


@dataclass(frozen=True)
class Release:
    """A folder of tiny model files with golden answers, and a way to falsify these."""

    models: Path

    def edit(self, change: Callable[[Any], object]) -> None:
        path = self.models / "golden/golden.json"
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))

    def shift(self, package: str, by: float) -> None:
        """Move the first image's released probability of level 2."""

        def change(values: Any) -> None:
            values["packages"][package]["level2"]["one"] += by

        self.edit(change)

    def check(self, name: str) -> EngineCheck:
        return check_engine(read_golden(self.models), choose_engine(name), threads=1)


@pytest.fixture
def release(request, tmp_path, write_model, draw_xray) -> Release:
    """Released answers of tiny models; of two images, with level 2 at 0.23 and 0.25 or so.

    A test may ask for other models by the options of `write_model`.
    """
    options = getattr(request, "param", {})
    models = tmp_path / "models"
    (models / "golden").mkdir(parents=True)
    for kind in ("tflite", "onnx"):
        shutil.move(write_model(kind, **options), models / f"cxrs-int8.{kind}")
    values: dict[str, Any] = {"schema": "cxrs-edge/golden/1", "tolerance": 0.01, "models": {}, "pixels": {}}
    values["packages"] = {
        package: {"version": "1", "model": f"cxrs-int8.{choose_engine(name).kind}", "level2": {}}
        for name, package in PACKAGES.items()
    }
    for seed, image in enumerate(("one", "two")):
        path = models / "golden" / f"{image}.png"
        shutil.copy(draw_xray(seed=seed), path)
        spec = read_model_file(models / "cxrs-int8.onnx").card.input
        pixels = prepare(read_image(path.read_bytes(), name=image, at_least=spec.size), spec)
        Image.fromarray(pixels[0, :, :, 0]).save(prepared_path(models, image))
        values["pixels"][image] = hash_pixels(pixels)
        for answers in values["packages"].values():
            grader = Grader.open(models / answers["model"])
            values["models"][answers["model"]] = grader.card.sha256
            answers["level2"][image] = grader.grade(path).probabilities["level2"]
    (models / "golden/golden.json").write_text(json.dumps(values))
    return Release(models)


@pytest.fixture
def bundled_copy(tmp_path) -> Release:
    """The bundled model's files, to be damaged."""
    models = tmp_path / "cxrs"
    shutil.copytree(BUNDLED, models)
    return Release(models)


def adds_products_exactly(entry: EngineEntry) -> bool:
    """OpenVINO saturates on x86 without VNNI, docs/adr/0005: there the self-test must fail."""
    cpuinfo = Path("/proc/cpuinfo")
    x86 = platform.machine() == "x86_64" and cpuinfo.exists()
    return entry.name != "openvino" or not x86 or "vnni" in cpuinfo.read_text()


def test_the_bundled_model_gives_the_released_answers_on_every_engine_here():
    entries = [entry for entry in entries_to_check() if adds_products_exactly(entry)]
    assert entries
    checks = {entry.name: check_engine(read_golden(), entry) for entry in entries}
    assert {name: check.ok for name, check in checks.items()} == dict.fromkeys(checks, True)
    assert all(len(check.answers) == 6 and check.infer_ms > 0 for check in checks.values())


@pytest.mark.parametrize("release", [FULL], indirect=True)
@pytest.mark.parametrize("name", PACKAGES)
def test_a_model_with_more_outputs_is_compared_by_its_probabilities(release, name):
    pytest.importorskip(PACKAGES[name])
    assert release.check(name).ok
    release.shift(PACKAGES[name], by=0.02)
    assert not release.check(name).ok


def test_the_golden_files_are_small_and_of_both_levels_and_no_answer_is_a_tie():
    released = read_golden()
    folder = BUNDLED / "golden"
    expected = {f"{image}{end}" for image in released.pixels for end in (".png", ".prepared.png")}
    assert {file.name for file in folder.iterdir()} == {"golden.json", *expected}
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_200_000
    assert set(released.packages) == {package for entry in ENGINES for package in entry.packages}
    for answers in released.packages.values():
        margins = [level2 - 0.5 for level2 in answers.level2.values()]
        assert min(map(abs, margins)) >= 2 * released.tolerance
        assert [sum(margin < 0 for margin in margins), sum(margin > 0 for margin in margins)] == [3, 3]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="an x86 kernel's fault")
def test_kernels_that_saturate_are_found(monkeypatch):
    # Not simulated: without VNNI, oneDNN adds two products of u8 and s8 in 16 bits, which saturate.
    pytest.importorskip("openvino")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    result = run("--engine", "openvino", "--threads", "1")
    assert result.exit_code == 4
    ok, not_ok = result.stdout.splitlines()
    assert ok.startswith("ok      reading and resizing")
    assert not_ok.startswith("NOT OK  openvino ")
    assert "levels flip, a probability differs by 0." in result.stderr


def test_a_damaged_scale_is_found_though_every_hash_was_made_anew(bundled_copy):
    import onnx

    path = bundled_copy.models / "cxrs-int8.onnx"
    card = read_model_file(path).card
    model = onnx.load(path)
    del model.metadata_props[:]
    # Of the kernel: a feature map's, read and written with the same scale, is only rounded otherwise.
    (damaged,) = [t for t in model.graph.initializer if "stem_blocks" in t.name and t.name.endswith("_scale")]
    value = onnx.numpy_helper.to_array(damaged)
    damaged.CopyFrom(onnx.numpy_helper.from_array(value * np.float32(1.05), damaged.name))
    path.write_bytes(with_card(model.SerializeToString(), card, "onnx"))

    with pytest.raises(ModelError, match=r"its answers are those of cxrs-int8\.onnx with sha256"):
        read_golden(bundled_copy.models)
    sha256 = read_model_file(path).card.sha256
    bundled_copy.edit(lambda values: values["models"].update({"cxrs-int8.onnx": sha256}))
    check = bundled_copy.check("onnx")
    assert not check.ok
    assert check.largest_difference > 2 * check.tolerance


@pytest.mark.parametrize("name", PACKAGES)
def test_labels_in_another_order_are_found(release, name):
    pytest.importorskip(PACKAGES[name])
    # The card isn't under the graph's hash: nothing but the answers tells.
    path = release.models / f"cxrs-int8.{choose_engine(name).kind}"
    file = read_model_file(path)
    base = path.read_bytes()[: file.card.base_bytes]
    path.write_bytes(with_card(base, replace(file.card, labels=("level2", "level1")), file.kind))
    check = release.check(name)
    assert check.flips == 2
    assert not check.ok


class Otherwise:
    """An engine whose answers are another one's, moved."""

    def __init__(self, engine: Any, move: Callable[[Any], Any]) -> None:
        self.name, self.version, self.threads = engine.name, engine.version, engine.threads
        self._engine, self._move = engine, move

    def infer(self, pixels: Any) -> Any:
        return {name: self._move(values) for name, values in self._engine.infer(pixels).items()}


@pytest.mark.parametrize(
    ("move", "ok"),
    [
        (lambda p: p, True),
        (lambda p: p + np.array([[-0.005, 0.005]], np.float32), True),
        (lambda p: p + np.array([[-0.015, 0.015]], np.float32), False),
        (lambda p: p[:, ::-1], False),
        (lambda p: np.full_like(p, 0.5), False),
        (lambda p: p * np.nan, False),
    ],
    ids=["right", "within", "beyond", "reversed", "constant", "nan"],
)
def test_an_engine_that_answers_otherwise_is_found(release, monkeypatch, move, ok):
    real = registry.open_package
    monkeypatch.setattr(selftest, "open_package", lambda *arguments: Otherwise(real(*arguments), move))
    assert release.check("onnx").ok is ok


def test_each_answer_is_compared_with_the_released_one(release):
    check = release.check("tflite")
    assert check.ok
    assert check.largest_difference == 0
    assert [answer.image for answer in check.answers] == ["one", "two"]
    assert check.engine == EngineInfo("tflite", check.engine.version, 1)


@pytest.mark.parametrize(
    ("shift", "ok"), [(0.0099, True), (-0.0099, True), (0.0101, False), (-0.0101, False)]
)
def test_the_tolerance_is_the_limit_in_both_directions(release, shift, ok):
    release.shift("ai_edge_litert", by=shift)
    check = release.check("tflite")
    assert check.largest_difference == pytest.approx(abs(shift), abs=1e-9)
    assert check.ok is ok
    assert check.flips == 0


def test_each_package_has_its_own_answers_even_of_one_file(release):
    pytest.importorskip("openvino")
    release.shift("onnxruntime", by=0.1)
    assert [release.check(name).ok for name in PACKAGES] == [True, False, True]


def test_a_package_that_the_release_was_not_tried_with_is_not_ok(release):
    release.edit(lambda values: values["packages"].pop("onnxruntime"))
    check = release.check("onnx")
    assert not check.ok
    assert str(check.error) == (
        "onnxruntime: no released answers; the release was tried with ai_edge_litert, openvino"
    )


def test_a_level_that_flips_is_not_ok_however_near():
    answers = (Answer("a", 0.499, 0.501), Answer("b", 0.5, 0.5), Answer("c", 0.501, 0.499))
    check = EngineCheck(
        EngineInfo("onnx", "9", 1), "onnxruntime", "m.onnx", tolerance=0.02, answers=answers, infer_ms=1.0
    )
    assert [answer.flips for answer in answers] == [True, False, True]
    assert not check.ok
    with pytest.raises(SelftestError) as caught:
        require_ok(read_golden(), PreparationCheck("1", 3, 0, 0), [check])
    version = read_golden().packages["onnxruntime"].version
    assert str(caught.value) == (
        "onnx 9 on m.onnx: 2 of 3 levels flip, a probability differs by 0.0020 from onnxruntime "
        f"{version} at the release, expected at most 0.02; grade with an engine that is ok: --engine NAME"
    )


def test_no_answer_is_not_ok():
    assert not EngineCheck(EngineInfo("onnx", "1", 1), "onnxruntime", "m.onnx", tolerance=0.02).ok


def resize_otherwise(monkeypatch: pytest.MonkeyPatch, levels: int) -> None:
    def moved(*arguments: Any) -> Any:
        pixels = prepare(*arguments)
        pixels[0, 5, 5, :] += levels
        return pixels

    monkeypatch.setattr(selftest, "prepare", moved)


@pytest.mark.parametrize(("levels", "ok"), [(0, True), (1, True), (2, False)])
def test_a_resize_that_differs_is_told_apart_from_the_engines(release, monkeypatch, levels, ok):
    resize_otherwise(monkeypatch, levels)
    check = check_preparation(read_golden(release.models))
    assert (check.images, check.different, check.largest_difference) == (2, 2 * (levels > 0), levels)
    assert check.ok is ok
    if levels:
        assert f"2 of 2 images differ, by at most {levels} of 255 gray levels" in render_preparation(check)
    assert release.check("onnx").ok


def test_a_resize_that_is_wrong_ends_in_the_status_of_its_own(release, monkeypatch):
    resize_otherwise(monkeypatch, 40)
    monkeypatch.setattr(golden, "read_golden", lambda: read_golden(release.models))
    result = run("--engine", "onnx")
    assert result.exit_code == 4
    first, second = result.stdout.splitlines()
    assert first.startswith("NOT OK  reading and resizing, Pillow ")
    assert second.startswith("ok      onnx ")
    assert "Pillow" in result.stderr
    assert "onnx" not in result.stderr


@pytest.fixture
def crashing_openvino(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the self-test where importing openvino runs this source."""

    def run_with(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        package = tmp_path / "openvino"
        package.mkdir()
        (package / "__init__.py").write_text(source)
        return subprocess.run(
            [sys.executable, "-m", "cxrs_edge", "selftest", "--threads", "1", *arguments],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run_with


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_an_engine_that_this_cpu_ends_is_told_and_the_others_go_on(crashing_openvino):
    finished = crashing_openvino("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    assert finished.returncode == 4
    lines = [line for line in finished.stdout.splitlines() if " openvino " not in line]
    assert len(lines) == 1 + sum(entry.name != "openvino" for entry in entries_to_check())
    assert all(line.startswith("ok      ") for line in lines)
    assert "openvino: this CPU or system ended it with SIGILL while it inferred" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_engine_that_ends_its_process_is_told(crashing_openvino):
    finished = crashing_openvino("import os\nos._exit(7)\n", "--engine", "openvino")
    assert finished.returncode == 4
    assert "openvino: its process ended with status 7 while it inferred" in finished.stderr


def test_golden_answers_of_another_model_are_refused(release, write_model):
    shutil.move(write_model("onnx", {"slope": 0.5}), release.models / "cxrs-int8.onnx")
    with pytest.raises(
        ModelError,
        match=r"golden\.json: its answers are those of cxrs-int8\.onnx with .* or after a release: make golden",
    ):
        read_golden(release.models)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(schema="cxrs-edge/golden/2"),
        lambda values: values.pop("tolerance"),
        lambda values: values.update(models={}),
        lambda values: values["models"].pop("cxrs-int8.tflite"),
        lambda values: values.update(packages={}),
        lambda values: values["packages"]["openvino"].update(level2=[]),
        lambda values: values["packages"]["openvino"].update(level2={"one": 0.5}),
    ],
    ids=["schema", "tolerance", "no models", "model", "no packages", "type", "images"],
)
def test_damaged_golden_answers_are_refused(release, change):
    release.edit(change)
    with pytest.raises(ModelError, match=r"golden\.json: can't be read: .*; install cxrs-edge again"):
        read_golden(release.models)


def test_missing_golden_answers_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"golden\.json: can't be read: .*No such file"):
        read_golden(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_damaged_golden_images_are_refused(release, damage):
    path = prepared_path(release.models, "two")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        shutil.copy(prepared_path(release.models, "one"), path)
    with pytest.raises(ModelError, match=r"two\.prepared\.png: .*; install cxrs-edge again"):
        release.check("onnx")


def test_engines_that_are_not_installed_are_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda package: package == "onnxruntime" or None)
    assert [entry.name for entry in entries_to_check()] == ["onnx"]
    with pytest.raises(MissingDependency, match="openvino: not installed; run: pip install"):
        entries_to_check("openvino")
    monkeypatch.setattr(registry, "find_spec", lambda _package: None)
    with pytest.raises(MissingDependency, match="ai_edge_litert: not installed"):
        entries_to_check()


def test_a_number_of_threads_that_makes_no_sense_is_refused(release):
    with pytest.raises(EngineError, match="threads: got 0, expected a whole number"):
        check_engine(read_golden(release.models), choose_engine("onnx"), threads=0)


def test_the_command_on_the_bundled_model_in_json():
    result = run("--engine", "tflite", "--threads", "1", "--format", "json")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    report = json.loads(line)
    assert list(report) == KEYS
    assert (report["schema"], report["ok"]) == ("cxrs-edge/selftest/1", True)
    assert list(report["models"]) == ["cxrs-int8.onnx", "cxrs-int8.tflite"]
    assert report["preparation"]["ok"] is True
    (engine,) = report["engines"]
    assert list(engine) == ENGINE_KEYS
    assert (engine["name"], engine["threads"], engine["error"]) == ("tflite", 1, None)
    assert engine["version"] == package_version(engine["package"])
    assert list(engine["answers"][0]) == ["image", "expected", "found"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_command_tells_the_verdict_and_owns_its_status(release, monkeypatch, style):
    release.shift("onnxruntime", by=0.4)
    monkeypatch.setattr(golden, "read_golden", lambda: read_golden(release.models))
    result = run("--engine", "onnx", "--format", style)
    assert result.exit_code == SelftestError.exit_status == 4
    assert "1 of 2 levels flip" in result.stderr
    if style == "text":
        assert result.stdout.splitlines()[1].startswith("NOT OK  onnx ")
    else:
        assert json.loads(result.stdout)["ok"] is False


def test_help_has_examples_and_every_engine():
    text = run("--help").stdout
    assert "Examples:\n    cxrs-edge selftest" in text
    (option,) = [option for option in cli_selftest.selftest.params if option.name == "engine"]
    assert list(option.type.choices) == [entry.name for entry in ENGINES]
