from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from cxrs_bench.data.audit import find_overlaps, render_overlap
from cxrs_bench.data.listed import Entry, ImageList, read_lists
from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_edge.cli import main

DATA = Path(os.environ.get("CXRS_SEVERITY", Path(__file__).parents[4] / "shared" / "data" / "severity"))
PRETRAIN = DATA.parent / "pretrain"
SHARED = Path(os.environ.get("CXRS_COVIDX_LISTS", Path(__file__).parents[4] / "shared/data/covidx-lists"))
OFFICIAL = SHARED / "test_COVIDxSev.txt", SHARED / "train_COVIDx8B.txt.gz"


def listed(name: str, *lines: str) -> ImageList:
    return ImageList(name, tuple(Entry(*line.split()) for line in lines))


def test_shared_images_and_patients() -> None:
    first = listed("a", "1.png p level1", "2.png p level2", "3.png q level2", "4.png r level1", "5.png")
    second = listed("b", "2.png p pos", "6.png p pos", "x/3.png s neg", "7.png r pos", "5.png")
    (overlap,) = find_overlaps([first, second], {})
    assert [pair.second.file for pair in overlap.images] == ["2.png", "x/3.png", "5.png"]
    assert [pair.first.file for pair in overlap.images] == ["2.png", "3.png", "5.png"]
    # Image 5 has no patient in either list, which is no patient in common.
    assert [pair.first.patient for pair in overlap.patients] == ["p", "r"]


def test_a_patient_id_under_another_source_counts_but_is_told_apart() -> None:
    first = listed("a", "1.png 25 level1 cohen", "2.png 26 level1 cohen", "3.png 27 level1")
    second = listed(
        "b", "4.png 25 level1 ricord", "5.png 26 level1 sirm", "6.png 26 level1 cohen", "7.png 27 x y"
    )
    (overlap,) = find_overlaps([first, second], {})
    assert [(pair.first.patient, pair.second.file) for pair in overlap.patients] == [
        ("25", "4.png"),
        ("26", "6.png"),
        ("27", "7.png"),
    ]
    told = render_overlap(overlap)
    assert (
        "shared patients  3, with 3 images in the first and 4 in the second: 25, 26, 27; 1 under other"
        in told
    )


@pytest.mark.skipif(not OFFICIAL[0].is_file(), reason=f"no lists at {SHARED} (CXRS_COVIDX_LISTS)")
def test_the_official_test_set_is_in_the_training_set_of_the_network_before_it() -> None:
    lists = [one for path in OFFICIAL for one in read_lists(path)]
    (overlap,) = find_overlaps(lists, {})
    assert len(overlap.images) == 91
    labels = [pair.first.label for pair in overlap.images]
    assert (labels.count("level2"), labels.count("level1")) == (78, 13)
    assert len(overlap.patients) == 9
    told = CliRunner().invoke(main, ["data", "audit", *map(str, OFFICIAL), "--fail-on-overlap"])
    assert told.exit_code == 5
    assert "shared images    91: 78 level2, 13 level1 in the first; 91 positive in the second" in told.output


@pytest.mark.skipif(not PRETRAIN.is_dir(), reason=f"no sets at {DATA} and {PRETRAIN} (CXRS_SEVERITY)")
def test_the_real_sets_share_what_their_data_card_says() -> None:
    arguments = ["data", "audit", str(DATA), str(PRETRAIN), "--no-near-duplicates", "--format", "json"]
    told = [json.loads(line) for line in CliRunner().invoke(main, arguments).stdout.splitlines()]
    shared = {(row["first"], row["second"]): row["shared_patients"] for row in told}
    # "6 images are of patients who also have other images in severity/ (train part only)": four patients.
    assert {names for names, count in shared.items() if count} == {("severity (train)", "pretrain (train)")}
    assert shared["severity (train)", "pretrain (train)"] == 4
    assert len(shared) == 6


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    small = (replace(phantom, width=320, height=320) for phantom in varied_phantoms(3, seed=5))
    a, b, c = (Image.fromarray(draw_phantom(phantom)) for phantom in small)
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
    a.save(tmp_path / "ours" / "a.png")
    b.save(tmp_path / "ours" / "b.png")
    c.save(tmp_path / "theirs" / "c.png")
    ImageOps.invert(a.resize((300, 300))).save(tmp_path / "theirs" / "other-name.jpg")
    return tmp_path


def test_near_duplicates_of_two_folders(pictures: Path) -> None:
    pairs = pictures / "pairs.csv"
    arguments = ["data", "audit", str(pictures / "ours"), str(pictures / "theirs"), "--pairs", str(pairs)]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 0, told.output
    assert "Pixels compared of 4 of 4 images." in told.output
    assert "near-duplicates  1\n    a.png ~ other-name.jpg (-1.00)" in told.output
    with pairs.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["kind"], row["first_file"], row["second_file"]) == (
        "near-duplicate",
        "a.png",
        "other-name.jpg",
    )
    assert float(row["similarity"]) < -0.88


def test_pixels_of_lists_are_found_in_the_folders_named(pictures: Path) -> None:
    (pictures / "train.txt").write_text("p a.png level1 x\nq b.png level2 x\nr gone.png level2 x\n")
    (pictures / "test.txt").write_text("s other-name.jpg level1 x\n")
    (pictures / "theirs" / "c.png").write_bytes(b"damaged")
    lists = [str(pictures / "train.txt"), str(pictures / "test.txt"), "--format", "json"]
    folders = ["--images", str(pictures / "ours"), "--images", str(pictures / "theirs")]
    told = CliRunner().invoke(main, ["data", "audit", *lists, *folders])
    assert "Pixels compared of 3 of 4 images." in told.stderr
    assert json.loads(told.stdout) == {
        "schema": "cxrs-edge/audit/1",
        "first": "train.txt",
        "second": "test.txt",
        "images": [3, 1],
        "shared_images": 0,
        "shared_images_by_label": [{}, {}],
        "shared_patients": 0,
        "near_duplicates": 1,
    }
    without = CliRunner().invoke(main, ["data", "audit", *lists, *folders, "--no-near-duplicates"])
    assert json.loads(without.stdout)["near_duplicates"] == 0
    apart = CliRunner().invoke(main, ["data", "audit", *lists, "--fail-on-overlap"])
    assert (apart.exit_code, "--images names the folder" in apart.stderr) == (0, True)


def test_damaged_images_are_told_and_the_rest_compared(pictures: Path) -> None:
    (pictures / "ours" / "b.png").write_bytes(b"damaged")
    arguments = ["data", "audit", str(pictures / "ours"), str(pictures / "theirs"), "--fail-on-overlap"]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 5
    assert "b.png: not an image" in told.stderr
    assert "Pixels compared of 3 of 4 images." in told.stderr


def test_a_table_that_can_t_be_written_is_named(pictures: Path) -> None:
    pairs = pictures / "gone" / "pairs.csv"
    arguments = ["data", "audit", str(pictures / "ours"), str(pictures / "theirs"), "--pairs", str(pairs)]
    told = CliRunner().invoke(main, arguments)
    assert (told.exit_code, f"{pairs}: can't be written: No such file" in told.stderr) == (1, True)


def test_one_list_is_no_comparison(pictures: Path) -> None:
    told = CliRunner().invoke(main, ["data", "audit", str(pictures / "ours")])
    assert told.exit_code == 2
    assert "one list; expected two or more" in told.output
