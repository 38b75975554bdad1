"""Every image of the table, through the real command in a process with little memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_command import predict
from hostile_images import REFUSED, UNUSUAL, ImageCase
from image_bytes import encode
from PIL import Image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (72, 80)).astype(np.uint8))
"""Of which every byte of the file matters."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory, write_models) -> Callable[[ImageCase], dict]:
    """What the command answers to each case: one process for those refused, one for the others."""
    folder = tmp_path_factory.mktemp("hostile")
    found = {}
    for cases, status in ((REFUSED, 1), (UNUSUAL, 0)):
        paths = [folder / f"{case.name}.png" for case in cases]
        for path, case in zip(paths, cases, strict=True):
            path.write_bytes(case.make())
        done = predict(write_models("onnx", folder), *paths)
        assert "Traceback" not in done.stderr
        assert done.returncode == status, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["source"] for line in lines] == [str(path) for path in paths]
        found |= {line["source"]: line for line in lines}
    return lambda case: found[str(folder / f"{case.name}.png")]


def test_the_table_is_long_and_its_names_differ():
    names = [case.name for case in (*REFUSED, *UNUSUAL)]
    assert len(set(names)) == len(names) >= 70


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(case, answers):
    if case.name == "DICOM":
        pytest.importorskip("pydicom", reason="the extra dicom, whose absence is what would be told")
    answer = answers(case)
    assert answer["outcome"] == "error"
    assert answer["error"]["kind"] == "image"
    message = answer["error"]["message"]
    assert message.startswith(f"{answer['source']}: ")
    assert case.says in message
    assert len(message) < 600


@pytest.mark.parametrize("case", UNUSUAL, ids=lambda case: case.name)
def test_unusual(case, answers):
    answer = answers(case)
    assert answer["outcome"] == "graded"
    assert answer["notes"] == ([case.says] if case.says else [])


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
    ],
    ids=["PNG", "JPEG", "progressive JPEG", "TIFF", "BMP"],
)
def test_truncated_at_each_percent(file_format, options, tmp_path, write_models):
    """A grade of half a picture would be worse than none: only what lost no pixel may get one, the same one."""
    whole = encode(NOISE, file_format, **options)
    for percent in range(1, 101):
        (tmp_path / f"{percent:03}.png").write_bytes(whole[: len(whole) * percent // 100])
    done = predict(write_models("onnx", tmp_path), tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    *cut, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cut) == 99
    assert last["outcome"] == "graded"
    taken = [line for line in cut if line["outcome"] != "error"]
    assert all(line["probabilities"] == last["probabilities"] for line in taken)
    assert len(taken) <= 2


@pytest.mark.slow
def test_ten_thousand_files(tmp_path, write_models):
    for number in range(10_000):
        (tmp_path / f"{number:05}.png").touch()
    done = predict(write_models("onnx", tmp_path), tmp_path)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["source"]).stem for line in lines] == [f"{number:05}" for number in range(10_000)]
    assert done.stderr.endswith("10000 of 10000 inputs ended in an error.\n")
