from __future__ import annotations

from pathlib import Path

import pytest

from cxrs_bench.findings import findings_digest, read_findings
from cxrs_edge.errors import DataError

HEADER = "image_id,source,patient_id,label,split,width\n"
ROWS = "a,north,p1,covid,train,320\nb,north,p2,normal,val,300\nc.png,south,p3,normal,train,310\n"


def write(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text)
    return folder


def test_rows_are_read_with_their_files(tmp_path: Path) -> None:
    rows = read_findings(write(tmp_path, HEADER + ROWS))
    assert [(r.image_id, r.patient, r.finding, r.source, r.split) for r in rows] == [
        ("a", "p1", "covid", "north", "train"),
        ("b", "p2", "normal", "north", "val"),
        ("c.png", "p3", "normal", "south", "train"),
    ]
    assert [r.path for r in rows] == [tmp_path / "images" / name for name in ("a.jpg", "b.jpg", "c.png")]
    elsewhere = read_findings(tmp_path / "labels.csv", images=tmp_path / "films")
    assert elsewhere[0].path == tmp_path / "films" / "a.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS, "no columns named image_id"),
        (HEADER + "a,north,p1,covid\n", r"labels\.csv:2: more or fewer cells"),
        (HEADER + "a,north,p1, ,train,1\n", r"labels\.csv:2: label is empty"),
        (HEADER + "a,,p1,covid,train,1\n", r"labels\.csv:2: source is empty"),
        (HEADER + ROWS + "a,north,p1,covid,train,320\n", "image_id a stands twice"),
        (HEADER + ROWS + "d,north,p1,covid,val,320\n", r"p1 \(train and val\)"),
        (HEADER + "../a,north,p1,covid,train,320\n", "expected a name inside"),
    ],
)
def test_a_table_that_would_mislabel_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_findings(write(tmp_path, text))


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: can't be read: .*No such file"):
        read_findings(tmp_path / "none")


def test_the_digest_names_the_labels_whatever_their_order(tmp_path: Path) -> None:
    rows = read_findings(write(tmp_path, HEADER + ROWS))
    digest = findings_digest(rows)
    assert findings_digest(rows[::-1]) == digest
    changed = read_findings(write(tmp_path, HEADER + ROWS.replace("covid", "normal")))
    assert findings_digest(changed) != digest
    assert findings_digest(rows[:2]) != digest
