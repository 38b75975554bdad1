from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrs_bench.labelled import (
    LabelledImage,
    in_split,
    read_labelled,
    refuse_shared_patients,
    set_digest,
    without_no_derivatives,
)
from cxrs_edge.errors import DataError

HEADER = "image_id,patient_id,level,split"
REPOSITORY = Path(__file__).parents[2]
SEVERITY = Path(os.environ.get("CXRS_SEVERITY", REPOSITORY.parent / "shared" / "data" / "severity"))


def write(folder: Path, *lines: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def image(image_id: str, patient: str = "p", level: int = 1, split: str = "train") -> LabelledImage:
    return LabelledImage(image_id, Path(image_id), patient, level, split)


def test_csv_with_every_column(tmp_path: Path) -> None:
    write(
        tmp_path,
        "split,level,image_id,fold,patient_id,licence,source,level_basis,age",
        "train,2,a1,3,p1,CC BY 3.0,cohen,brixia,55",
        'test,0,scan.PNG,,p2,,"a, b",,',
    )
    assert read_labelled(tmp_path) == (
        LabelledImage(
            "a1",
            tmp_path / "images" / "a1.jpg",
            "p1",
            2,
            "train",
            3,
            "cohen",
            "brixia",
            "CC BY 3.0",
            age="55",
        ),
        LabelledImage("scan.PNG", tmp_path / "images" / "scan.PNG", "p2", 0, "test", -1, "a, b", "", ""),
    )


def test_csv_named_itself_with_images_elsewhere(tmp_path: Path) -> None:
    listed = write(tmp_path, HEADER, "a,p,1,train", name="cohort.csv")
    (row,) = read_labelled(listed, images=tmp_path / "elsewhere")
    assert (row.path, row.fold) == (tmp_path / "elsewhere" / "a.jpg", -1)


def test_an_id_with_dots_is_no_file_name(tmp_path: Path) -> None:
    write(tmp_path, HEADER, "1.2.840.10008,p,1,train")
    assert read_labelled(tmp_path)[0].path.name == "1.2.840.10008.jpg"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_COVIDxSev.txt", "train"),
        ("test_COVIDxSev.txt", "test"),
        ("latest.txt", "latest"),
        ("COVIDx-val.txt", "val"),
    ],
)
def test_covidxsev_list(tmp_path: Path, name: str, split: str) -> None:
    listed = write(tmp_path, "S2-61 S2-61-1-0.png level2 ricord", "", "S2-7  b.jpg  level1  cohen", name=name)
    assert read_labelled(listed) == (
        LabelledImage("S2-61-1-0", tmp_path / "S2-61-1-0.png", "S2-61", 2, split, source="ricord"),
        LabelledImage("b", tmp_path / "b.jpg", "S2-7", 1, split, source="cohen"),
    )


def test_a_folder_of_covidxsev_lists(tmp_path: Path) -> None:
    write(tmp_path, "p a.png level1 x", name="train_split.txt")
    write(tmp_path, "q b.png level2 x", name="test_split.txt")
    write(tmp_path, "no list of a split", name="readme.txt")
    assert [row.path for row in read_labelled(tmp_path)] == [tmp_path / "b.png", tmp_path / "a.png"]
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    rows = read_labelled(tmp_path)
    assert [(row.split, row.path) for row in rows] == [
        ("test", tmp_path / "test" / "b.png"),
        ("train", tmp_path / "train" / "a.png"),
    ]
    (tmp_path / "images").mkdir()
    assert read_labelled(tmp_path)[0].path == tmp_path / "images" / "b.png"
    elsewhere = read_labelled(tmp_path, images=tmp_path / "elsewhere")
    assert elsewhere[0].path == tmp_path / "elsewhere" / "b.png"


def test_a_split_leads_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (folder / "val").mkdir()
    write(folder, HEADER, "a,p,1,../outside", "b,q,1,val")
    assert [row.path for row in read_labelled(folder)] == [
        folder / "images" / "a.jpg",
        folder / "val" / "b.jpg",
    ]


def test_byte_order_mark_is_no_part_of_the_first_cell(tmp_path: Path) -> None:
    listed = tmp_path / "train.txt"
    listed.write_bytes(b"\xef\xbb\xbfp1 a.png level1 x\np1 b.png level2 x\n")
    assert {row.patient for row in read_labelled(listed)} == {"p1"}
    table = tmp_path / "labels.csv"
    table.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\na,p,1,train\n".encode())
    assert read_labelled(table)[0].image_id == "a"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,p2,3,train", r"labels\.csv:3: level '3'; expected 0 to 2"),
        ("b,p2,1.0,train", r":3: level '1\.0'"),
        ("b,p2,,train", r":3: level ''"),
        (",p2,1,train", r":3: image_id is empty"),
        ("b, ,1,train", r":3: patient_id is empty"),
        ("b,p2,1,", r":3: split is empty"),
        ("b,p2,1", r":3: more or fewer cells"),
        ("b,Doe, J,1,train", r":3: more or fewer cells"),
        ("a,p,2,train", r"labels\.csv: image_id a stands twice"),
        ("../b,p2,1,train", r":3: file '\.\./b\.jpg'; expected a name inside"),
        ("x/../../b.png,p2,1,train", r":3: file"),
        ("/etc/passwd,p2,1,train", r":3: file '/etc/passwd\.jpg'"),
        ('"b,p2,1,train', r"can't be read: unexpected end of data"),
    ],
)
def test_bad_csv_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    write(tmp_path, HEADER, "a,p,1,train", row)
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path)


@pytest.mark.parametrize("fold", ["-2", "100", "x", " "])
def test_bad_fold_is_named(tmp_path: Path, fold: str) -> None:
    write(tmp_path, f"{HEADER},fold", "a,p,1,train,99", f"b,p,1,train,{fold}")
    with pytest.raises(DataError, match=r":3: fold '.*'; expected -1 to 99"):
        read_labelled(tmp_path)


@pytest.mark.parametrize("column", HEADER.split(","))
def test_missing_or_repeated_column_is_named(tmp_path: Path, column: str) -> None:
    listed = write(tmp_path, HEADER.replace(column, "other"), "a,p,1,train")
    with pytest.raises(DataError, match=f"no columns named {column}"):
        read_labelled(listed)
    write(tmp_path, f"{HEADER},{column}", "a,p,1,train,1")
    with pytest.raises(DataError, match=f"2 columns named {column}"):
        read_labelled(listed)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("p2 b.png level2", r"train\.txt:2: 3 words; expected: patient file level source"),
        ("p2 b.png level3 x", r"train\.txt:2: level 'level3'; expected one of level0, level1, level2"),
        ("p2 ../b.png level2 x", r":2: file '\.\./b\.png'"),
        ("p2 . level2 x", r":2: file '\.'; expected a name inside"),
        ("p1 sub/a.png level1 x", "image_id a stands twice"),
    ],
)
def test_bad_line_of_a_list_is_named(tmp_path: Path, line: str, message: str) -> None:
    listed = write(tmp_path, "p1 a.png level1 x", line, name="train.txt")
    with pytest.raises(DataError, match=message):
        read_labelled(listed)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: no such file"):
        read_labelled(tmp_path)
    for name, lines in (("labels.csv", (HEADER,)), ("train.txt", ("",))):
        with pytest.raises(DataError, match="no images"):
            read_labelled(write(tmp_path, *lines, name=name))
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\nM\xfcller,p,1,train\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv: can't be read"):
        read_labelled(tmp_path / "latin.csv")


def test_a_patient_in_two_splits_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, HEADER, "a,p1,1,train", "b,p2,1,train", "c,p2,2,test", "d,p3,2,test")
    with pytest.raises(DataError, match=r"1 patients .*: p2 \(test and train\); expected"):
        read_labelled(tmp_path)


def test_patients_shared_between_files_are_refused(tmp_path: Path) -> None:
    train = read_labelled(write(tmp_path, "p1 a.png level1 x", "p2 b.png level2 x", name="train.txt"))
    test = read_labelled(write(tmp_path, "p3 c.png level1 x", "p1 d.png level2 x", name="test.txt"))
    refuse_shared_patients(train)
    refuse_shared_patients(train, train)
    with pytest.raises(DataError, match=r"p1 \(test and train\)"):
        refuse_shared_patients(train, test)


def test_a_folder_of_lists_is_one_set_of_several_splits(tmp_path: Path) -> None:
    write(tmp_path, "p1 a.png level1 x", "p1 b.png level2 x", name="train_COVIDxSev.txt")
    write(tmp_path, "p2 c.png level2 x", name="test_COVIDxSev.txt")
    write(tmp_path, "how these lists came about", name="README.txt")
    rows = read_labelled(tmp_path, images=tmp_path / "png")
    assert [(r.image_id, r.split) for r in rows] == [("c", "test"), ("a", "train"), ("b", "train")]
    assert rows[0].path == tmp_path / "png" / "c.png"
    write(tmp_path, "p1 c.png level2 x", name="test_COVIDxSev.txt")
    with pytest.raises(DataError, match=r"1 patients .*: p1 \(test and train\)"):
        read_labelled(tmp_path)
    write(tmp_path, HEADER, "z,p,1,train")
    assert [r.image_id for r in read_labelled(tmp_path)] == ["z"]


def test_only_five_shared_patients_are_listed() -> None:
    rows = tuple(image(f"{p}-{s}", f"p{p}", split=s) for p in range(7) for s in ("train", "test"))
    with pytest.raises(DataError, match=r"7 patients .* p4 \(test and train\) and 2 more"):
        refuse_shared_patients(rows)


def test_in_split() -> None:
    rows = (image("a", level=0), image("b", level=1), image("c", "q", 2, "test"))
    assert [r.image_id for r in in_split(rows, "train")] == ["a", "b"]
    assert [r.image_id for r in in_split(rows, "train", levels=(1, 2))] == ["b"]
    assert [r.image_id for r in in_split(rows, "all", levels=(0, 2))] == ["a", "c"]
    with pytest.raises(DataError, match=r"split 'test': no images with level 1; the set has: test, train"):
        in_split(rows, "test", levels=(1,))


@pytest.mark.parametrize(
    ("licence", "kept"),
    [
        ("CC BY-NC-ND", False),
        ("CC BY-ND 4.0", False),
        ("cc_by_nc_nd", False),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", False),
        ("Attribution-NonCommercial-NoDerivatives 4.0 International", False),
        ("Attribution, No Derivs", False),
        ("CC BY-NC-SA", True),
        ("CC BY 3.0", True),
        ("not stated", True),
        ("not stated; research and teaching", True),
        ("", True),
    ],
)
def test_licences_that_forbid_derivatives(licence: str, kept: bool) -> None:
    row = replace(image("a"), licence=licence)
    assert without_no_derivatives((row, image("b"))) == ((row, image("b")) if kept else (image("b"),))


def test_digest_is_of_the_content_not_of_the_order() -> None:
    a, b = image("a", "p", 1), image("b", "q", 2)
    digest = set_digest((a, b))
    # printf 'a\tp\t1\nb\tq\t2\n' | sha256sum
    assert digest == "e5dcae48a0df6a4e38af36c8c216fa4f25eba4b4556d9127894ec4f2499d99a2"
    assert digest == set_digest((b, a)) == set_digest((replace(a, path=Path("moved")), b))
    others = [replace(a, level=2), replace(a, patient="r"), replace(a, image_id="c")]
    assert len({digest, set_digest((a,)), *(set_digest((other, b)) for other in others)}) == 5


WORDS = st.sampled_from(
    ["a", "p", "1", "2", "level1", "train", ",", "\n", " ", '"', "..", "/", "\0", "é", "fold"]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["labels.csv", "train.txt"]),
    start=st.sampled_from([b"", b"\xef\xbb\xbf", f"{HEADER},fold\n".encode(), b"p a.png level1 x\n"]),
    rest=st.one_of(st.binary(max_size=80), st.lists(WORDS, max_size=30).map(lambda w: "".join(w).encode())),
)
def test_any_bytes_are_a_set_or_a_data_error(tmp_path: Path, name: str, start: bytes, rest: bytes) -> None:
    listed = tmp_path / name
    listed.write_bytes(start + rest)
    try:
        rows = read_labelled(listed)
    except DataError:
        return
    assert rows
    assert len({row.image_id for row in rows}) == len(rows)
    for row in rows:
        assert row.level in (0, 1, 2)
        assert row.patient == row.patient.strip() != ""
        assert tmp_path in Path(os.path.normpath(row.path)).parents


@pytest.mark.skipif(not SEVERITY.is_dir(), reason=f"no labelled set at {SEVERITY}; name one in CXRS_SEVERITY")
def test_the_severity_set() -> None:
    rows = read_labelled(SEVERITY)
    assert Counter(row.level for row in rows) == {0: 32, 1: 68, 2: 231}
    train, test = in_split(rows, "train"), in_split(rows, "test")
    assert (len(rows), len(train), len(test)) == (331, 265, 66)
    assert [len({row.patient for row in part}) for part in (train, test)] == [148, 36]
    assert len(without_no_derivatives(rows)) == 331 - 8
    assert all(row.path.is_file() for row in rows)
    folds = [{row.patient for row in train if row.fold == fold} for fold in range(5)]
    assert sum(map(len, folds)) == len(set.union(*folds)) == 148
