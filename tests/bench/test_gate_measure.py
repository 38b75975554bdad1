"""Spoiled films, made images and pictures of packages, and the counts of what the gate says of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from cxrs_bench.gate import measure
from cxrs_bench.gate.films import at_most, read_films
from cxrs_bench.gate.made import MADE
from cxrs_bench.gate.measure import Tally, measure_films, measure_spoiled
from cxrs_bench.gate.packaged import SMALLEST, missing_packages, packaged_pictures
from cxrs_bench.gate.spoil import SPOILS
from cxrs_bench.gate.table import interval, render_table
from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_edge.cli import main

FILMS = arrays.arrays(np.uint8, st.tuples(st.integers(140, 180), st.integers(140, 180)))


def nothing(*_):
    pass


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gate") / "set"
    (folder / "images").mkdir(parents=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "patient_id", "split"])
        for seed in range(4):
            drawn = draw_phantom(Phantom((1, 0, 0, 0, 0, 2), seed, 300, 340))
            Image.fromarray(255 - drawn if seed == 3 else drawn).save(folder / "images" / f"p{seed}.png")
            writer.writerow([f"p{seed}.png", f"patient{seed // 2}", "test" if seed == 0 else "train"])
    return folder


@given(film=FILMS, seed=st.integers(0, 9))
def test_how_films_are_spoiled(film, seed):
    rng = np.random.default_rng(seed)
    spoiled = {kind: spoil(film, rng) for kind, spoil in SPOILS.items()}
    assert all(plane.dtype == np.uint8 for plane in spoiled.values())
    assert np.array_equal(SPOILS["turned_right"](spoiled["turned_left"], rng), film)
    assert spoiled["turned_left"][-1, 0] == film[0, 0]  # the upper left corner is the lower left one now
    assert spoiled["upside_down"][-1, -1] == film[0, 0]
    assert np.array_equal(SPOILS["upside_down"](spoiled["upside_down"], rng), film)
    assert np.array_equal(spoiled["inverted"].astype(int) + film, np.full(film.shape, 255))
    assert spoiled["part"].size <= film.size / 2 + max(film.shape)
    assert np.ptp(spoiled["nearly blank"]) <= 7
    assert 64 <= min(spoiled["small"].shape) < 128


@given(seed=st.integers(0, 20))
def test_made_images_have_the_size_that_was_asked_for(seed):
    for make in MADE.values():
        made = make((90, 70), np.random.default_rng(seed))
        assert (made.shape, made.dtype) == ((70, 90), np.uint8)
        assert np.array_equal(made, make((90, 70), np.random.default_rng(seed)))


def test_pictures_of_packages_are_gray_and_large_enough():
    pictures = list(packaged_pictures())
    names = {picture.name for picture in pictures}
    assert {"grace_hopper.jpg", "s1045.ima"} <= names or "matplotlib" in missing_packages()
    assert {"astronaut.png", "brick.png"} <= names or "scikit-image" in missing_packages()
    assert len({(picture.kind, picture.name) for picture in pictures}) == len(pictures)
    for picture in pictures:
        assert (picture.plane.ndim, picture.plane.dtype) == (2, np.uint8), picture.name
        assert min(picture.plane.shape) >= SMALLEST
        assert np.ptp(picture.plane) > 50


def test_films_are_counted_by_split(phantoms):
    tallies = measure_films(read_films(phantoms), nothing)
    assert tallies == [
        Tally("set, test", images=1, rejected=0, noted=0, passed=1, patients=1, drawn=1),
        Tally("set, train", images=3, rejected=1, noted=0, passed=2, patients=2, drawn=2),
    ]


def test_fewer_films_are_the_same_ones_each_time(phantoms):
    films = read_films(phantoms)
    assert set(at_most(None, films)) == set(at_most(9, films)) == set(films)
    few = at_most(2, films)
    assert [film.group for film in few] == ["set, test", "set, train", "set, train"]
    assert set(few) == set(at_most(2, tuple(reversed(films))))


def test_spoiled_films_are_counted_with_their_reason(phantoms):
    films = [film for film in read_films(phantoms) if film.path.name in ("p0.png", "p1.png")]
    by_kind = {tally.kind: tally for tally in measure_spoiled(films, nothing)}
    assert list(by_kind) == [f"film, {kind}" for kind in SPOILS]
    for kind in ("turned_left", "turned_right", "upside_down", "inverted", "nearly blank", "small"):
        assert by_kind[f"film, {kind}"] == Tally(f"film, {kind}", 2, 2, 0, 0, patients=1, right_reason=2)


def test_an_interval_by_hand():
    # Wilson's upper end for none of n is z^2 / (n + z^2).
    squared = 1.959964**2
    assert interval(0, 100) == pytest.approx((0, squared / (100 + squared)), abs=1e-6)
    low, high = interval(30, 60)
    assert low + high == pytest.approx(1)


def test_the_table(phantoms, monkeypatch):
    row = render_table([Tally("film, part", 200, 150, 20, 30, patients=90, right_reason=120)]).splitlines()[
        -1
    ]
    assert row == "| film, part | 200 | 90 | 150 = 75.0 % | 68.6 to 80.5 % | 20 | 30 | 120 of 150 |"
    monkeypatch.setattr(
        measure, "_others", lambda: iter([("drawn phantom", draw_phantom(Phantom((0,) * 6)))])
    )
    result = CliRunner().invoke(main, ["gate", "measure", str(phantoms), "--format", "json"])
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    kinds = {kind["kind"]: kind for kind in values["kinds"]}
    assert kinds["film, inverted"]["images"] == 1  # the one film of the split test
    assert kinds["drawn phantom"]["drawn"] == 1
    assert kinds["set, train"]["rejected_interval"][0] > 0
