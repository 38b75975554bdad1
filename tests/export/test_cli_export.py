"""`cxrs-edge export`: from a checkpoint to files that `cxrs-edge predict` reads, or to exit status 3."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("tensorflow")

import keras
import onnx
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image

from cxrs_edge.card import RANDOM_WEIGHTS
from cxrs_edge.cli import main
from cxrs_edge.engines.registry import ENGINES
from cxrs_edge.grader import Grader
from cxrs_edge.model_file import read_model_file
from cxrs_edge.prepare import InputSpec
from cxrs_export import cli_export, cli_export_sources, network
from cxrs_export.baselines import RandomNetwork
from cxrs_export.exporting import ExportPlan
from cxrs_export.keras_file import Provenance, save_model
from cxrs_export.network import Widths, build_network
from cxrs_export.representative import PHANTOM_NOTE, RepresentativeSet, phantom_set
from cxrs_export.verify import Limits

LOOSE = ("--max-flips", "1", "--max-difference", "1")
FEW_IMAGES = ("--calibration-images", "4", "--verification-images", "3")
FILES = ("tiny-float32.onnx", "tiny-float32.tflite", "tiny-int8.onnx", "tiny-int8.tflite")


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, [command, *map(str, arguments)])


@pytest.fixture(scope="module")
def exported(
    tiny_model: Path, tiny_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """The whole network, quantized and verified on the tiny set."""
    folder = tmp_path_factory.mktemp("out")
    options = ("--quantize", "--calibration", tiny_set, *FEW_IMAGES, *LOOSE, "--name", "tiny")
    accuracy = tmp_path_factory.mktemp("accuracy") / "accuracy.json"
    accuracy.write_text('{"images": {"total": 3}}')
    return folder, run("export", tiny_model, "-o", folder, *options, "--accuracy", accuracy)


def test_the_whole_network_is_exported(exported: tuple[Path, Result]) -> None:
    folder, result = exported
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", *FILES]
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["file", "engine", "images", "flips", "largest", "mean"]
    files = [f"tiny-{precision}.{kind}" for precision in ("float32", "int8") for kind in ("tflite", "onnx")]
    checks = [
        [name, entry.name, "3"]
        for name in files
        for entry in ENGINES
        if name.endswith(entry.kind) and entry.package()
    ]
    assert [line.split()[:3] for line in lines[1 : 1 + len(checks)]] == checks
    sizes = {name: (folder / name).stat().st_size for name in FILES}
    assert lines[1 + len(checks) :] == [f"{folder / name}: {sizes[name] / 1e6:.1f} MB" for name in files]
    for kind in ("tflite", "onnx"):
        assert 0.24 < sizes[f"tiny-int8.{kind}"] / sizes[f"tiny-float32.{kind}"] < 0.29


@pytest.mark.parametrize("name", FILES)
def test_cards_say_where_the_files_come_from(name: str, exported: tuple[Path, Result]) -> None:
    card = read_model_file(exported[0] / name).card
    assert card.input == InputSpec(size=64, channels=1, crop_top=0.1)
    assert (card.calibration.temperature, card.calibration.fitted) == (1.5, "fold 0")
    assert card.training == {"data_sha256": "0" * 64, "split": "train", "images": 7, "recipe": {"seed": 1}}
    assert card.accuracy == {"images": {"total": 3}}
    assert card.precision in name
    if card.precision == "int8":
        ids = card.quantization["calibration_ids"]
        assert len(ids) == 4
        assert set(ids) < {"t00", "t01", "t02", "t03", "t04", "t05", "t06"}


@pytest.mark.parametrize("name", FILES)
def test_predict_reads_them(name: str, exported: tuple[Path, Result], tiny_set: Path) -> None:
    image = tiny_set / "images" / "t10.jpg"
    # The set's phantoms are too small for the quality gate.
    options = ("--format", "json", "--threads", "1", "--no-gate")
    result = run("predict", image, "--model", exported[0] / name, *options)
    assert result.exit_code == 0, result.output
    grade = json.loads(result.stdout)
    assert (grade["outcome"], grade["model"]["name"], grade["source"]) == ("graded", "tiny", str(image))
    assert grade["model"]["precision"] == name.split("-")[1].split(".")[0]


def mean_model(folder: Path) -> Path:
    """Converts in a second."""
    image = keras.Input((64, 64, 3), name="image")
    x = keras.layers.Conv2D(2, 3, use_bias=False)(keras.layers.Rescaling(1 / 255)(image))
    logits = keras.layers.Dense(2, use_bias=False)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(logits), name="mean")
    path = folder / "mean.keras"
    save_model(model, path, Provenance(input=InputSpec(size=64)))
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(2)
    return mean_model(tmp_path_factory.mktemp("small"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_without_quantize_only_float_files_and_no_calibration(
    small: Path, tiny_set: Path, tmp_path: Path
) -> None:
    """The set has 7 training images: enough to verify on, though 100 for calibration is the default."""
    result = run("export", small, "-o", tmp_path, "--calibration", tiny_set, "--verification-images", "50")
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["cxrs-float32.onnx", "cxrs-float32.tflite", "export.json"]
    report = json.loads((tmp_path / "export.json").read_text())
    assert report["calibration_ids"] == []
    assert {check["images"] for check in report["checks"]} == {7}


def test_phantoms_where_no_set_is_named(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, ...]] = []

    def draw(*arguments: Any, **options: Any) -> RepresentativeSet:
        chosen = phantom_set(*arguments, **options)
        drawn.append(chosen.ids)
        return chosen

    monkeypatch.setattr(cli_export, "phantom_set", draw)
    options = ("--quantize", "--calibration-images", "2", "--verification-images", "1", *LOOSE)
    result = run("export", small, "-o", tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert (
        "calibrating and verifying on drawn phantoms, which only tell broken files; for a release name --calibration"
        in result.stdout
    )
    report = json.loads((tmp_path / "export.json").read_text())
    assert report["calibrated_on"] == report["verified_on"] == PHANTOM_NOTE
    assert report["calibration_ids"] == ["phantom-0-0-level1", "phantom-0-1-level2"]
    calibrating, verifying = drawn
    assert len(verifying) == 1
    assert not set(calibrating) & set(verifying)


def test_missed_limits_are_exit_status_3_and_leave_nothing(
    small: Path, tiny_set: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "cxrs-int8.tflite").write_bytes(b"the last release")
    options = ["--quantize", "--calibration", str(tiny_set), *FEW_IMAGES, "--max-difference", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "cxrs_edge", "export", str(small), "-o", str(out), *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    # What was measured is told even so.
    assert done.stdout.splitlines()[0].split() == ["file", "engine", "images", "flips", "largest", "mean"]
    assert len(done.stdout.splitlines()) > 4
    error = done.stderr.splitlines()[-1]
    assert error.startswith("Error: cxrs-int8.tflite on tflite: a probability differs by 0.0")
    assert error.endswith("limit 0; nothing was written")
    assert "Traceback" not in done.stderr
    assert names(out) == ["cxrs-int8.tflite"]
    assert (out / "cxrs-int8.tflite").read_bytes() == b"the last release"


@pytest.mark.parametrize(
    ("calibration", "options", "limits"),
    [
        (False, (), Limits(int8_difference=0.35, int8_flips=0.2)),
        (True, (), Limits(int8_difference=0.25, int8_flips=0.1)),
        (False, ("--max-flips", "0"), Limits(int8_difference=0.35, int8_flips=0)),
        (True, ("--max-difference", "0.5"), Limits(int8_difference=0.5, int8_flips=0.1)),
    ],
)
def test_limits_are_wider_on_phantoms_unless_given(
    small: Path,
    tiny_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calibration: bool,
    options: tuple[str, ...],
    limits: Limits,
) -> None:
    plans: list[ExportPlan] = []

    def export_files(_network: Any, _provenance: Any, plan: ExportPlan, *_: Any, **__: Any) -> list[Any]:
        plans.append(plan)
        return []

    monkeypatch.setattr(cli_export, "export_files", export_files)
    chosen = ("--calibration", tiny_set) if calibration else ()
    result = run("export", small, "-o", tmp_path, "--verification-images", "1", *chosen, *options)
    assert result.exit_code == 0, result.output
    assert [plan.limits for plan in plans] == [limits]


BASELINES = ("--baselines", "--calibration-images", "2", "--verification-images", "1", *LOOSE)


def test_baselines_are_untrained_and_say_so(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each network in each precision; MODEL stays what it is. The networks are replaced by one that converts fast."""

    def random_networks(spec: InputSpec, *names: str) -> Iterator[RandomNetwork]:
        assert names == ("resnet50", "chexnet")
        for name in names:
            model = keras.saving.load_model(small, compile=False)
            yield RandomNetwork(name, f"{name} in words", model, Provenance(spec, {**RANDOM_WEIGHTS}))

    monkeypatch.setattr("cxrs_export.baselines.random_networks", random_networks)
    result = run("export", small, "-o", tmp_path, *BASELINES)
    assert result.exit_code == 0, result.output
    kinds = ("float16.tflite", "float32.onnx", "float32.tflite", "int8.onnx", "int8.tflite")
    networks = ("chexnet", "cxrs", "resnet50")
    expected = [*(f"{n}-{kind}" for n in networks for kind in kinds), *(f"{n}-export.json" for n in networks)]
    assert names(tmp_path) == sorted(expected)
    scan = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 80), np.uint8)).save(scan)
    ours, theirs = (
        Grader.open(tmp_path / f"{name}-float16.tflite", gated=False) for name in ("cxrs", "chexnet")
    )
    assert (ours.grade(scan).outcome, theirs.grade(scan).outcome) == ("graded", "rejected")
    assert ours.card.precision == "float16"
    assert (theirs.card.network, theirs.card.accuracy) == ("chexnet in words", {})
    assert "random" in theirs.card.licence


@pytest.mark.slow
def test_baselines_are_quantized_whole(small: Path, tmp_path: Path) -> None:
    """ResNet-50 and DenseNet-121 of 64 x 64 pixels: nothing before the head stays float."""
    result = run("export", small, "-o", tmp_path, *BASELINES)
    assert result.exit_code == 0, result.output
    for name, convolutions in (("resnet50", 53), ("chexnet", 120)):
        interpreter = Interpreter(
            str(tmp_path / f"{name}-int8.tflite"),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        types = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
        made = [(o["op_name"], types[o["outputs"][0]]) for o in interpreter._get_ops_details()]
        assert made.count(("CONV_2D", np.int8)) == convolutions
        heads = {"DEQUANTIZE", "MEAN", "FULLY_CONNECTED", "SOFTMAX"}
        assert {op for op, dtype in made if dtype == np.float32} <= heads
        graph = onnx.load(tmp_path / f"{name}-int8.onnx").graph
        decoded = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
        convs = [node for node in graph.node if node.op_type == "Conv"]
        assert len(convs) == convolutions
        assert all(value in decoded for node in convs for value in node.input[:2])


@pytest.mark.parametrize("options", [("--name", "mine"), ("--head", "flatten")])
def test_baselines_have_names_and_heads_of_their_own(
    small: Path, tmp_path: Path, options: tuple[str, str]
) -> None:
    result = run("export", small, "-o", tmp_path, "--baselines", *options)
    assert result.exit_code == 2
    assert "--baselines" in result.stderr


def test_flatten_head(tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published graph: 2 x 2 cells of 32 channels; the gap head in the file stays as it is."""
    monkeypatch.setattr(network, "STAGE_CHANNELS", (8, 16, 24, 32))
    monkeypatch.setattr(network, "STAGE_BLOCKS", (1, 1, 1, 1))
    keras.utils.set_random_seed(8)
    path = tmp_path / "gap.keras"
    model = build_network(size=64, widths=Widths((4, 6, 8, 10), 1))
    save_model(model, path, Provenance(input=InputSpec(size=64)))
    sizes = {}
    for head in ("gap", "flatten"):
        options = ("--head", head, "--calibration", tiny_set, "--verification-images", "2")
        result = run("export", path, "-o", tmp_path / head, *options)
        assert result.exit_code == 0, result.output
        card = read_model_file(tmp_path / head / "cxrs-float32.onnx").card
        sizes[head] = int(card.network.split(", ")[1].split(" ")[0].replace(",", ""))
    assert sizes["gap"] == model.count_params()
    assert sizes["flatten"] - sizes["gap"] == 4 * 32 * 2 - 32 * 2
    image = tiny_set / "images" / "t09.jpg"
    found = [
        json.loads(run("predict", "--no-gate", image, "--model", file, "--format", "json").stdout)[
            "probabilities"
        ]["level2"]
        for file in (tmp_path / head / "cxrs-float32.tflite" for head in sizes)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_flatten_head_of_another_network(tmp_path: Path) -> None:
    image = keras.Input((64, 64, 3), name="image")
    logits = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D(name="gap")(image))
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(logits), name="foreign")
    save_model(model, tmp_path / "foreign.keras", Provenance(input=InputSpec(size=64)))
    result = run("export", tmp_path / "foreign.keras", "--head", "flatten", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "Error: foreign: has no stages; expected COVID-Net CXR-S" in result.stderr


@pytest.mark.parametrize("text", ["{", "[1]", '{"auc": NaN}', "\x80", "[" * 100_000])
def test_bad_accuracy_file(text: str, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "accuracy.json"
    path.write_bytes(text.encode("latin-1"))
    result = run("export", small, "-o", tmp_path / "out", "--accuracy", path, "--verification-images", "1")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {path}: ")
    assert names(tmp_path / "out") == []


def test_a_test_list_is_no_calibration_set(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "test_COVIDxSev.txt"
    path.write_text("p1 a.png level1 rsna\np2 b.png level2 rsna\n")
    result = run("export", small, "-o", tmp_path / "out", "--quantize", "--calibration", path)
    assert result.exit_code == 1
    assert "calibration takes training images only, test patients are refused" in result.stderr
    assert names(tmp_path / "out") == []


def test_name_that_is_a_path(small: Path, tmp_path: Path) -> None:
    options = ("--verification-images", "1", "--name", "a/b")
    result = run("export", small, "-o", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert "Error: model name 'a/b'; expected a word" in result.stderr


def test_output_that_is_a_file(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = run("export", small, "-o", tmp_path / "file", "--verification-images", "1")
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'file'}: can't be written" in result.stderr


def test_not_a_keras_model(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(np.random.default_rng(0).bytes(1000))
    result = run("export", path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {path}: not a readable Keras model")


def test_without_model_outside_of_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cli_export_sources, "__file__", str(tmp_path / "site-packages" / "cxrs_export" / "cli_export.py")
    )
    monkeypatch.chdir(tmp_path)
    result = run("export", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "no MODEL named, and the released checkpoint is only in a clone" in result.stderr
    # Installed for good, but called in a clone.
    released = tmp_path / "export" / "checkpoints" / "cxrs.keras"
    released.parent.mkdir(parents=True)
    released.touch()
    assert cli_export_sources.released_checkpoint() == released
