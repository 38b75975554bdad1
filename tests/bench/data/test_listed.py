from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cxrs_bench.data.listed import Entry, ImageList, read_lists
from cxrs_edge.errors import DataError


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (64, 64)).save(path)
    return path


def test_covidx_lists_of_every_kind(tmp_path: Path) -> None:
    here = save(tmp_path / "b.png")
    elsewhere = save(tmp_path / "pictures" / "a.png")
    text = "S2-61 a.png level2 ricord\n\nCOVID 12 b.png positive sirm\n7 c.jpg normal\nd.png 1 161 3008 2518\ne.png\n"
    (tmp_path / "train.txt").write_text(text)
    expected = (
        Entry("a.png", "S2-61", "level2", "ricord", elsewhere),
        Entry("b.png", "COVID 12", "positive", "sirm", here),
        Entry("c.jpg", "7", "normal"),
        Entry("d.png"),
        Entry("e.png"),
    )
    assert read_lists(tmp_path / "train.txt", [elsewhere.parent]) == (ImageList("train.txt", expected),)
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(text.encode("utf-8-sig")))
    assert read_lists(tmp_path / "train.txt.gz", [elsewhere.parent])[0].entries == expected


def test_the_splits_of_a_table_are_lists_of_their_own(tmp_path: Path) -> None:
    image = save(tmp_path / "set" / "images" / "a.jpg")
    (tmp_path / "set" / "labels.csv").write_text(
        "image_id,patient_id,level,split,source\na,p,2,train,x\nb.png,q,1,test,\nc,p,0,train,x\n"
    )
    assert read_lists(tmp_path / "set") == (
        ImageList(
            "set (train)", (Entry("a.jpg", "p", "level2", "x", image), Entry("c.jpg", "p", "level0", "x"))
        ),
        ImageList("set (test)", (Entry("b.png", "q", "level1"),)),
    )


def test_a_table_of_another_task_needs_image_ids_only(tmp_path: Path) -> None:
    (tmp_path / "pretrain.csv").write_text("image_id,label\na,covid\n")
    assert read_lists(tmp_path / "pretrain.csv") == (
        ImageList("pretrain.csv", (Entry("a.jpg", label="covid"),)),
    )


def test_a_folder_of_images(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png"), save(tmp_path / "deep" / "b.jpg")]
    (listed,) = read_lists(tmp_path)
    assert listed.entries == tuple(Entry(path.name, path=path) for path in paths)


def test_the_lists_of_a_covidxsev_folder(tmp_path: Path) -> None:
    image = save(tmp_path / "train" / "a.png")
    (tmp_path / "train_split.txt").write_text("p a.png level2 ricord\n")
    (tmp_path / "test_split.txt").write_text("q b.png level1 ricord\n")
    assert read_lists(tmp_path) == (
        ImageList("test_split.txt", (Entry("b.png", "q", "level1", "ricord"),)),
        ImageList("train_split.txt", (Entry("a.png", "p", "level2", "ricord", image),)),
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"p a.png level1 x\np level2 x\n", r"a\.txt:2: no image file in 'p level2 x'"),
        ("a.txt", b"p ../a.png level1 x\n", r"'\.\./a\.png': expected a file's name inside"),
        ("a.txt", b"p /etc/a.png level1 x\n", r"'/etc/a\.png'"),
        ("a.txt", b" \n", r"a\.txt: empty"),
        ("a.txt", b"\xff\xfe\x00", r"a\.txt: can't be read"),
        ("a.txt.gz", b"p a.png level1 x\n", r"a\.txt\.gz: can't be read"),
        ("a.txt.gz", gzip.compress(b"p a.png level1 x\n" * 50)[:-9], r"a\.txt\.gz: can't be read"),
        ("a.csv", b"id,level\na,1\n", r"a\.csv: no columns named image_id; expected"),
        ("a.csv", b"image_id,level\n,1\n", r"a\.csv:2: image_id is empty"),
        ("a.csv", b"image_id,level\na,1,2\n", r"a\.csv:2: more or fewer cells"),
        ("a.csv", b'image_id,level\n"a,1\n', r"a\.csv: can't be read"),
    ],
)
def test_bad_lists_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_lists(tmp_path / name)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.txt: no such list; expected a \.txt"):
        read_lists(tmp_path / "no.txt")
    with pytest.raises(DataError, match="no image in or below this folder"):
        read_lists(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["a.txt", "a.csv", "a.txt.gz"]), content=st.binary(max_size=60))
def test_any_bytes_are_a_list_or_a_data_error(tmp_path: Path, name: str, content: bytes) -> None:
    start = {"a.csv": b"image_id,split\n"}.get(name, b"p a.png l s\n")
    data = start + content
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    try:
        lists = read_lists(tmp_path / name)
    except DataError:
        return
    assert all(entry.file for one in lists for entry in one.entries)
