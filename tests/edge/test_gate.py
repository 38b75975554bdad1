"""The quality gate: its arithmetic by hand, each reason on drawn images, and what a grade says of it."""

from __future__ import annotations

import csv
import io
import json
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from cxrs_bench.gate.made import MADE
from cxrs_bench.gate.spoil import SPOILS
from cxrs_bench.phantom import Phantom, draw_phantom, varied_phantoms
from cxrs_edge.cli import main
from cxrs_edge.errors import ModelError
from cxrs_edge.gate import OFF, Gate
from cxrs_edge.gate.data import BUNDLED, GateData, Limits, pack_gate, read_gate
from cxrs_edge.gate.gate import ADVICE, DRAWN
from cxrs_edge.gate.network import class_logits, normalise, shrink
from cxrs_edge.grader import Grader
from cxrs_edge.image import GrayImage, read_file, read_image
from cxrs_edge.model_file import read_model_file
from cxrs_edge.prepare import InputSpec, prepare
from cxrs_edge.render import COLUMNS

SEVERITY = Path(os.environ.get("CXRS_SEVERITY", Path(__file__).parents[3] / "shared" / "data" / "severity"))
CLASSES = ("chest", "drawn", *ADVICE)
LARGE = (480, 480)
SAYS = {kind: looks_like for kind, (looks_like, _) in ADVICE.items()} | {
    "nearly blank": "nearly blank: coarse gray levels vary by",
    "small": "pixels, too small to show a lung's texture; expected at least 128 a side",
}


def judge(plane, size=None):
    plane = np.asarray(plane)
    size = size or plane.shape[::-1]
    image = GrayImage(pixels=plane, name="image", format="PNG", size=size)
    return Gate.bundled().judge(prepare(image, InputSpec())[0, :, :, 0], size)


def chest(seed=0, width=400, height=440):
    return draw_phantom(Phantom((0, 2, 0, 0, 1, 0), seed, width, height))


def striped(levels=(0, 200), side=64):
    """A plane with contrast enough; what it shows is nothing."""
    return np.tile(np.repeat(np.array(levels, np.uint8), 16), (side, side // 32))


def gate_saying(**logits):
    """A gate whose network has no weights, so that it says the same of every image."""
    bias = np.array([logits.get(name, 0.0) for name in CLASSES], np.float32)
    layers = (
        (np.zeros((3, 3, 1, 1), np.float32), np.zeros(1, np.float32)),
        (np.zeros((16 * 16, len(CLASSES)), np.float32), bias),
    )
    limits = Limits(
        reject_side=100, doubt_side=200, reject_contrast=5.0, reject_margin=-1.0, doubt_margin=1.0
    )
    return Gate(GateData("hand", 32, CLASSES, layers, limits))


# The network's arithmetic.


def test_a_thumbnail_is_the_mean_of_blocks():
    plane = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    plane = (plane % 251).astype(np.uint8)
    means = plane.reshape(32, 2, 32, 2).mean((1, 3))
    assert np.abs(shrink(plane, 32) - means).max() <= 1  # Pillow rounds after each direction


def test_a_convolution_by_hand():
    """4 x 4 with the numbers 0..15; the kernel takes the pixel in the middle of each window, as it is and negated."""
    thumbnail = np.arange(16, dtype=np.uint8).reshape(4, 4)
    values = normalise(thumbnail)
    assert values.mean() == pytest.approx(0, abs=1e-6)
    assert values.std() == pytest.approx(1, abs=1e-6)
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[1, 1, 0, 0], kernel[1, 1, 0, 1] = 1, -1
    bias = np.array([0.5, 0.25], np.float32)
    dense = np.zeros((2 * 2 * 2, 2), np.float32)
    dense[0::2, 0], dense[1::2, 1] = 1, 1
    logits = class_logits(thumbnail, ((kernel, bias), (dense, np.array([0.0, 1.0], np.float32))))
    # Rows and columns 1 and 3: 5, 7, 13, 15 of 0..15, whose mean is 7.5 and variance (16**2 - 1) / 12.
    picked = (np.array([5, 7, 13, 15]) - 7.5) / np.sqrt(255 / 12)
    expected = [np.maximum(picked + 0.5, 0).sum(), np.maximum(-picked + 0.25, 0).sum() + 1]
    assert logits == pytest.approx(expected, abs=1e-5)


def test_beyond_the_last_row_and_column_there_is_nothing():
    thumbnail = np.arange(16, dtype=np.uint8).reshape(4, 4)
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[2, 2] = 1
    dense = np.eye(4, dtype=np.float32)
    zeros = np.zeros(1, np.float32)
    logits = class_logits(thumbnail, ((kernel, zeros), (dense, np.zeros(4, np.float32))))
    # Only the first window has its last pixel inside: row 2, column 2, the number 10.
    assert logits == pytest.approx([(10 - 7.5) / np.sqrt(255 / 12), 0, 0, 0], abs=1e-5)


@given(
    thumbnail=arrays.arrays(np.uint8, (32, 32), elements=st.integers(0, 100)),
    black=st.integers(0, 55),
    doubled=st.booleans(),
)
def test_exposure_does_not_count(thumbnail, black, doubled):
    if thumbnail.std() < 1:
        thumbnail[:16] = 90
    brighter = thumbnail * np.uint8(1 + doubled) + np.uint8(black)
    layers = read_gate(BUNDLED).layers
    assert class_logits(brighter, layers) == pytest.approx(class_logits(thumbnail, layers), abs=1e-2)


# The limits, by hand.


@pytest.mark.parametrize(
    ("chest_logit", "rejected", "notes"),
    [
        # Six other classes of logit 0: the margin is log((e^c + 1) / 6) with the other class that passes.
        (np.log(6 * np.exp(-1.05) - 1), True, 1),
        (np.log(6 * np.exp(-0.95) - 1), False, 1),
        (np.log(6 * np.exp(0.95) - 1), False, 1),
        (np.log(6 * np.exp(1.05) - 1), False, 0),
    ],
)
def test_both_margins(chest_logit, rejected, notes):
    verdict = gate_saying(chest=chest_logit).judge(striped(), LARGE)
    assert verdict.rejected == rejected
    assert len(verdict.notes) == notes


@pytest.mark.parametrize("kind", ADVICE)
def test_the_likeliest_reason_and_its_cure_are_told(kind):
    looks_like, cure = ADVICE[kind]
    rejected = gate_saying(chest=4, **{kind: 9}).judge(striped(), LARGE)
    assert rejected.notes == (f"looks like {looks_like}; {cure}",)
    doubtful = gate_saying(chest=4, **{kind: 4}).judge(striped(), LARGE)
    assert not doubtful.rejected
    assert doubtful.notes == (f"doubtful: may be {looks_like}; if it is, {cure}",)


def test_a_drawn_chest_passes_with_a_note():
    assert gate_saying(drawn=9).judge(striped(), LARGE).notes == (DRAWN,)
    assert gate_saying(drawn=8, chest=9).judge(striped(), LARGE).notes == ()


@pytest.mark.parametrize(
    ("size", "rejected", "words"),
    [
        ((99, 500), True, "99 x 500 pixels, too small"),
        ((500, 100), False, "doubtful: only 500 x 100 pixels"),
        ((199, 199), False, "doubtful: only 199 x 199 pixels"),
    ],
)
def test_both_sizes(size, rejected, words):
    verdict = gate_saying(chest=9).judge(striped(), size)
    assert verdict.rejected == rejected
    (note,) = verdict.notes
    assert note.startswith(words)
    assert gate_saying(chest=9).judge(striped(), (200, 900)).notes == ()


def test_contrast():
    # Stripes of two levels: the standard deviation is half their difference.
    assert gate_saying(chest=9).judge(striped((100, 110)), LARGE).notes == ()
    flat = gate_saying(chest=9).judge(striped((100, 108)), LARGE)
    assert flat.rejected
    assert "vary by 4.0 of 255, expected at least 5;" in flat.notes[0]


# Each reason, by the bundled gate.


@pytest.mark.parametrize("phantom", list(varied_phantoms(4, seed=77)), ids=str)
def test_drawn_chests_pass(phantom):
    small = replace(phantom, width=phantom.width // 2, height=phantom.height // 2)
    verdict = judge(draw_phantom(small))
    assert (verdict.rejected, verdict.notes) == (False, (DRAWN,))


def test_the_example_and_the_released_golden_images_pass():
    root = Path(__file__).parents[2]
    golden = sorted((root / "cxrs_edge/models/cxrs/golden").glob("phantom-?.png"))
    paths = [path for path in [root / "examples/phantom.png", *golden] if path.is_file()]
    for path in paths:
        image = read_image(read_file(path), name=str(path))
        assert judge(image.pixels).notes == (DRAWN,), path


@pytest.mark.parametrize("kind", [kind for kind in SPOILS if kind != "part"])
def test_a_spoiled_chest_is_rejected_for_what_is_wrong_with_it(kind):
    for seed in range(3):
        verdict = judge(SPOILS[kind](chest(seed), np.random.default_rng(seed)))
        assert verdict.rejected
        assert SAYS[kind] in verdict.notes[0]


@pytest.mark.parametrize("part", ["left half", "upper third"])
def test_a_part_of_a_chest_is_rejected(part):
    for seed in range(3):
        film = chest(seed, 500, 500)
        cut = {"left half": film[:, :250], "upper third": film[:170]}[part]
        assert judge(cut).rejected


@pytest.mark.parametrize("kind", MADE)
def test_what_is_no_film_is_rejected(kind):
    rng = np.random.default_rng(3)
    verdicts = [judge(MADE[kind]((300, 320), rng)) for _ in range(10)]
    assert sum(verdict.rejected for verdict in verdicts) >= 9


@pytest.mark.parametrize("name", ["grace_hopper.jpg", "Minduka_Present_Blue_Pack.png", "logo2.png"])
def test_pictures_of_matplotlib_are_rejected(name):
    matplotlib = pytest.importorskip("matplotlib")
    path = Path(matplotlib.get_data_path()) / "sample_data" / name
    image = read_image(read_file(path), name=name)
    pixels = np.asarray(Image.fromarray(image.pixels).resize((300, 300)))
    assert judge(pixels).rejected


@pytest.mark.skipif(not SEVERITY.is_dir(), reason=f"no labelled set at {SEVERITY} (CXRS_SEVERITY)")
def test_real_films_pass_and_are_rejected_upside_down_or_inverted():
    with open(SEVERITY / "labels.csv", encoding="utf-8") as file:
        ids = [row["image_id"] for row in csv.DictReader(file) if row["split"] == "test"][:60]
    rejected = {"upright": 0, "upside down": 0, "inverted": 0}
    for image_id in ids:
        film = read_image(read_file(SEVERITY / "images" / f"{image_id}.jpg"), name=image_id).pixels
        for kind, plane in (("upright", film), ("upside down", film[::-1, ::-1]), ("inverted", 255 - film)):
            rejected[kind] += judge(np.ascontiguousarray(plane)).rejected
    assert rejected["upright"] <= 2
    assert min(rejected["upside down"], rejected["inverted"]) >= 55


@given(plane=arrays.arrays(np.uint8, st.integers(32, 96).map(lambda side: (side, side))))
def test_any_square_gets_a_verdict_and_a_rejection_a_reason(plane):
    verdict = Gate.bundled().judge(plane, (480, 480))
    assert verdict == Gate.bundled().judge(plane, (480, 480))
    doubts = [note for note in verdict.notes if note.startswith("doubtful: ") or note == DRAWN]
    assert len(verdict.notes) - len(doubts) == verdict.rejected


# In a grade.


@pytest.fixture
def gated(write_model):
    """A tiny model whose card asks for the gate, as every exported one does."""
    return write_model("onnx", card={"gate": "frontal-chest"})


def predict(*arguments):
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def test_a_rejected_image_has_no_level_and_asks_no_engine(gated, draw_xray):
    engine = SimpleNamespace(name="none", version="0", threads=1, infer=lambda _: pytest.fail("was asked"))
    result = Grader(read_model_file(gated).card, engine).grade(draw_xray(size=(200, 200)))
    assert (result.outcome, result.level, result.probabilities) == ("rejected", None, {})
    assert list(result.timing_ms) == ["read", "prepare", "gate", "infer"]
    assert result.timing_ms["infer"] < result.timing_ms["gate"]
    (note,) = result.notes
    assert note.startswith("looks like ")


def test_a_drawn_chest_is_graded_and_says_so(gated, draw_chest):
    result = Grader.open(gated, threads=1).grade(draw_chest())
    assert (result.outcome, result.level, result.notes) == ("graded", 1, (DRAWN,))
    assert list(result.timing_ms) == ["read", "prepare", "gate", "infer"]


def test_rejected_is_an_answer_in_every_format(gated, draw_xray):
    path = draw_xray(size=(200, 200))
    as_json = predict(path, "--model", gated, "--format", "json")
    assert as_json.exit_code == 0
    values = json.loads(as_json.stdout)
    assert (values["outcome"], values["level"], values["probabilities"]) == ("rejected", None, {})
    text = predict(path, "--model", gated).stdout
    assert text.startswith(f"{path}: rejected no level\n  note: looks like ")
    assert "level1" not in text
    (row,) = csv.DictReader(io.StringIO(predict(path, "--model", gated, "--format", "csv").stdout))
    assert tuple(row) == COLUMNS
    assert (row["outcome"], row["level"], row["probability_level1"]) == ("rejected", "", "")
    assert float(row["gate_ms"]) > 0


def test_without_the_gate_whatever_it_is_gets_a_level_and_a_note(gated, draw_xray):
    result = predict(draw_xray(size=(200, 200)), "--model", gated, "--format", "json", "--no-gate")
    values = json.loads(result.stdout)
    assert (values["outcome"], values["level"], values["notes"]) == ("graded", 1, [OFF])
    assert "gate" not in values["timing_ms"]


def test_watch_keeps_what_it_rejects_as_an_answer(gated, draw_xray, tmp_path):
    draw_xray("in/scan.png", size=(200, 200))
    options = ["--model", str(gated), "--once", "--every", "0.05", "--settle", "0.05"]
    result = CliRunner().invoke(main, ["watch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *options])
    assert result.exit_code == 0
    assert json.loads((tmp_path / "out/grades/scan.png.json").read_text())["outcome"] == "rejected"
    assert "scan.png: rejected: looks like " in result.stderr


def test_the_bundled_models_are_gated():
    for path in BUNDLED.parents[1].glob("models/cxrs/*.tflite"):
        assert read_model_file(path).card.gate == "frontal-chest"


# The file.


def test_the_file_is_read_back_as_it_was_written(tmp_path):
    data = read_gate(BUNDLED)
    (tmp_path / "gate.npz").write_bytes(pack_gate(data))
    again = read_gate(tmp_path / "gate.npz")
    assert asdict(again.limits) == asdict(data.limits)
    assert (again.classes, again.side, again.version, again.fitted) == (
        data.classes,
        data.side,
        data.version,
        data.fitted,
    )
    for layer, same in zip(data.layers, again.layers, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(layer, same, strict=True))
    assert BUNDLED.stat().st_size < 150_000


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "truncated", "text", "pickled", "another schema", "no weights"]
)
def test_a_damaged_file_is_told_of_by_name(tmp_path, damage):
    path = tmp_path / "gate.npz"
    content = BUNDLED.read_bytes()
    if damage == "pickled":
        np.savez(path, card=np.array([{"a": 1}], dtype=object))
    elif damage in ("another schema", "no weights"):
        schema = "cxrs-edge/gate/1" if damage == "no weights" else "x"
        np.savez(path, card=np.array(json.dumps({"schema": schema, "layers": 4})))
    elif damage != "missing":
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"hello"}[damage])
    with pytest.raises(
        ModelError, match=r"gate\.npz: the quality gate can't be read: .*; install cxrs-edge again"
    ):
        read_gate(path)


@given(where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_is_an_error_or_harmless(tmp_path_factory, where, value):
    content = bytearray(BUNDLED.read_bytes())
    content[int(where * len(content))] = value
    path = tmp_path_factory.mktemp("gate") / "gate.npz"
    path.write_bytes(content)
    with suppress(ModelError):
        read_gate(path)
