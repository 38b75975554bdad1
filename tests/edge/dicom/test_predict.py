"""DICOM files through the command line: `predict` on files and folders, its JSON, and `show`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pydicom import uid
from pydicom.fileset import FileSet

from cxrs_edge.cli import main
from cxrs_edge.image import read_image
from cxrs_edge.prepare import InputSpec, prepare

from .conftest import PATIENT, encode, new_dataset, stored_values
from .test_matrix import frame

WINDOW = {"WindowCenter": [2000, 1], "WindowWidth": [3000, 1]}


@pytest.fixture
def tiny(write_model: Callable[..., Path]) -> Path:
    return write_model("onnx")


@pytest.fixture
def xray() -> bytes:
    return encode(new_dataset(stored_values(12), 12, PhotometricInterpretation="MONOCHROME1", **WINDOW))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_grade_says_how_its_pixels_were_made(tiny: Path, xray: bytes, tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(xray)
    result = run("predict", tmp_path / "scan.dcm", "--model", tiny, "--format", "json")
    assert result.exit_code == 0
    graded = json.loads(result.stdout)
    assert graded["notes"] == ["2 windows in the file; the first was used"]
    assert graded["image"] == {
        "format": "DICOM",
        "width": 88,
        "height": 72,
        "bits": 12,
        "crop": {"left": 8, "top": 0, "side": 72},
        "grayscale": {
            "transfer_syntax": "1.2.840.10008.1.2.1",
            "photometric": "MONOCHROME1",
            "bits_stored": 12,
            "signed": False,
            "padding": None,
            "modality": None,
            "voi": {"kind": "LINEAR", "center": 2000.0, "width": 3000.0},
            "inverted": True,
        },
    }
    assert "Ephemeral" not in result.output


def test_a_refused_file_is_an_image_error(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(encode(new_dataset(stored_values(12), 12, ViewPosition="LL")))
    result = run("predict", tmp_path / "scan", "--model", tiny, "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["kind"] == "image"


def test_a_folders_dicom_files_are_found_whatever_they_are_called(
    tiny: Path, xray: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "stick"
    (folder / "DICOM").mkdir(parents=True)
    for name in ("1.2.826.0.1", "DICOM/IM000001", "a.dcm", "z.DICOM"):
        (folder / name).write_bytes(xray)
    (folder / ".hidden").write_bytes(xray)
    (folder / "notes.txt").write_text("DICM is not at its place here. " * 20)
    (folder / "unreadable").write_bytes(b"")
    os.mkfifo(folder / "fifo")
    FileSet().write(folder)  # its DICOMDIR
    assert (folder / "DICOMDIR").is_file()
    result = run("predict", folder, "--model", tiny, "--format", "json")
    found = [json.loads(line)["source"] for line in result.stdout.splitlines()]
    assert found == [str(folder / name) for name in ("1.2.826.0.1", "a.dcm", "z.DICOM", "DICOM/IM000001")]
    assert result.exit_code == 0


def test_show_into_a_folder_that_is_not_there_says_what_to_do(xray: bytes, tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(xray)
    target = tmp_path / "none" / "seen.png"
    result = run("show", tmp_path / "scan.dcm", "-o", target)
    assert result.exit_code == 1
    expected = "expected a file in a folder that exists and may be written to; name another --output"
    assert f"{target}: can't be written: No such file or directory; {expected}" in result.stderr


@pytest.mark.parametrize("name", ["cut.dcm", "CUT.DICOM"])
@pytest.mark.parametrize("damaged", [b"", b"\0" * 500, b"DICM was here"], ids=["empty", "zeros", "text"])
def test_a_damaged_file_that_is_called_dicom_gets_its_error(
    tiny: Path, xray: bytes, tmp_path: Path, name: str, damaged: bytes
) -> None:
    (tmp_path / name).write_bytes(damaged)
    (tmp_path / "whole.dcm").write_bytes(xray)
    result = run("predict", tmp_path, "--model", tiny, "--format", "json")
    answers = {
        Path(answer["source"]).name: answer["outcome"]
        for answer in map(json.loads, result.stdout.splitlines())
    }
    assert answers == {name: "error", "whole.dcm": "graded"}
    assert result.exit_code == 1


def test_show_writes_what_the_network_sees_and_how_it_was_made(xray: bytes, tmp_path: Path) -> None:
    source, target = tmp_path / f"{PATIENT}.dcm", tmp_path / "seen.png"
    source.write_bytes(xray)
    result = run("show", source, "-o", target)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "DICOM, 88 x 72 pixels, 12 bit",
        "MONOCHROME1, 12 bit unsigned, transfer syntax 1.2.840.10008.1.2.1",
        "Modality LUT: none",
        "VOI LUT: window LINEAR, center 2000, width 3000",
        "Inverted: yes",
        "Crop: 67 x 67 pixels, 10 from the left, 5 from the top",
        "Seen: 76 % of the width, 93 % of the height",
        "Network input: 480 x 480, bilinear; cxrs 0.1.0",
        "Note: 2 windows in the file; the first was used",
        "Research software: not a medical device, not for patient care.",
    ]
    seen = prepare(read_image(xray, name="scan"), InputSpec())[0, :, :, 0]
    with Image.open(target) as picture:
        assert picture.info == {}
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels[:480], seen)
    text = pixels[480:]
    assert text.shape == (2 * 10 + 10 * 18, 480)
    # Each line of text has some white in it.
    assert (text[10:-10].reshape(10, 18, 480).max(axis=(1, 2)) > 200).all()
    for data in (target.read_bytes(), result.output.encode()):
        assert b"Ephemeral" not in data


def test_show_enlarges_a_small_input_by_whole_pixels(
    write_model: Callable[..., Path], draw_xray: Callable[..., Path], tmp_path: Path
) -> None:
    source, target = draw_xray("scan.jpg"), tmp_path / "seen.png"
    result = run("show", source, "-o", target, "--model", write_model("tflite"))
    assert result.exit_code == 0, result.output
    assert "JPEG, 160 x 140 pixels, 8 bit\nGray levels: as in the file\n" in result.stdout
    spec = InputSpec(size=32, crop_top=0.0)
    seen = prepare(read_image(source.read_bytes(), name="scan", at_least=32), spec)[0, :, :, 0]
    with Image.open(target) as picture:
        np.testing.assert_array_equal(np.asarray(picture)[:480], seen.repeat(15, 0).repeat(15, 1))


def test_show_tells_of_16_bits_in_a_png(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(stored_values(12)).save(path)
    assert run("show", path, "-o", tmp_path / "seen.png").stdout.startswith("PNG, 88 x 72 pixels, 12 bit\n")


def test_show_never_replaces_the_xray(draw_xray: Callable[..., Path]) -> None:
    path = draw_xray()
    before = path.read_bytes()
    result = run("show", path, "-o", path)
    assert result.exit_code == 2
    assert "would replace the X-ray itself" in result.output
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["missing/seen.png", "."])
def test_show_says_when_it_cannot_write(draw_xray: Callable[..., Path], tmp_path: Path, name: str) -> None:
    result = run("show", draw_xray(), "-o", tmp_path / name)
    assert result.exit_code == 1
    assert "can't be written" in result.output


def test_show_says_when_there_is_no_xray_or_too_little_memory(
    draw_xray: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = draw_xray("old.png")
    before = target.read_bytes()
    result = run("show", tmp_path / "missing.dcm", "-o", target)
    assert (result.exit_code, "can't be read" in result.output) == (1, True)

    def exhaust(*_args: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cxrs_edge.show.prepare", exhaust)
    result = run("show", draw_xray(), "-o", target)
    assert (result.exit_code, "too large for this machine's memory" in result.output) == (1, True)
    assert target.read_bytes() == before


def test_show_refuses_what_predict_refuses(tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(encode(new_dataset(stored_values(12), 12, BodyPartExamined="HAND")))
    result = run("show", tmp_path / "scan", "-o", tmp_path / "seen.png")
    assert result.exit_code == 1
    assert "body part HAND" in result.output
    assert not (tmp_path / "seen.png").exists()


LOADED = """
import sys
from cxrs_edge.image import read_image
read_image(sys.stdin.buffer.read(), name="scan")
print(*sorted({"pydicom", "imagecodecs"} & sys.modules.keys()))
"""


def test_packages_are_imported_only_for_files_that_need_them(xray: bytes, tmp_path: Path) -> None:
    Image.fromarray(stored_values(8)).save(tmp_path / "scan.png")
    rle = frame(uid.RLELossless, 12, False)
    compressed = encode(new_dataset(stored_values(12), 12), uid.RLELossless, rle)
    for data, loaded in [
        ((tmp_path / "scan.png").read_bytes(), ""),
        (xray, "pydicom"),
        (compressed, "imagecodecs pydicom"),
    ]:
        program = subprocess.run([sys.executable, "-c", LOADED], input=data, capture_output=True, check=True)
        assert program.stdout.decode().strip() == loaded
