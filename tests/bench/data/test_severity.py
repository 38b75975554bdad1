"""`cxrs-edge data severity` on miniatures of the six clones; every expectation was worked out by hand."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxrs_bench.data.severity.clones import key_of
from cxrs_bench.data.severity.films import read_films
from cxrs_bench.data.severity.scores import level_of_geographic, level_of_zones
from cxrs_bench.data.severity.split import FOLDS, TEST, split_patients
from cxrs_bench.labelled import in_split, read_labelled
from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_edge.cli import main
from cxrs_edge.errors import DataError

REAL = Path(os.environ.get("CXRS_SEVERITY", Path(__file__).parents[4] / "shared" / "data" / "severity"))
BRIXIA_HEADER = "filename,S-A,S-B,S-C,S-D,S-E,S-F,S-Global,J-A,J-B,J-C,J-D,J-E,J-F,J-Global"
GEOGRAPHIC_HEADER = "filename,Geographic,Opacity,Sum,Product,patientid,dataset,age,sex,view,location,finding"

BRIXIA_TABLE = f"""{BRIXIA_HEADER}
clear.jpg,0,0,0,0,0,0,0,0,0,0,0,0,1,1
two-zones.JPEG,0,3,0,0,0,1,4,0,0,0,0,0,0,0
three-zones.png,1,1,1,0,0,0,3,1,1,1,1,0,0,4
1-2-3.jpg,3,3,3,3,3,3,18,2,2,2,2,2,2,12
1-13-3.jpg,1,0,0,0,0,0,1,0,0,0,0,0,0,0
side.jpg,1,0,0,0,0,0,1,1,0,0,0,0,0,1
"""
GEOGRAPHIC_TABLE = f"""{GEOGRAPHIC_HEADER}
three-zones.png,4.333333333333333,3,7,13,8,cohen,70.0,M,PA,"Thanh H\xf3a, Vietnam",COVID-19
weak-0.jpg,0.5,1,1.5,0.5,9,cohen,nan,nan,AP Supine,Italy,COVID-19
copy.jpg,2,2,4,4,9,cohen,nan,nan,PA,Italy,COVID-19
b343e657.jpg,2.5,1.0,3.5,2.5,219,cohen,nan,M,AP,"Hannover Medical School, Hannover, Germany",COVID-19
c9280a30.jpg,2.6666666666666665,1.0,3.5,2.5,219,cohen,nan,M,AP,"Hannover Medical School",COVID-19
8251e162.jpg,,,,,219,cohen,nan,F,AP,"Hannover Medical School, Hannover, Germany",COVID-19
COVID-00003a.jpg,6,5,11,30,COVID-00003a,fig1,nan,nan,nan,Europe,COVID-19
COVID-00003b.jpg,0,0,0,0,COVID-00003b,fig1,nan,nan,nan,Europe,COVID-19
CR.1.2.840.1003000225002.png,3,1.5,4.5,4.5,ANON218,actmed,nan,nan,AP,Europe,COVID-19
gone.jpg,3,1.5,4.5,4.5,77,cohen,nan,nan,AP,nan,COVID-19
slice.jpg,3,1.5,4.5,4.5,78,cohen,nan,nan,PA,nan,COVID-19
"""
COHEN_TABLE = """patientid,offset,sex,age,finding,view,modality,date,folder,filename,doi, url,license,notes
7,0,M,65,Pneumonia,PA,X-ray,2020,images,clear.jpg,,https://radiopaedia.org/cases/7,CC BY-NC-SA,
7,3,M,66,Pneumonia,AP erect,X-ray,2020,images,two-zones.JPEG,,https://radiopaedia.org/cases/7,CC BY-NC-ND,
8,0,M,70.0,Pneumonia,PA,X-ray,2020,images,three-zones.png,,,,"a note, with a comma"
7,0,M,65,Pneumonia,L,X-ray,2020,images,side.jpg,,,,
9,0,,,Pneumonia,AP Supine,X-ray,2020,images,weak-0.jpg,,,,
78,0,,,Pneumonia,PA,CT,2020,images,slice.jpg,,,,
219,0,M,,Pneumonia,AP,X-ray,2020,images,b343e657.jpg,,,CC BY 3.0,
"""
HANNOVER_TABLE = """patient_id,image_id,sex,age,admission_offset,modality,projection
042f06a9,b343e657,m,,0,CR,ap
042f06a9,c9280a30,m,,-2,CR,pa
"""
FIGURE1_TABLE = """patientid,offset,sex,age,finding,view,modality,notes
COVID-00003a,8,M,28,,AP erect,X-ray,
COVID-00003b,8,M,28,,,X-ray,
"""
ACTUALMED_TABLE = """patientid,offset,sex,age,finding,view,modality,imagename,notes
ANON218,,,,COVID-19,AP,X-ray,CR.1.2.840.1003000225002.png,", date taken (YYYYMMDD): 20200321"
"""


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Twelve different films, 448 x 400 pixels."""
    drawn = (replace(phantom, width=400, height=448) for phantom in varied_phantoms(12, seed=11))
    return [Image.fromarray(draw_phantom(phantom)) for phantom in drawn]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, pictures: list[Image.Image]) -> Path:
    """The clones; read them only."""
    folder = tmp_path_factory.mktemp("severity") / "clones"
    tables = {
        "Brixia-score-COVID-19/data/public-annotations.csv": BRIXIA_TABLE,
        "COVID-Net/annotations/severity_annotations.csv": GEOGRAPHIC_TABLE,
        "covid-chestxray-dataset/metadata.csv": COHEN_TABLE,
        "covid-19-image-repository/data.csv": HANNOVER_TABLE,
        "Figure1-COVID-chestxray-dataset/metadata.csv": FIGURE1_TABLE,
        "Actualmed-COVID-chestxray-dataset/metadata.csv": ACTUALMED_TABLE,
    }
    for name, text in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        # Some of the real tables are no UTF-8.
        path.write_bytes(text.encode("latin-1"))
    films = (
        "Brixia-score-COVID-19/data/public-cohen-subset/clear.jpg",
        "Brixia-score-COVID-19/data/public-cohen-subset/two-zones.JPEG",
        "Brixia-score-COVID-19/data/public-cohen-subset/1-2-3.jpg",
        "Brixia-score-COVID-19/data/public-cohen-subset/1-13-3.jpg",
        "covid-chestxray-dataset/images/three-zones.png",
        "covid-chestxray-dataset/images/side.jpg",
        "covid-chestxray-dataset/images/weak-0.jpg",
        "covid-19-image-repository/png/b343e657.png",
        "covid-19-image-repository/png/c9280a30.png",
        "Figure1-COVID-chestxray-dataset/images/COVID-00003a.jpg",
        "Figure1-COVID-chestxray-dataset/images/COVID-00003b.jpg",
        "Actualmed-COVID-chestxray-dataset/images/CR.1.2.840.1003000225002.png",
    )
    for name, picture in zip(films, pictures, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
    cohen = folder / "covid-chestxray-dataset" / "images"
    # Under another name, smaller, and of another patient by its table.
    pictures[1].resize((300, 336)).save(cohen / "copy.jpg", quality=60)
    pictures[0].save(cohen / "slice.jpg")
    return folder


def run(clones: Path, output: Path) -> Result:
    return CliRunner().invoke(main, ["data", "severity", str(clones), "-o", str(output)])


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["original_filename"]: row for row in csv.DictReader(file)}


@pytest.fixture
def clones(tmp_path: Path, untouched: Path) -> Path:
    """The clones, to be spoiled."""
    return Path(shutil.copytree(untouched, tmp_path / "clones"))


@pytest.fixture(scope="module")
def told(untouched: Path) -> Result:
    return run(untouched, untouched.parent / "set")


@pytest.fixture(scope="module")
def made(untouched: Path, told: Result) -> Path:
    assert told.exit_code == 0, told.output
    return untouched.parent / "set"


def test_levels_bases_and_sources(made: Path) -> None:
    assert {
        name: (row["level"], row["level_basis"], row["source"])
        for name, row in table(made / "labels.csv").items()
    } == {
        "clear.jpg": ("0", "brixia", "brixia-cohen"),
        "two-zones.JPEG": ("1", "brixia", "brixia-cohen"),
        "three-zones.png": ("2", "brixia", "brixia-cohen"),
        "1-2-3.jpg": ("2", "brixia", "brixia-cohen"),
        "1-13-3.jpg": ("1", "brixia", "brixia-cohen"),
        "weak-0.jpg": ("0", "geographic", "cohen"),
        "b343e657.jpg": ("1", "geographic", "ml-workgroup"),
        "c9280a30.jpg": ("2", "geographic", "ml-workgroup"),
        "COVID-00003a.jpg": ("2", "geographic", "figure1"),
        "COVID-00003b.jpg": ("0", "geographic", "figure1"),
        "CR.1.2.840.1003000225002.png": ("2", "geographic", "actualmed"),
    }


def test_what_is_left_out_and_why(made: Path) -> None:
    left_out = table(made / "excluded.csv")
    assert {name: (row["reason"], row["detail"]) for name, row in left_out.items()} == {
        "copy.jpg": ("copy of another film", "two-zones.JPEG"),
        "gone.jpg": ("no clone has its image", ""),
        "side.jpg": ("no frontal X-ray", "X-ray L"),
        "slice.jpg": ("no frontal X-ray", "CT PA"),
    }


def test_a_row_in_full(made: Path) -> None:
    rows = table(made / "labels.csv")
    three = rows["three-zones.png"]
    # printf 'severity:three-zones' | sha1sum
    assert {key: three[key] for key in three if key not in ("patient_id", "split", "fold")} == {
        "image_id": "cxs-56beb", "source": "brixia-cohen", "original_filename": "three-zones.png",
        "view": "PA", "age": "70", "sex": "M", "licence": "not stated", "url": "",
        "copy_from": "ieee8023/covid-chestxray-dataset",
        **dict(zip((f"brixia_senior_{zone}" for zone in "abcdef"), "111000", strict=True)),
        **dict(zip((f"brixia_junior_{zone}" for zone in "abcdef"), "111100", strict=True)),
        "zones_senior": "3", "zones_junior": "4", "geographic": "4.3333", "opacity": "3.0",
        "level": "2", "level_basis": "brixia", "width": "400", "height": "448", "merged_from": "", "note": "",
    }  # fmt: skip
    # The copy's score came along; the senior's zones still decide.
    two = rows["two-zones.JPEG"]
    assert (two["merged_from"], two["geographic"], two["level"], two["view"]) == (
        "copy.jpg",
        "2.0",
        "1",
        "AP",
    )
    assert two["licence"] == "CC BY-NC-ND"
    own = rows["1-2-3.jpg"]
    assert (own["view"], own["age"], own["licence"]) == ("unknown", "", "CC BY-NC-SA 4.0")
    hannover = rows["c9280a30.jpg"]
    assert (hannover["view"], hannover["sex"], hannover["licence"]) == ("PA", "M", "CC BY 3.0")
    assert rows["weak-0.jpg"]["view"] == "AP Supine"
    assert rows["COVID-00003b.jpg"]["licence"] == "not stated; research purposes only"


def test_patients_are_kept_together(made: Path) -> None:
    groups: dict[str, set[str]] = {}
    for name, row in table(made / "labels.csv").items():
        groups.setdefault(row["patient_id"], set()).add(name)
    assert sorted(map(sorted, groups.values())) == [
        # No collection knows the patients of these two, and their names tell nothing.
        ["1-13-3.jpg", "1-2-3.jpg"],
        ["COVID-00003a.jpg", "COVID-00003b.jpg"],
        ["CR.1.2.840.1003000225002.png"],
        ["b343e657.jpg", "c9280a30.jpg"],
        # 7's film has a copy that stands under 9, so they are one.
        ["clear.jpg", "two-zones.JPEG", "weak-0.jpg"],
        ["three-zones.png"],
    ]


def test_it_is_a_labelled_set_without_shared_patients(made: Path) -> None:
    rows = read_labelled(made)
    assert Counter(row.level for row in rows) == {0: 3, 1: 3, 2: 5}
    for row in rows:
        with Image.open(row.path) as image:
            assert (image.mode, image.size) == ("L", (400, 448))
    assert len(list((made / "images").iterdir())) == len(rows) == 11


def test_counts_are_told(told: Result) -> None:
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert "brixia-cohen 1 2 2 5" in lines
    assert "all 3 3 5 11" in lines
    assert "6 patients; 4 scored films left out" in lines
    assert not [line for line in lines if line.startswith("skipped")]


def test_missing_clones_are_skipped_with_a_note(clones: Path, tmp_path: Path) -> None:
    (clones / "COVID-Net").rename(tmp_path / "elsewhere")
    (clones / "covid-chestxray-dataset").rename(tmp_path / "cohen")
    told = run(clones, tmp_path / "set")
    assert told.exit_code == 0
    assert "skipped: no COVID-Net (Geographic and Opacity scores; github lindawangg/COVID-Net)" in told.stdout
    assert "skipped: no covid-chestxray-dataset (films, views" in told.stdout
    rows = table(tmp_path / "set" / "labels.csv")
    assert set(rows) == {"clear.jpg", "two-zones.JPEG", "1-2-3.jpg", "1-13-3.jpg"}
    # Without Cohen's table nothing is known of the licence of his films.
    assert rows["clear.jpg"]["licence"] == "not stated"


def test_without_scores_or_films_there_is_no_set(clones: Path, tmp_path: Path) -> None:
    empty = run(tmp_path, tmp_path / "set")
    assert (empty.exit_code, "no scores in it; expected a clone of github BrixIA" in empty.stderr) == (
        1,
        True,
    )
    for folder in ("Brixia-score-COVID-19/data/public-cohen-subset", "covid-chestxray-dataset/images"):
        (clones / folder).rename(tmp_path / folder.replace("/", "-"))
    for name in ("covid-19-image-repository", "Figure1-COVID-chestxray-dataset"):
        (clones / name).rename(tmp_path / name)
    (clones / "Actualmed-COVID-chestxray-dataset" / "images" / "CR.1.2.840.1003000225002.png").write_bytes(
        b"x"
    )
    none = run(clones, tmp_path / "set")
    assert none.exit_code == 1
    assert "no film is left; 15 scored ones, most often: no clone has its image" in none.stderr
    assert not (tmp_path / "set" / "labels.csv").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "Brixia-score-COVID-19/data/public-annotations.csv",
            "S-A",
            "X",
            "no column s-a; it has: filename, x",
        ),
        ("Brixia-score-COVID-19/data/public-annotations.csv", ",18,", ",18,9", "1-2-3.jpg: score '92'"),
        ("Brixia-score-COVID-19/data/public-annotations.csv", "3,3,3,3,3,3,18", "3,,3,3,3,3,18", "score ''"),
        ("COVID-Net/annotations/severity_annotations.csv", "2.5,1.0", "9,1.0", "b343e657.jpg: score '9'"),
        (
            "COVID-Net/annotations/severity_annotations.csv",
            "2.5,1.0",
            "x,1.0",
            "score 'x'; expected a number",
        ),
        ("covid-chestxray-dataset/metadata.csv", "filename", "file", "no column filename"),
    ],
)
def test_bad_tables_are_named(clones: Path, name: str, old: str, new: str, message: str) -> None:
    path = clones / name
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode(), 1))
    with pytest.raises(DataError) as caught:
        read_films(clones)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("zones", "level"),
    [((0, 0, 0, 0, 0, 0), 0), ((0, 0, 0, 0, 0, 1), 1), ((3, 0, 0, 3, 0, 0), 1), ((1, 0, 1, 0, 1, 0), 2)],
)
def test_level_of_zones(zones: tuple[int, int, int, int, int, int], level: int) -> None:
    assert level_of_zones(zones) == level


def test_level_of_a_geographic_score() -> None:
    scores = (0, 0.5, 0.6667, 2.5, 2.6667, 8)
    assert [level_of_geographic(score) for score in scores] == [0, 0, 1, 1, 2, 2]


def test_keys_join_collections() -> None:
    assert key_of("B343e657.JPG") == key_of("b343e657") == "b343e657"
    assert key_of("CR.1.2.840") == "cr.1.2.840"
    assert key_of("ciaa199.pdf-001-b.png") == "ciaa199.pdf-001-b"


@given(
    sizes=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=60), seed=st.integers(0, 9)
)
def test_split_keeps_patients_whole_and_is_the_same_in_any_order(
    sizes: list[tuple[str, int]], seed: int
) -> None:
    strata = {f"p{n}": Counter({stratum: count}) for n, (stratum, count) in enumerate(sizes)}
    parts = split_patients(strata, seed)
    assert parts.keys() == strata.keys()
    assert set(parts.values()) <= {TEST, *range(FOLDS)}
    assert parts == split_patients(dict(reversed(strata.items())), seed)


def test_split_shares() -> None:
    strata = {f"{s}{n}": Counter({s: 1}) for s, count in (("a", 100), ("b", 25)) for n in range(count)}
    parts = split_patients(strata)
    counts = Counter((patient[0], part) for patient, part in parts.items())
    assert {key: counts[key] for key in counts if key[1] == TEST} == {("a", TEST): 20, ("b", TEST): 5}
    assert {counts["a", fold] for fold in range(FOLDS)} == {16}
    assert {counts["b", fold] for fold in range(FOLDS)} == {4}
    assert split_patients(strata, seed=1) != parts


def put_into_clones(rows: dict[str, dict[str, str]], clones: Path) -> None:
    """The real set taken apart into tables and folders of the clones' shapes."""
    brixia, geographic, cohen = (
        [BRIXIA_HEADER],
        [GEOGRAPHIC_HEADER],
        ["patientid,filename,view,age,sex,license"],
    )
    places = {"figure1": "Figure1-COVID-chestxray-dataset", "actualmed": "Actualmed-COVID-chestxray-dataset"}
    names = {"figure1": "fig1", "actualmed": "actmed"}
    for name, row in rows.items():
        zones = [[row[f"brixia_{reader}_{zone}"] for zone in "abcdef"] for reader in ("senior", "junior")]
        if zones[0][0]:
            brixia.append(",".join([name, *zones[0], "", *zones[1], ""]))
        if row["geographic"]:
            cells = [row["geographic"], row["opacity"], "", "", row["patient_id"]]
            dataset = names.get(row["source"], "cohen")
            geographic.append(",".join([name, *cells, dataset, row["age"], row["sex"], row["view"], "", ""]))
        cohen.append(",".join([row["patient_id"], name, row["view"], row["age"], row["sex"], row["licence"]]))
        image = clones / places.get(row["source"], "covid-chestxray-dataset") / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.symlink_to(REAL / "images" / f"{row['image_id']}.jpg")
    for path, lines in {
        "Brixia-score-COVID-19/data/public-annotations.csv": brixia,
        "COVID-Net/annotations/severity_annotations.csv": geographic,
        "covid-chestxray-dataset/metadata.csv": cohen,
    }.items():
        (clones / path).parent.mkdir(parents=True, exist_ok=True)
        (clones / path).write_text("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no labelled set at {REAL} (CXRS_SEVERITY)")
def test_the_real_films_come_out_as_they_went_in(tmp_path: Path) -> None:
    real = table(REAL / "labels.csv")
    put_into_clones(real, tmp_path / "clones")
    assert run(tmp_path / "clones", tmp_path / "set").exit_code == 0
    made = table(tmp_path / "set" / "labels.csv")
    assert made.keys() == real.keys()
    for name, row in real.items():
        for column in (
            "image_id",
            "level",
            "level_basis",
            "zones_senior",
            "zones_junior",
            "geographic",
            "view",
        ):
            assert made[name][column] == row[column], (name, column)
        assert (made[name]["width"], made[name]["height"]) == (row["width"], row["height"])
    patients = {(row["patient_id"], made[name]["patient_id"]) for name, row in real.items()}
    assert len(patients) == len({ours for _, ours in patients}) == 184
    rows = read_labelled(tmp_path / "set")
    test, train = in_split(rows, "test"), in_split(rows, "train")
    assert 60 <= len(test) <= 72
    for level, count in Counter(row.level for row in rows).items():
        assert abs(sum(row.level == level for row in test) / count - 0.2) < 0.06
    assert {row.fold for row in train} == set(range(FOLDS))
