"""Recording released answers: with real engines on the bundled model, and the choice of images by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrs_bench.phantom import varied_phantoms
from cxrs_edge.engines.registry import choose_engine
from cxrs_edge.errors import VerificationError
from cxrs_edge.golden import read_golden
from cxrs_edge.grader import BUNDLED
from cxrs_edge.image import read_image
from cxrs_edge.prepare import InputSpec
from cxrs_edge.selftest import check_engine, check_preparation
from cxrs_export import golden
from cxrs_export.golden import LEAST_MARGIN, choose, draw_png, prepare_png, record_golden


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The bundled model files without their golden answers."""
    folder = tmp_path / "cxrs"
    folder.mkdir()
    for path in BUNDLED.glob("cxrs-int8.*"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def onnx_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "ENGINES", (choose_engine("onnx"),))


@pytest.mark.usefixtures("onnx_only")
def test_what_is_recorded_passes_the_self_test_and_is_the_same_again(models, monkeypatch):
    monkeypatch.setattr(golden, "choose", lambda _answers: [0, 2])  # three are too few for the real one
    lines: list[str] = []
    record_golden({}, models, drawn=3, echo=lines.append)
    recorded = read_golden(models)
    assert check_engine(recorded, choose_engine("onnx"), threads=1).largest_difference == 0
    assert check_preparation(recorded).different == 0
    assert list(recorded.packages) == ["onnxruntime"]
    assert list(recorded.pixels) == ["phantom-1", "phantom-2"]
    (line,) = lines
    assert line.startswith("onnxruntime ")
    before = {path.name: path.read_bytes() for path in (models / "golden").iterdir()}
    (models / "golden" / "phantom-99.png").write_bytes(b"of an earlier release")
    record_golden({}, models, drawn=3, echo=lines.append)
    assert {path.name: path.read_bytes() for path in (models / "golden").iterdir()} == before


@pytest.mark.usefixtures("onnx_only")
@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("/bin/false", "no answers from /bin/false, status 1: no message"),
        ("/nowhere", "no answers from /nowhere: "),
    ],
)
def test_a_package_without_answers_leaves_what_was_there(models, python, reason):
    index = models / "golden" / "golden.json"
    index.parent.mkdir()
    index.write_text("{}")
    with pytest.raises(VerificationError, match=f"onnxruntime: {reason}"):
        record_golden({"onnxruntime": python}, models, drawn=1)
    assert index.read_text() == "{}"


@pytest.mark.usefixtures("onnx_only")
def test_answers_that_depend_on_the_threads_are_refused(models, monkeypatch):
    answers = iter([("1", np.array([0.4])), ("1", np.array([0.45]))])
    monkeypatch.setattr(golden, "_answer", lambda *_: next(answers))
    with pytest.raises(VerificationError, match=r"differ by 0\.0500 between \(1, 2\) threads"):
        record_golden({}, models, drawn=1)


def test_the_images_nearest_to_the_tie_are_taken_but_none_nearer_than_the_margin():
    low = 0.5 - LEAST_MARGIN - np.array([-0.001, 0.001, 0.2, 0.003, 0.1, 0.3])
    assert choose([np.concatenate([low, 1 - low])]) == [1, 3, 4, 7, 9, 10]


def test_packages_must_agree_on_the_level_and_each_must_be_clear_of_a_tie():
    first = np.array([0.4, 0.4, 0.3, 0.2, 0.1, 0.6, 0.7, 0.8, 0.9])
    second = np.array([0.6, 0.5 - LEAST_MARGIN / 2, 0.3, 0.2, 0.1, 0.6, 0.7, 0.8, 0.9])
    assert choose([first, second]) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("level2", "level"), [(0.9, 1), (0.1, 2)])
def test_too_few_images_of_a_level_are_an_error(level2, level):
    with pytest.raises(
        VerificationError, match=rf"0 of 40 drawn phantoms get level {level} on every package"
    ):
        choose([np.full(40, level2)])


def test_drawn_images_are_small_and_of_any_shape():
    for phantom in varied_phantoms(2):
        png = draw_png(replace(phantom, width=2 * phantom.width, height=2 * phantom.height))
        assert min(read_image(png, name="p", at_least=None).pixels.shape) == 256
        assert prepare_png(png, InputSpec(size=64)).shape == (1, 64, 64, 3)
