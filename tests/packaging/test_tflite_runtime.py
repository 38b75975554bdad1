"""The bundled model on tflite-runtime 2.14, the last one: all that a 32 bit Raspberry Pi can have."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_edge.grader import BUNDLED, Grader

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python() -> Path:
    """Of the environment that the Makefile makes, with tflite-runtime and numpy 1; needs the network once."""
    if shutil.which("python3.11") is None or sys.platform != "linux":
        pytest.skip("tflite-runtime ends at Python 3.11 on Linux, and there is none here")
    subprocess.run(["make", ".venv-tflite-runtime/.done"], check=True, cwd=ROOT)
    return ROOT / ".venv-tflite-runtime/bin/python"


@pytest.mark.usefixtures("python")
def test_it_does_what_every_engine_must() -> None:
    run = subprocess.run(
        ["make", "test-tflite-runtime"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert run.returncode == 0, run.stdout
    assert " passed" in run.stdout


def test_predict_answers_as_litert_does(python: Path, tmp_path: Path) -> None:
    from PIL import Image

    image = tmp_path / "phantom.png"
    Image.fromarray(draw_phantom(Phantom((0, 2, 3, 0, 1, 2), width=600, height=700))).save(image)
    run = subprocess.run(
        [python, "-m", "cxrs_edge", "predict", image, "--format", "json", "--threads", "1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found = json.loads(run.stdout)
    expected = Grader.open(BUNDLED / "cxrs-int8.tflite", "tflite", threads=1).grade(image)
    assert (found["engine"]["name"], found["engine"]["version"]) == ("tflite", "2.14.0")
    assert found["level"] == expected.level
    assert found["probabilities"]["level2"] == pytest.approx(expected.probabilities["level2"], abs=0.02)
