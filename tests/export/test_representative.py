"""Which images int8 is calibrated on, and which files are verified on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_edge.errors import DataError
from cxrs_edge.image import GrayImage, read_file, read_image
from cxrs_edge.prepare import InputSpec, pixels_needed, prepare
from cxrs_export.representative import PHANTOM_NOTE, labelled_sets, phantom_set

SPEC = InputSpec(size=32)
Row = tuple[str, str, int, str, str]


@pytest.fixture
def write_set(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Write `labels.csv` from rows of image, patient, level, split, licence; each image has a gray value."""

    def write(rows: list[Row], folder: str = "set") -> Path:
        root = tmp_path / folder
        (root / "images").mkdir(parents=True)
        for number, (image_id, *_) in enumerate(rows):
            Image.new("L", (80, 80), number).save(root / "images" / f"{image_id}.png")
        with (root / "labels.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("image_id", "patient_id", "level", "split", "licence"))
            writer.writerows((f"{row[0]}.png", *row[1:]) for row in rows)
        return root

    return write


def training_rows(level1: int, level2: int) -> list[Row]:
    levels = [1] * level1 + [2] * level2
    return [(f"i{n}", f"p{n}", level, "train", "") for n, level in enumerate(levels)]


def test_phantoms_are_repeatable_and_alternate() -> None:
    chosen = phantom_set(SPEC, 4, seed=7)
    assert chosen.ids == (
        "phantom-7-0-level1",
        "phantom-7-1-level2",
        "phantom-7-2-level1",
        "phantom-7-3-level2",
    )
    assert chosen.source == PHANTOM_NOTE
    again = phantom_set(SPEC, 2, seed=7)
    assert again.ids == chosen.ids[:2]
    for first, second in zip(chosen.pixels, again.pixels, strict=False):
        assert np.array_equal(first, second)
    assert phantom_set(SPEC, 1, seed=8).ids == ("phantom-8-0-level1",)
    assert not np.array_equal(phantom_set(SPEC, 1, seed=8).pixels[0], chosen.pixels[0])


def test_phantoms_are_prepared_as_the_device_does() -> None:
    spec = InputSpec(size=64, channels=1, crop_top=0.2)
    (pixels,) = phantom_set(spec, 1, seed=3).pixels
    (phantom,) = varied_phantoms(1, seed=3)
    drawn = GrayImage(draw_phantom(phantom), "any", "drawn", (phantom.width, phantom.height))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (1, 64, 64, 1)
    assert np.array_equal(pixels, prepare(drawn, spec))
    assert pixels.std() > 10


def test_no_phantoms() -> None:
    assert phantom_set(SPEC, 0).pixels == ()


def test_tiny_set_gives_disjoint_training_images(tiny_set: Path) -> None:
    calibration, verification = labelled_sets(tiny_set, SPEC, images=None, calibration=4, verification=9)
    assert len(calibration.ids) == len(calibration.pixels) == 4
    # t07 is of level 0, t08 to t11 are test images.
    assert sorted(calibration.ids + verification.ids) == ["t00", "t01", "t02", "t03", "t04", "t05", "t06"]
    assert not set(calibration.ids) & set(verification.ids)
    for image_id, pixels in zip(calibration.ids, calibration.pixels, strict=True):
        path = tiny_set / "images" / f"{image_id}.jpg"
        image = read_image(read_file(path), name=image_id, at_least=pixels_needed(SPEC))
        assert np.array_equal(pixels, prepare(image, SPEC))
    # p0 to p4: p5's only image is of level 0.
    assert calibration.source == "training split of a labelled set, 5 patients in all"


def test_levels_alternate_until_one_runs_out(write_set) -> None:  # type: ignore[no-untyped-def]
    folder = write_set(training_rows(3, 6))
    calibration, verification = labelled_sets(folder, SPEC, images=None, calibration=4, verification=5)
    numbers = [int(name[1:-4]) for name in calibration.ids + verification.ids]
    levels = [1 if number < 3 else 2 for number in numbers]
    assert sorted(numbers) == list(range(9))
    assert levels == [1, 2, 1, 2, 1, 2, 2, 2, 2]


def test_seed_decides_the_draw(write_set) -> None:  # type: ignore[no-untyped-def]
    folder = write_set(training_rows(10, 10))

    def draw(seed: int) -> tuple[str, ...]:
        return labelled_sets(folder, SPEC, images=None, calibration=6, verification=1, seed=seed)[0].ids

    assert draw(0) == draw(0)
    assert len({draw(seed) for seed in range(4)}) == 4


def test_no_derivatives_are_left_out(write_set) -> None:  # type: ignore[no-untyped-def]
    rows = training_rows(3, 3)
    rows[0] = ("i0", "p0", 1, "train", "CC-BY-NC-ND-4.0")
    calibration, verification = labelled_sets(
        write_set(rows), SPEC, images=None, calibration=2, verification=9
    )
    names = calibration.ids + verification.ids
    assert sorted(names) == ["i1.png", "i2.png", "i3.png", "i4.png", "i5.png"]
    assert "5 patients" in calibration.source


def test_verification_takes_what_is_left(write_set) -> None:  # type: ignore[no-untyped-def]
    folder = write_set(training_rows(2, 2))
    calibration, verification = labelled_sets(folder, SPEC, images=None, calibration=3, verification=50)
    assert (len(calibration.ids), len(verification.ids)) == (3, 1)


def test_too_few_images_are_refused(write_set) -> None:  # type: ignore[no-untyped-def]
    folder = write_set(training_rows(2, 2))
    with pytest.raises(DataError, match="4 training images; expected more than the 4 for calibration"):
        labelled_sets(folder, SPEC, images=None, calibration=4, verification=1)


def test_a_test_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test_COVIDxSev.txt"
    path.write_text("p1 a.png level1 rsna\np2 b.png level2 rsna\n")
    with pytest.raises(
        DataError,
        match="its split is test; calibration takes training images only, test patients are refused",
    ):
        labelled_sets(path, SPEC, images=None, calibration=1, verification=1)


def test_progress_counts_the_images_read(write_set) -> None:  # type: ignore[no-untyped-def]
    calls: list[tuple[str, int, int]] = []
    labelled_sets(
        write_set(training_rows(2, 2)),
        SPEC,
        images=None,
        calibration=1,
        verification=2,
        report=lambda *call: calls.append(call),
    )
    assert calls == [("reading images", 1, 3), ("reading images", 2, 3), ("reading images", 3, 3)]
