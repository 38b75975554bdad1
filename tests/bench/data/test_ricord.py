"""`cxrs-edge data ricord` on a miniature collection; every expectation was computed by hand."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cxrs_bench.data.ricord import build as building
from cxrs_bench.data.ricord.annotations import read_gradings
from cxrs_bench.data.ricord.clinical import read_studies
from cxrs_bench.data.ricord.images import read_provenance
from cxrs_bench.data.ricord.published import read_published
from cxrs_bench.labelled import read_labelled
from cxrs_edge.cli import main
from cxrs_edge.errors import DataError

LISTS = Path(os.environ.get("CXRS_COVIDX_LISTS", Path(__file__).parents[4] / "shared/data/covidx-lists"))
ROOT = "1.2.826.0.1.3680043.10.474."
A, B, C, F, G, H = (
    f"MIDRC-RICORD-1C-{rest}.png"
    for rest in (
        "419639-000001-11111-0", "419639-000001-22222-0", "SITE2-000002-8.333-0", "440808-000003-66666-0",
        "440808-000003-77777-0", "419639-000004-88888-0",
    )
)  # fmt: skip
Miniature = Any


def run(miniature: Miniature, output: Path, *more: str) -> Result:
    return CliRunner().invoke(main, [*miniature.arguments(output), *more])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def made(ricord: Miniature, tmp_path: Path) -> Path:
    told = run(ricord, tmp_path / "set", "--workers", "1")
    assert told.exit_code == 0, told.output
    return tmp_path / "set"


def pixels(made: Path, name: str) -> NDArray[np.int64]:
    with Image.open(made / ("test" if name in (F, G) else "train") / name) as image:
        assert image.mode == "L"
        return np.asarray(image).astype(np.int64)


def test_levels_splits_and_votes(made: Path) -> None:
    assert {row["image_id"]: (row["level"], row["split"], row["level_basis"], row["votes"])
            for row in table(made / "labels.csv")} == {
        A: ("1", "train", "majority", "level1:2 level2:1"),
        # Moderate and severe by one annotator are one vote for level 2.
        B: ("2", "train", "majority", "level2:2 level1:1"),
        # One vote each; severe stands first in the file.
        C: ("2", "train", "tie", "level2:1 level1:1"),
        # The official list says level 1, the majority level 2.
        F: ("1", "test", "published", "level2:2 level1:1"),
        G: ("2", "test", "published", "level2:1"),
        H: ("2", "train", "majority", "level2:1"),
    }  # fmt: skip


def test_each_exclusion_has_its_reason(made: Path) -> None:
    left_out = {
        row["image_id"].removeprefix("MIDRC-RICORD-1C-"): (row["reason"], row["detail"])
        for row in table(made / "excluded.csv")
    }
    assert left_out == {
        "419639-000001-11111-1.png": ("not in the published list of usable images", ""),
        "419639-000001-11111-2.png": ("the DICOM file was refused", "ViewPosition LL; expected AP or PA"),
        "SITE2-000002-44444-0.png": ("graded invalid by the majority", "invalid:2 level1:1"),
        "SITE2-000002-55555-0.png": ("no airspace grade", f"{ROOT}2.55555"),
        "440808-000003-66666-1.png": (
            "of an official test patient, but no official test image",
            "level2:2 level1:1",
        ),
        "419639-000004-99999-0.png": ("study neither in the spreadsheet nor in the published mapping", ""),
        "419639-000004-12121-0.png": (
            "the DICOM file was refused",
            left_out["419639-000004-12121-0.png"][1],
        ),
        "419639-000005-13131-0.png": ("in the published list of usable images, but not in the download", ""),
    }
    assert "expected 15360" in left_out["419639-000004-12121-0.png"][1]
    named = {row["dicom"] for row in table(made / "excluded.csv")}
    assert (
        "MIDRC-RICORD-1C-419639-000001/05-06-2003-NA-XR CHEST 1 VIEW AP PORTABLE-11111/2.000000-LAT-1/1-2.dcm"
        in named
    )


def test_counts_stand_beside_the_published_ones(ricord: Miniature, tmp_path: Path) -> None:
    told = run(ricord, tmp_path / "set", "--workers", "1")
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert lines[:8] == [
        "here published", "images 6 909", "patients 4 258", "level 1 2 227", "level 2 4 682",
        "test images 2 150", "test level 1 1 52", "test level 2 1 98",
    ]  # fmt: skip
    assert lines[8:10] == ["8 images left out", "2 the DICOM file was refused"]
    assert "1 training images graded by a tie, which the grade first in the file wins" in lines
    assert lines[-1].startswith("1 test images whose published level is not the majority's")


def test_lists_and_table_are_labelled_sets(made: Path) -> None:
    rows = read_labelled(made)
    assert len(rows) == 6
    assert all(row.path.is_file() for row in rows)
    for split, names in (("train", [A, B, H, C]), ("test", [F, G])):
        listed = read_labelled(made / f"{split}_COVIDxSev.txt")
        assert [row.path for row in listed] == [made / split / name for name in names]
        assert {row.split for row in listed} == {split}
        levels = {row.image_id: row.level for row in rows}
        assert all(levels[row.path.name] == row.level for row in listed)
    people = {row["image_id"]: (row["view"], row["age"], row["sex"]) for row in table(made / "labels.csv")}
    assert people[B] == ("PA", "061Y", "M")
    assert people[H] == ("AP", "", "F")
    dates = {row["image_id"]: (row["study_date"], row["exam"]) for row in table(made / "labels.csv")}
    assert dates[A] == ("2003-05-06", "XR CHEST 1 VIEW AP PORTABLE")
    # Study H stands in the published mapping only.
    assert dates[H] == ("", "")


def ramp(low: int, high: int) -> NDArray[np.float64]:
    film = np.repeat(np.linspace(low, high, 96).round()[np.newaxis], 80, axis=0)
    film[40:] = np.minimum(film[40:] + (high - low) // 8, high)
    return film


def stretch(film: NDArray[np.float64]) -> NDArray[np.float64]:
    return 255 * (film - film.min()) / (film.max() - film.min())


def test_pixels_are_the_published_preparation_s(made: Path) -> None:
    """Modality LUT, VOI LUT, stretched to 0..255 unless of 8 bits, MONOCHROME1 turned round, cropped."""
    deep, shallow = ramp(200, 3200), ramp(16, 240)
    windowed = np.clip((deep - 1699.5) / 1000 + 0.5, 0, 1)
    expected = {
        A: 255 - stretch(deep)[5:75, 10:90],
        B: stretch(windowed),
        C: 255 - shallow,
        F: stretch(ramp(0, 65535)),
        G: stretch(2 * ramp(-1000, 1000) - 500),
    }
    for name, film in expected.items():
        got = pixels(made, name)
        assert got.shape == film.shape, name
        assert np.abs(got - film).max() <= 1, name
    # JPEG baseline is lossy.
    assert np.abs(pixels(made, H) - shallow).max() <= 4
    # By hand: column 10 holds 516 of 200..3200; 255 * (1 - 316 / 3000) = 228.1. Column 47 of B holds 1684.
    assert abs(pixels(made, A)[0, 0] - 228) <= 1
    assert abs(pixels(made, B)[0, 47] - 124) <= 1
    assert pixels(made, C)[0, 0] == 255 - 16


def test_finished_images_are_kept_and_missing_or_outdated_ones_made(ricord: Miniature, made: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in made.glob("t*/*")}
    labels = (made / "labels.csv").read_bytes()
    (made / "train" / B).unlink()
    (made / "train" / C).write_bytes(b"not by us")
    usable = ricord.lists / "create_ricord_dataset" / "ricord_data_set.txt"
    usable.write_text(usable.read_text().replace("10 5 90 75", "0 0 90 75"))
    assert run(ricord, made, "--workers", "1").exit_code == 0
    after = {path.name: path.stat().st_mtime_ns for path in made.glob("t*/*")}
    assert {name for name, time in after.items() if time != before[name]} == {A, B, C}
    assert pixels(made, A).shape == (75, 90)
    assert (made / "labels.csv").read_bytes() == labels


def test_a_cut_image_and_one_of_a_changed_film_are_made_again(ricord: Miniature, made: Path) -> None:
    whole = (made / "train" / A).read_bytes()
    (made / "train" / A).write_bytes(whole[:-40])
    provenance = read_provenance(made / "train" / B)
    assert provenance is not None
    (film,) = (path for path in ricord.download.rglob("*.dcm") if str(path).endswith(provenance.dicom))
    os.utime(film, ns=(0, 0))
    kept = (made / "train" / C).stat().st_mtime_ns
    assert run(ricord, made, "--workers", "1").exit_code == 0
    assert (made / "train" / A).read_bytes() == whole
    again = read_provenance(made / "train" / B)
    assert again is not None
    assert again.stamp == (film.stat().st_size, 0)
    assert (made / "train" / C).stat().st_mtime_ns == kept


def test_an_image_that_no_film_stands_behind_any_more_goes(ricord: Miniature, made: Path) -> None:
    former, strange = made / "train" / "former.png", made / "test" / "mine.png"
    former.write_bytes((made / "train" / A).read_bytes())
    Image.new("L", (64, 64)).save(strange)
    assert run(ricord, made, "--workers", "1").exit_code == 0
    assert not former.exists()
    assert strange.exists()


def test_an_interrupted_run_goes_on(
    ricord: Miniature, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = building.prepare_image, []

    def prepare_two(job: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job)
        return real(job)

    output = tmp_path / "interrupted"
    monkeypatch.setattr(building, "prepare_image", prepare_two)
    assert run(ricord, output, "--workers", "1").exit_code == 130
    assert [path.name for path in sorted(output.rglob("*.*"))] == [A]
    monkeypatch.setattr(building, "prepare_image", real)
    assert run(ricord, output, "--workers", "2").exit_code == 0
    for path in made.rglob("*.*"):
        assert (output / path.relative_to(made)).read_bytes() == path.read_bytes()


def test_lists_alone_are_the_same_set(made: Path) -> None:
    """As the published notebook leaves it: two folders, two lists."""
    whole = read_labelled(made)
    (made / "labels.csv").unlink()
    lists = read_labelled(made)
    assert {(row.path, row.level, row.split) for row in lists} == {
        (row.path, row.level, row.split) for row in whole
    }


def test_provenance_is_inside_each_image(made: Path, tmp_path: Path) -> None:
    provenance = read_provenance(made / "train" / A)
    assert provenance is not None
    assert provenance.box == (10, 5, 90, 75)
    assert provenance.dicom.endswith("-11111/1.000000-AP-1/1-1.dcm")
    Image.new("L", (64, 64)).save(tmp_path / "other.png")
    assert read_provenance(tmp_path / "other.png") is None
    assert read_provenance(tmp_path / "gone.png") is None


@pytest.mark.slow
def test_a_run_of_training_on_the_set(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    settings_ = ["--size", "32", "--channels", "1", "--batch", "2", "--epochs", "1"]
    told = CliRunner().invoke(main, ["train", str(made), "-o", str(tmp_path / "run"), *settings_])
    assert told.exit_code == 0, told.output
    assert "trained on 4 images of split train" in told.output


def test_the_set_is_described(made: Path) -> None:
    told = " ".join(CliRunner().invoke(main, ["data", "describe", str(made)]).output.split())
    # Four patients: one told as both sexes; the age of one is not known.
    assert "age, mean and SD 61.0 ± 0.0 61.0 61.0 ± 0.0" in told
    assert "contradictory 1 (25.0 %)" in told


def test_the_download_may_be_named_at_any_height(ricord: Miniature, tmp_path: Path) -> None:
    collection = ricord.download / "MIDRC-RICORD-1C"
    moved = tmp_path / "downloads" / "manifest"
    shutil.copytree(collection, moved / "MIDRC-RICORD-1C")
    for number, place in enumerate((collection, ricord.download, moved.parent)):
        arguments = [*ricord.arguments(tmp_path / f"set{number}"), "--workers", "1"]
        arguments[2] = str(place)
        assert CliRunner().invoke(main, arguments).exit_code == 0
    labels = [(tmp_path / f"set{number}" / "labels.csv").read_bytes() for number in range(3)]
    assert labels[0] == labels[1] == labels[2]


def rename_sheet(miniature: Miniature) -> None:
    workbook = openpyxl.load_workbook(miniature.clinical)
    workbook["CR Pos - TCIA Submission"].title = "Other"
    workbook.save(miniature.clinical)


def rename_column(miniature: Miniature) -> None:
    workbook = openpyxl.load_workbook(miniature.clinical)
    workbook["CR Pos - TCIA Submission"]["E1"] = "UID"
    workbook.save(miniature.clinical)


def empty_sheet(miniature: Miniature) -> None:
    workbook = openpyxl.load_workbook(miniature.clinical)
    workbook["CR Pos - TCIA Submission"].delete_rows(2, 99)
    workbook.save(miniature.clinical)


def put(part: str, content: str | bytes) -> Callable[[Miniature], None]:
    def write(miniature: Miniature) -> None:
        path = {
            "clinical": miniature.clinical,
            "annotations": miniature.annotations,
            "usable": miniature.lists / "create_ricord_dataset" / "ricord_data_set.txt",
            "mapping": miniature.lists / "create_ricord_dataset" / "ricord_patientid_to_studyid_mapping.json",
            "test": miniature.lists / "labels" / "test_COVIDxSev.txt",
        }[part]
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (rename_sheet, "no sheet 'CR Pos - TCIA Submission'; it has: Data dictionary, Other"),
        (rename_column, "0 columns 'Anon Study UID'"),
        (empty_sheet, "has no rows"),
        (put("clinical", "no zip"), "can't be read as an .xlsx spreadsheet"),
        (put("annotations", "{"), "can't be read as JSON"),
        (put("annotations", "[" * 100_000), "can't be read as JSON"),
        (put("annotations", "[]"), "no MD.ai annotations"),
        (put("annotations", '{"labelGroups": [], "datasets": []}'), "none of its labels is a grade"),
        (
            put("usable", "a.png 1 2 3\n"),
            r"ricord_data_set.txt:1: 'a.png 1 2 3'; expected: file, or file left",
        ),
        (put("usable", "a.png\nb.png 5 5 5 9\n"), r"ricord_data_set.txt:2: an empty box"),
        (put("mapping", "[1]"), "expected JSON: patient -> list of study UIDs"),
        (put("mapping", '{"419639-000001": [7]}'), "a study UID of 419639-000001 is no text"),
        (
            put("mapping", json.dumps({"419639-000001": ["9.9.11111"]})),
            f"the studies {ROOT}419639.11111 and 9.9.11111 end alike",
        ),
        (put("test", "x"), "1 words; expected: patient file level source"),
        (lambda m: (m.lists / "labels" / "test_COVIDxSev.txt").unlink(), "no test_COVIDxSev.txt in it"),
        (lambda m: shutil.rmtree(m.download), "no MIDRC-RICORD-1C-*/*/*/*.dcm in it"),
        (
            put("usable", "a.png\n"),
            "no image could be made of 0 films; most often: not in the published list",
        ),
    ],
)
def test_what_can_t_be_used_is_named_and_nothing_written(
    ricord: Miniature, tmp_path: Path, spoil: Callable[[Miniature], None], message: str
) -> None:
    spoil(ricord)
    told = run(ricord, tmp_path / "set")
    assert told.exit_code == 1
    assert message in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not list((tmp_path / "set").rglob("*.*"))


def test_a_crop_box_beside_the_film_excludes_it(ricord: Miniature, tmp_path: Path) -> None:
    usable = ricord.lists / "create_ricord_dataset" / "ricord_data_set.txt"
    usable.write_text(usable.read_text().replace("10 5 90 75", "500 500 900 750"))
    assert run(ricord, tmp_path / "set", "--workers", "1").exit_code == 0
    (row,) = [row for row in table(tmp_path / "set" / "excluded.csv") if row["image_id"] == A]
    assert row["detail"] == "crop box (500, 500, 900, 750) lies outside the film of 96 x 80 pixels"


def test_an_output_that_can_t_be_written_is_named(ricord: Miniature, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = run(ricord, tmp_path / "file" / "set")
    assert told.exit_code == 1
    assert f"{tmp_path / 'file' / 'set'}: can't be written: Not a directory" in told.stderr


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.recursive(
    st.none() | st.integers() | st.sampled_from(["id", "L_1", "Invalid Study"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["labelGroups", "labels", "datasets", "annotations", "id", "name", "labelId"]), inner
    ),
))  # fmt: skip
def test_any_json_is_gradings_or_a_data_error(tmp_path: Path, content: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with contextlib.suppress(DataError):
        assert read_gradings(tmp_path / "a.json") is not None


def test_any_damage_to_a_spreadsheet_is_studies_or_a_data_error(ricord: Miniature, tmp_path: Path) -> None:
    whole, rng = ricord.clinical.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole[: int(rng.integers(1, len(whole) + 1))])
        for place in rng.integers(0, len(data), 8):
            data[place] = int(rng.integers(256))
        (tmp_path / "damaged.xlsx").write_bytes(data)
        with contextlib.suppress(DataError):
            assert read_studies(tmp_path / "damaged.xlsx")


@pytest.mark.skipif(not LISTS.is_dir(), reason=f"no lists at {LISTS} (CXRS_COVIDX_LISTS)")
def test_the_published_lists_themselves() -> None:
    published = read_published(LISTS)
    assert len(published.boxes) == 1096
    assert sum(box is not None for box in published.boxes.values()) == 375
    assert published.boxes["MIDRC-RICORD-1C-419639-000025-39552-1.png"] == (0, 164, 3005, 2518)
    assert (len(published.test_levels), len(published.test_patients), len(published.studies)) == (
        150,
        68,
        998,
    )
    keys = {study.key for study in published.studies}
    assert len(keys) == 998
    named = {tuple(name.removeprefix("MIDRC-RICORD-1C-").rsplit("-", 2)[:2]) for name in published.boxes}
    assert named <= keys
    assert published.test_levels.keys() <= published.boxes.keys()
