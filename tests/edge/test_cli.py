"""The command line as a person or a script meets it, inside this process."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_models import FULL

from cxrs_edge import cli
from cxrs_edge.card import Conformal, DecisionRule
from cxrs_edge.cli import COMMANDS, main
from cxrs_edge.engines import registry
from cxrs_edge.errors import MissingDependency, VerificationError
from cxrs_edge.render import COLUMNS, RESEARCH_USE, STYLES
from cxrs_edge.version import __version__

posix = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and terminals of POSIX")


def run(*arguments, **options):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


@pytest.fixture
def tiny(write_model):
    return write_model("onnx")


@pytest.fixture
def folder(tmp_path, draw_xray):
    """Images, a bad one, and what isn't to be found."""
    for name in ("scans/b.png", "scans/a.JPG", "scans/deep/c.tif", "scans/Deep/d.bmp"):
        draw_xray(name)
    for name in ("scans/.hidden.png", "scans/.cache/e.png"):
        draw_xray(name)
    (tmp_path / "scans/notes.txt").write_text("not an image")
    (tmp_path / "scans/bad.png").write_text("not an image")
    return tmp_path / "scans"


def objects(output):
    return [json.loads(line) for line in output.splitlines()]


def test_one_image_in_text(tiny, draw_xray):
    path = draw_xray()
    result = run("predict", path, "--model", tiny, "--threads", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{path}: graded level 1, opacities in 1 or 2 of 6 lung zones")
    engine = registry.choose_engine("auto", "onnx")
    version = registry.package_version(engine.package())
    assert result.stderr == f"tiny 1.2 float32 on {engine.name} {version}, 1 thread\n{RESEARCH_USE}\n"


def test_json_has_exactly_the_keys_of_the_contract(tiny, draw_xray, tmp_path):
    result = run("predict", draw_xray(), tmp_path / "none.png", "--model", tiny, "--format", "json")
    graded, failed = objects(result.stdout)
    assert list(graded) == [
        "schema",
        "source",
        "outcome",
        "level",
        "probabilities",
        "notes",
        "model",
        "engine",
        "timing_ms",
        "image",
    ]
    assert list(graded["probabilities"]) == ["level1", "level2"]
    assert list(graded["model"]) == ["name", "version", "precision", "sha256"]
    assert list(graded["engine"]) == ["name", "version", "threads"]
    assert list(graded["timing_ms"]) == ["read", "prepare", "infer"]
    # tiny's card crops nothing at the top, so that the square is as high as the picture.
    assert graded["image"] == {
        "format": "PNG",
        "width": 160,
        "height": 140,
        "bits": 8,
        "crop": {"left": 10, "top": 0, "side": 140},
        "grayscale": None,
    }
    assert list(failed) == ["schema", "source", "outcome", "error"]
    assert list(failed["error"]) == ["kind", "message"]
    assert {graded["schema"], failed["schema"]} == {"cxrs-edge/grade/1"}


@pytest.fixture
def full(write_model):
    """A model with every output, which calls no image level 0 and every image uncertain."""
    rule = DecisionRule(level0=0.0, uncertain=Conformal(0.1, 0.0, 0.0), fitted="by hand")
    return write_model("tflite", FULL["graph"], FULL["card"] | {"decision": rule})


def test_zones_and_extents_in_each_format(full, draw_xray):
    path = draw_xray()
    (graded,) = objects(run("predict", path, "--model", full, "--format", "json").stdout)
    assert list(graded)[-4:] == ["image", "zones", "geographic", "opacity"]
    assert (graded["outcome"], graded["level"]) == ("uncertain", 1)
    assert graded["notes"] == ["can't tell level 1 from level 2 at an error rate of 10 %"]
    text = run("predict", path, "--model", full).stdout
    assert text.startswith(f"{path}: uncertain level 1, ")
    assert f"a {100 * graded['zones']['a']:3.0f} %" in text
    assert f"geographic {graded['geographic']:.1f} of 8, opacity {graded['opacity']:.1f} of 8" in text
    (row,) = csv.DictReader(io.StringIO(run("predict", path, "--model", full, "--format", "csv").stdout))
    assert {zone: float(row[f"zone_{zone}"]) for zone in "abcdef"} == graded["zones"]
    assert (float(row["geographic"]), float(row["opacity"])) == (graded["geographic"], graded["opacity"])


@pytest.mark.parametrize("style", STYLES)
def test_zones_that_are_none_are_an_error_of_the_engine(write_model, draw_xray, style):
    graph = FULL["graph"] | {"zone_slopes": (1.0, float("nan"), 1.0, 1.0, 1.0, 1.0)}
    model = write_model("onnx", graph, FULL["card"])
    result = run("predict", draw_xray(), "--model", model, "--format", style)
    assert result.exit_code == 1
    assert "model tiny: output zones: got nan, expected 1 x 6 numbers from 0 to 1; " in result.output
    if style == "json":
        (failed,) = objects(result.stdout)
        assert (failed["outcome"], failed["error"]["kind"]) == ("error", "engine")


def test_a_bad_file_does_not_stop_the_others(tiny, draw_xray, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("hello")
    result = run("predict", draw_xray("1.png"), bad, draw_xray("2.png"), "--model", tiny, "--format", "json")
    assert result.exit_code == 1
    assert [item["outcome"] for item in objects(result.stdout)] == ["graded", "error", "graded"]
    assert objects(result.stdout)[1]["error"]["kind"] == "image"
    assert result.stderr.endswith("1 of 3 inputs ended in an error.\n")


def test_in_text_a_failure_goes_to_stderr(tiny, draw_xray, tmp_path):
    result = run("predict", tmp_path / "none.png", draw_xray(), "--model", tiny)
    assert result.exit_code == 1
    assert "none.png" not in result.stdout
    assert f"{tmp_path}/none.png: can't be read: No such file or directory\n" in result.stderr


def test_csv_is_one_table(tiny, draw_xray, tmp_path):
    paths = [draw_xray("1.png"), tmp_path / "none.png", draw_xray("2.png")]
    result = run("predict", *paths, "--model", tiny, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert tuple(rows[0]) == COLUMNS
    assert [row["source"] for row in rows] == [str(path) for path in paths]
    assert [row["outcome"] for row in rows] == ["graded", "error", "graded"]


def test_folders_in_order(tiny, folder, draw_xray):
    last = draw_xray("last.png")
    result = run("predict", folder, last, folder / "b.png", "--model", tiny, "--format", "json")
    sources = [Path(item["source"]) for item in objects(result.stdout)]
    names = ["a.JPG", "b.png", "bad.png", "Deep/d.bmp", "deep/c.tif"]
    assert sources == [*(folder / name for name in names), last, folder / "b.png"]
    assert result.exit_code == 1


@posix
def test_links_that_lead_back_are_not_followed(tiny, draw_xray, tmp_path):
    inside = draw_xray("scans/a.png")
    (tmp_path / "scans/loop").symlink_to(tmp_path / "scans")
    (tmp_path / "scans/b.png").symlink_to(inside)
    (tmp_path / "link").symlink_to(tmp_path / "scans")
    result = run("predict", tmp_path / "link", "--model", tiny, "--format", "json")
    sources = [item["source"] for item in objects(result.stdout)]
    assert sources == [f"{tmp_path}/link/a.png", f"{tmp_path}/link/b.png"]


def test_images_of_any_name_are_found_in_a_folder(tiny, tmp_path, draw_xray):
    folder = tmp_path / "any"
    folder.mkdir()
    (folder / "note.txt").write_text("BMW and MM are no images")
    for name, kind in (("42", "PNG"), ("x.jfif", "JPEG"), ("old.bak", "BMP"), ("scan", "TIFF")):
        with Image.open(draw_xray("one.png")) as image:
            image.save(folder / name, kind)
    result = run("predict", folder, "--model", tiny, "--format", "json")
    assert result.exit_code == 0
    sources = [json.loads(line)["source"] for line in result.stdout.splitlines()]
    assert sources == [str(folder / name) for name in ("42", "old.bak", "scan", "x.jfif")]


def test_a_folder_without_images_is_an_error(tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/readme.txt").touch()
    result = run("predict", tmp_path / "empty", "--model", tiny, "--format", "json")
    assert result.exit_code == 1
    (failed,) = objects(result.stdout)
    assert failed["source"] == f"{tmp_path}/empty"
    assert failed["error"]["kind"] == "input"
    assert "no image in or below this folder; expected files named *.png" in (failed["error"]["message"])


def test_a_folder_that_can_not_be_read_is_an_error(tiny, folder, monkeypatch):
    real = os.scandir

    def scandir(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = run("predict", folder, "--model", tiny, "--format", "json")
    failed = objects(result.stdout)[-1]
    assert failed["error"] == {
        "kind": "input",
        "message": f"{folder}/deep: can't be read: Permission denied",
    }
    assert result.exit_code == 1


def test_standard_input(tiny, draw_xray):
    data = draw_xray().read_bytes()
    result = run("predict", "-", "--model", tiny, "--format", "json", input=data)
    assert result.exit_code == 0
    assert objects(result.stdout)[0]["source"] == "stdin"
    empty = run("predict", "-", "--model", tiny, input=b"")
    assert empty.exit_code == 1
    assert "stdin: empty file" in empty.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "Missing argument 'PATH...'"),
        (["predict", "x.png", "--threads", "0"], "0 is not in the range"),
        (["predict", "x.png", "--threads", "many"], "not a valid integer"),
        (["predict", "x.png", "--engine", "cuda"], "'cuda' is not one of"),
        (["predict", "x.png", "--format", "xml"], "'xml' is not one of"),
        (["predict", "x.png", "--nonsense"], "No such option"),
        (["prophesy"], "No such command 'prophesy'"),
        (["info", "a", "b"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_status_2(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_model_that_can_not_be_honoured_is_one_line(draw_xray, tmp_path):
    model = tmp_path / "my\nmodel.onnx"
    model.write_bytes(b"nothing of ours")
    result = run("predict", draw_xray(), "--model", model)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "my\\nmodel.onnx: no model card" in line


def test_an_engine_of_another_kind_is_one_line(tiny, draw_xray):
    result = run("predict", draw_xray(), "--model", tiny, "--engine", "tflite")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: engine tflite: doesn't run a .onnx file; expected auto or onnx or openvino\n"
    )


def test_a_missing_engine_is_answered_with_its_pip_line(draw_xray, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda _package: None)
    result = run("predict", draw_xray())
    assert result.exit_code == 1
    assert result.stderr == ("Error: ai_edge_litert: not installed; run: pip install 'cxrs-edge[tflite]'\n")


def lazy_command(monkeypatch, body):
    """Make `train` the command whose module does `body` when it is imported."""
    monkeypatch.setitem(COMMANDS, "train", cli.Lazy("cxrs_edge.tests_lazy", "export", "Train the network."))
    monkeypatch.setattr(cli.importlib, "import_module", body)


def test_a_lazy_command_runs_when_called(monkeypatch):
    @click.command()
    def train():
        click.echo("trained")

    class Module:
        pass

    Module.train = train
    lazy_command(monkeypatch, lambda _name: Module)
    assert run("train").stdout == "trained\n"


def test_a_lazy_command_that_lacks_a_package_is_answered_with_its_pip_line(monkeypatch):
    def import_module(_name):
        raise ModuleNotFoundError("No module named 'keras.layers'", name="keras.layers")

    lazy_command(monkeypatch, import_module)
    for arguments in (["train"], ["train", "--help"]):
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stderr == "Error: keras: not installed; run: pip install 'cxrs-edge[export]'\n"
    assert run("--help").exit_code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_lazy_command_is_there(name):
    try:
        command = main.get_command(click.Context(main), name)
    except MissingDependency as missing:
        pytest.skip(str(missing))
    assert isinstance(command, click.Command)
    assert command.name == name


def test_an_error_owns_its_status(monkeypatch):
    @click.command()
    def train():
        raise VerificationError("model: differs")

    class Module:
        pass

    Module.train = train
    lazy_command(monkeypatch, lambda _name: Module)
    result = run("train")
    assert (result.exit_code, result.stderr) == (3, "Error: model: differs\n")


def test_help_names_every_command():
    text = run("--help").stdout
    for name in (*main.commands, *COMMANDS):
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", ["predict", "info"])
def test_help_of_a_command_has_examples_and_every_option(name):
    command = main.commands[name]
    assert f"Examples:\n    cxrs-edge {name}" in run(name, "--help").stdout
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_version():
    assert run("--version").stdout == f"cxrs-edge, version {__version__}\n"


def test_every_style_can_be_asked_for():
    (option,) = [p for p in main.commands["predict"].params if p.name == "style"]
    assert tuple(option.type.choices) == STYLES


def test_info_shows_the_card_and_the_machine(tiny, monkeypatch):
    result = run("info", tiny)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"tiny 1.2 float32\n  file: {tiny}\n  network: mean of the")
    assert "\n  labels: level1, level2\n" in result.stdout
    assert "\n    size: 32\n" in result.stdout
    assert f"\n  engine: {registry.choose_engine('auto', 'onnx').name}\n  threads: " in result.stdout
    monkeypatch.setattr(registry, "find_spec", lambda _package: None)
    without = run("info", tiny).stdout
    assert "\n  engine: none that runs this file\n" in without
    assert "\n  onnxruntime: not installed; run: pip install 'cxrs-edge[onnx]'\n" in without


def test_info_shows_outputs_and_rule(full, tiny):
    shown = run("info", full).stdout
    assert "\n    evidence: the evidence\n" in shown
    rule = "  decision:\n    level0: 0.0\n    uncertain:\n      error_rate: 0.1\n      level1: 0.0\n"
    assert f"\n{rule}      level2: 0.0\n    fitted: by hand\n" in shown
    assert "decision" not in run("info", tiny).stdout
    card = json.loads(run("info", full, "--format", "json").stdout)["card"]
    assert card["decision"]["uncertain"] == {"error_rate": 0.1, "level1": 0.0, "level2": 0.0}


def test_info_in_json(tiny):
    info = json.loads(run("info", tiny, "--format", "json").stdout)
    assert list(info) == ["schema", "file", "card", "engine", "threads", "engines"]
    assert info["schema"] == "cxrs-edge/info/1"
    assert info["card"]["input"]["size"] == 32
    assert info["card"]["labels"] == ["level1", "level2"]
    assert info["engine"] == registry.choose_engine("auto", "onnx").name
    assert info["threads"] >= 1
    assert [engine["name"] for engine in info["engines"]] == ["tflite", "onnx", "openvino"]
    onnx = info["engines"][1]
    assert onnx["version"] == registry.package_version("onnxruntime")
    assert onnx["cure"] is None


def test_info_without_a_model_is_of_the_bundled_one():
    result = run("info", "--format", "json")
    assert json.loads(result.stdout)["file"].endswith(f"cxrs-int8.{registry.choose_engine().kind}")
