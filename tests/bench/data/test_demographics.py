from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from cxrs_bench.data.demographics import age_in_years, plot, render_table, summarize, to_csv
from cxrs_bench.labelled import LabelledSet, read_labelled
from cxrs_edge.cli import main
from cxrs_edge.errors import DataError

TABLE = """image_id,patient_id,level,split,source,age,sex,view
a,p,1,train,x,040Y,M,AP
b,p,2,train,x,041Y,M,PA
c,q,2,train,y,60,female,AP
d,r,2,test,y,,,
e,r,2,test,y,?,F,AP Supine
f,r,0,test,y,83.5,m,AP
"""


@pytest.fixture
def rows(tmp_path: Path) -> LabelledSet:
    (tmp_path / "labels.csv").write_text(TABLE)
    return read_labelled(tmp_path)


def test_people_are_counted_once_and_films_each(rows: LabelledSet) -> None:
    everyone, test, train = summarize(rows, by="split")
    assert [(s.name, s.images, s.patients) for s in (everyone, test, train)] == [
        ("all", 6, 3),
        ("test", 3, 1),
        ("train", 3, 2),
    ]
    # p is 40 and 41 on two films, r is known on one film of three.
    assert everyone.ages == (40, 60, 83.5)
    assert everyone.counts == {
        "level": {"0": 1, "1": 1, "2": 4},
        "age": {"0-19": 0, "20-39": 0, "40-59": 1, "60-79": 1, "80+": 1},
        "sex": {"female": 1, "male": 1, "contradictory": 1},
        "view": {"AP": 3, "AP Supine": 1, "PA": 1, "unknown": 1},
    }
    assert train.counts["sex"] == {"female": 1, "male": 1}


def test_the_groups_are_those_of_the_field(rows: LabelledSet) -> None:
    assert [s.name for s in summarize(rows)] == ["all"]
    assert [(s.name, s.images) for s in summarize(rows, by="level")][1:] == [
        ("level 0", 1),
        ("level 1", 1),
        ("level 2", 4),
    ]
    assert [s.name for s in summarize(rows, by="source")] == ["all", "x", "y"]
    assert [s.name for s in summarize(rows[:2], by="source")] == ["all"]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("55", 55), ("55.5", 55.5), ("055Y", 55), ("018M", 1.5), ("010D", 10 / 365.25), ("0", 0), ("120", 120),
        ("121", None), ("", None), ("unknown", None), (">60", None), ("-5", None), ("nan", None), ("5 5", None),
    ],
)  # fmt: skip
def test_ages(text: str, years: float | None) -> None:
    assert age_in_years(text) == (None if years is None else pytest.approx(years))


def test_table_for_people(rows: LabelledSet) -> None:
    lines = [" ".join(line.split()) for line in render_table(summarize(rows, by="split")).splitlines()]
    assert "images 6 3 3" in lines
    # Mean of 40, 60 and 83.5, and the sample's standard deviation.
    assert "age, mean and SD 61.2 ± 21.8 83.5 50.0 ± 14.1" in lines
    assert "AP Supine 1 (16.7 %) 1 (33.3 %) 0 (0.0 %)" in lines
    assert "male 1 (33.3 %) 0 (0.0 %) 1 (50.0 %)" in lines


def test_figures_for_programs(rows: LabelledSet) -> None:
    table = list(csv.DictReader(io.StringIO(to_csv(summarize(rows, by="split")))))
    figures = {
        (row["group"], row["variable"], row["category"]): (row["value"], row["share"]) for row in table
    }
    assert figures["all", "age", "mean"] == ("61.17", "")
    assert figures["all", "age", "SD"] == ("21.77", "")
    assert ("test", "age", "SD") not in figures
    assert figures["all", "view", "AP"] == ("3", "0.5000")
    assert figures["train", "age", "40-59"] == ("1", "0.5000")


def test_pictures(rows: LabelledSet) -> None:
    with Image.open(io.BytesIO(plot(summarize(rows, by="split"), "png"))) as image:
        assert image.width > 600
    assert plot(summarize(rows), "svg").startswith(b"<?xml")
    with pytest.raises(DataError, match="picture format 'gif'; expected one of png, svg, pdf"):
        plot(summarize(rows), "gif")


def test_command(rows: LabelledSet, tmp_path: Path) -> None:  # noqa: ARG001
    files = ["--csv", str(tmp_path / "t.csv"), "--plot", str(tmp_path / "t.pdf")]
    told = CliRunner().invoke(main, ["data", "describe", str(tmp_path), *files, "--by", "none"])
    assert told.exit_code == 0, told.output
    assert "age, mean and SD 61.2 ± 21.8 level" in " ".join(told.output.split())
    assert (tmp_path / "t.csv").read_text().startswith("group,variable")
    assert (tmp_path / "t.pdf").read_bytes().startswith(b"%PDF")
    bad = CliRunner().invoke(main, ["data", "describe", str(tmp_path), "--plot", str(tmp_path / "t.gif")])
    assert (bad.exit_code, (tmp_path / "t.gif").exists()) == (1, False)


def test_a_list_without_demographics_says_so(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("p a.png level1 x\nq b.png level2 x\n")
    told = CliRunner().invoke(main, ["data", "describe", str(tmp_path / "test.txt")])
    words = " ".join(told.output.split())
    assert "age, mean and SD not recorded" in words
    assert "unknown 2 (100.0 %) view, images unknown 2 (100.0 %)" in words
