"""The figures of evidence on a linear network, where each can be computed by hand."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from cxrs_bench.evidence.audit import audit_marks, render_audit
from cxrs_bench.evidence.fills import ALL_FILLS, membrane
from cxrs_bench.evidence.marks import MARKS, paint_border
from cxrs_bench.evidence.measure import Settings, measure_all, measure_image
from cxrs_bench.evidence.measures import correlation, removal_curves, zone_auc, zone_means
from cxrs_bench.evidence.methods import (
    OURS,
    cell_methods,
    centre_map,
    occlusion_map,
    random_map,
    strongest_cells,
)
from cxrs_bench.evidence.record import Records
from cxrs_bench.evidence.subject import Subject
from cxrs_bench.evidence.table import render_tables
from cxrs_bench.labelled import LabelledImage
from cxrs_bench.readings import Readings
from cxrs_edge.errors import DataError
from cxrs_edge.evidence.fills import to_pixels

sys.path.insert(0, str(Path(__file__).parents[2] / "edge"))

from linear_engine import LinearEngine, examine_cells, linear_grader

ROW = LabelledImage(
    "one", Path("one.png"), "patient", 2, "test", readings=Readings(senior=(3, 0, 0, 0, 0, 0))
)


def one_spot(weight: float = 8, threshold: float = 0.75) -> tuple[Subject, LinearEngine]:
    """A white cell on black, the only one that counts: row 3, column 2 of 8. The margin is 8 x 0.25 = 2."""
    weights, gray = np.zeros((8, 8)), np.zeros((8, 8))
    weights[3, 2], gray[3, 2] = weight, 255
    grader, engine = linear_grader(weights)
    engine.threshold = threshold
    return Subject(grader, examine_cells(grader, gray)), engine


def logistic(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


@pytest.fixture
def draw_xray(tmp_path):
    def draw(name: str, size: tuple[int, int], seed: int = 0) -> Path:
        gray = np.random.default_rng(seed).integers(60, 200, size[::-1], dtype=np.uint8)
        Image.fromarray(gray).save(tmp_path / name)
        return tmp_path / name

    return draw


# -- the unseen fill ------------------------------------------------------------------------------


def test_the_membrane_goes_on_with_a_slope():
    """A plane that rises evenly solves Laplace's equation, so what was removed comes back."""
    plane = np.tile(np.linspace(0, 239, 480).astype(np.uint8), (480, 1))
    cells = np.zeros((15, 15), bool)
    cells[5:9, 4:8] = True
    mask = to_pixels(cells, plane.shape)
    damaged = np.where(mask, np.uint8(255), plane)
    assert np.abs(membrane(damaged, mask).astype(int) - plane).max() <= 3


def test_the_membrane_of_everything_is_the_mean():
    plane = np.tile(np.array([0, 100], np.uint8), (480, 240))
    assert set(membrane(plane, np.ones_like(plane, bool)).ravel()) == {50}


@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
@settings(max_examples=10, deadline=None)
def test_the_membrane_leaves_the_rest_and_stays_between(seed, share):
    random = np.random.default_rng(seed)
    plane = random.integers(50, 201, (480, 480), dtype=np.uint8)
    mask = to_pixels(random.random((15, 15)) < share, plane.shape)
    filled = membrane(plane, mask)
    assert (filled[~mask] == plane[~mask]).all()
    assert filled.min() >= 50
    assert filled.max() <= 200


# -- methods --------------------------------------------------------------------------------------


def test_the_strongest_cells_are_as_many_as_asked():
    values = np.array([[1.0, 3.0], [2.0, 3.0]])
    assert strongest_cells(values, 2).tolist() == [[False, True], [False, True]]
    assert strongest_cells(np.zeros((2, 2)), 1).tolist() == [[True, False], [False, False]]


def test_occlusion_finds_the_cell_by_what_it_loses():
    subject, engine = one_spot()
    found = occlusion_map(subject)
    # Squares of 3 at steps of 2: three down, three across.
    assert len(engine.asked) == 1 + 9
    # The middle gray of the image is 255 / 64 = 4: 8 x (4 / 255 - 0.75).
    loss = logistic(2) - logistic(8 * (4 / 255 - 0.75))
    assert found[3, 2] == pytest.approx(loss, abs=1e-3)
    assert found[7, 7] == 0


def test_chance_and_the_centre():
    subject, engine = one_spot()
    assert (random_map(subject) == random_map(subject)).all()
    chosen = np.argwhere(strongest_cells(centre_map(subject), 4)).tolist()
    assert chosen == [[3, 3], [3, 4], [4, 3], [4, 4]]
    assert len(engine.asked) == 1


@pytest.mark.parametrize("name", ["LIME", "SHAP"])
def test_the_libraries_find_the_cell(name):
    subject, engine = one_spot()
    pytest.importorskip(name.lower(), reason="the extra explain is not installed")
    found = cell_methods(80, None)[name](subject)
    assert found.shape == (8, 8)
    assert found[3, 2] == found.max() > 0
    assert len(engine.asked) <= 1 + 80 + 20


def test_grad_cam_is_there_only_with_the_float_network():
    assert "Grad-CAM" not in cell_methods(10, None)
    assert list(cell_methods(10, lambda subject: subject.support))[:2] == [OURS, "Grad-CAM"]


# -- figures --------------------------------------------------------------------------------------


def test_deletion_and_insertion_by_hand():
    """Two steps, halves: the cell that counts goes, or comes, in the first one."""
    subject, _ = one_spot()
    deletion, insertion = removal_curves(subject, subject.support, 2)
    gone = logistic(8 * (4 / 255 - 0.75))
    assert deletion == pytest.approx((logistic(2) + gone) / 4 + gone / 2, abs=1e-3)
    blurred = subject.ask(np.asarray(_blurred(subject)))
    assert insertion == pytest.approx((blurred + logistic(2)) / 4 + logistic(2) / 2, abs=1e-3)


def _blurred(subject):
    return Image.fromarray(subject.plane).filter(ImageFilter.GaussianBlur(256 * 32 / 480))


@pytest.mark.parametrize(
    ("affected", "expected"),
    [
        ((True, False, False, False, False, False), 1.0),
        ((False, True, False, False, False, False), 0.8),
        ((False, False, False, False, True, False), 0.2),
        ((True, True, True, True, True, True), math.nan),
        ((False,) * 6, math.nan),
    ],
)
def test_zones_are_told_apart_where_they_are(affected, expected):
    """Strong at the upper zone of the right lung, which is upper left; weaker the farther away."""
    down, across = np.indices((15, 15))
    values = -np.hypot(down - 4.3, across - 4.0)
    assert zone_auc(values, affected) == pytest.approx(expected, nan_ok=True)


def test_a_zone_is_where_its_bell_is():
    left = np.zeros((15, 15))
    left[:, :7] = 1
    assert (zone_means(left)[:3] > 0.9).all()
    assert (zone_means(left)[3:] < 0.1).all()


def test_correlation():
    values = np.arange(6.0).reshape(2, 3)
    assert correlation(values, 3 * values + 1) == pytest.approx(1)
    assert math.isnan(correlation(values, np.ones((2, 3))))


# -- records and tables ---------------------------------------------------------------------------


def test_one_record_by_hand():
    subject, _ = one_spot()
    methods = {name: cell_methods(10, None)[name] for name in (OURS, "centre")}
    record = measure_image(subject, ROW, Settings(methods, steps=0))
    assert (record["level"], record["cells"], record["factor_cells"]) == (2, 1, 1)
    removed = record["methods"][OURS]["removed"]
    assert list(removed) == list(ALL_FILLS) == ["blur", "ring mean", "membrane"]
    assert all(found["changed"] for found in removed.values())
    assert removed["membrane"]["probability"] == pytest.approx(logistic(-6), abs=1e-3)
    assert record["factors"] == removed
    # One cell in the middle doesn't count.
    assert not any(found["changed"] for found in record["methods"]["centre"]["removed"].values())
    # Mirrored, the spot is where nothing counts, and what counts is black: one cell of 64 up, another one down.
    assert record["maps"]["flipped"] == pytest.approx(1 / 63)


def test_records_go_on_where_they_stopped(tmp_path, draw_xray):
    path = tmp_path / "records.jsonl"
    rows = tuple(
        LabelledImage(name, draw_xray(f"{name}.png", size=(64, 64), seed=seed), name, 2, "test")
        for seed, name in enumerate(("one", "two", "three"))
    )
    grader, engine = linear_grader(np.ones((2, 2)))
    setting = Settings({OURS: cell_methods(10, None)[OURS]}, steps=0)
    how = {"model": "x"}
    measure_all(grader, rows[:2], setting, Records(path, how), lambda *_: None)
    kept = path.read_text().splitlines()
    with path.open("a") as file:
        file.write('{"image_id": "thr')  # killed
    asked = len(engine.asked)
    again = Records(path, how)
    measure_all(grader, rows, setting, again, lambda *_: None)
    assert path.read_text().splitlines()[:3] == kept
    assert [json.loads(line)["image_id"] for line in path.read_text().splitlines()[1:]] == [
        "one",
        "two",
        "three",
    ]
    assert 0 < len(engine.asked) - asked < asked
    with pytest.raises(DataError, match="measured otherwise"):
        Records(path, {"model": "y"})
    path.write_text("no json")
    with pytest.raises(DataError, match="no records of evidence"):
        Records(path, how)


def record_of(patient: str, level: int, ours: bool, other: bool) -> dict:
    def method(changed):
        removed = {fill: {"probability": 0.2, "changed": changed} for fill in ALL_FILLS}
        return {"seconds": 0.5, "removed": removed, "deletion": 0.4, "insertion": 0.6, "zone_auc": math.nan}

    return {
        "patient": patient,
        "level": level,
        "methods": {OURS: method(ours), "centre": method(other)},
        "factor_cells": 3 if ours else 0,
        "factors": method(ours)["removed"] if ours else {},
        "maps": {"flipped": 0.9},
    }


def test_the_tables_say_better_only_beyond_the_interval():
    records = [record_of(f"p{i}", 1 + i % 2, ours=True, other=False) for i in range(20)]
    text = render_tables(records, resamples=100, seed=0)
    assert text.startswith("20 images of 20 patients, 0 of them with")
    assert "| evidence | 1.00 (1.00 to 1.00) |" in text
    assert "| centre | +1.00 (+1.00 to +1.00) |" in text
    assert "| better |" in text
    mixed = [record_of(f"p{i}", 1, ours=i % 2 == 0, other=i % 2 == 1) for i in range(20)]
    text = render_tables(mixed, resamples=100, seed=0)
    assert "| not told apart |" in text
    assert "| 1 | critical factors | 10 | 1.00 (1.00 to 1.00)" in text
    assert "| 2 | all candidates | 0 |  |" in text


# -- marks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MARKS)
def test_a_mark_changes_a_small_part(name):
    plane = np.full((480, 480), 100, np.uint8)
    before = plane.copy()
    marked = MARKS[name](plane)
    changed = (marked != plane).mean()
    assert (plane == before).all()
    assert 0.0005 < changed < 0.2
    assert marked.dtype == np.uint8


def test_a_border_is_as_broad_as_asked():
    framed = paint_border(np.full((100, 100), 7, np.uint8), 255, 0.05)
    assert (framed[:5] == 255).all()
    assert (framed[5:95, 5:95] == 7).all()


def test_the_audit_counts_flips(draw_xray):
    """Two cells a side that count alike: a white border moves the margin up, a black one down."""
    rows = (LabelledImage("one", draw_xray("one.png", size=(64, 64)), "p", 2, "test"),)
    grader, engine = linear_grader(np.full((2, 2), 5.0))
    examined = grader.examine(rows[0].path)
    # Just below level 2: whatever makes it brighter flips it.
    engine.threshold = float(examined.pixels.mean() / 255) + 0.001
    marked = audit_marks(grader, rows, lambda *_: None)
    flips = dict(zip(MARKS, (level != marked[0].level for level in marked[0].levels), strict=True))
    assert marked[0].level == 1
    assert flips["white border, 5 %"]
    assert not flips["black border, 5 %"]
    text = render_audit(marked, resamples=100, seed=0)
    assert "| white border, 5 % | 1 of 1 | 1.000 (1.000 to 1.000) | +" in text
