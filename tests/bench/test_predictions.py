"""The CSV of predictions: exact round trip, atomic writing, and messages that name the line."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrs_bench.predictions import Predictions, read_predictions, write_predictions
from cxrs_edge.errors import DataError

HEADER = "image_id,patient_id,level,probability_level2\n"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
ROW = st.tuples(
    TEXT,
    TEXT.filter(lambda patient: patient == patient.strip()),
    st.sampled_from([1, 2]),
    st.floats(0, 1),
)


def make(*rows: tuple[str, str, int, float]) -> Predictions:
    names, patients, levels, level2 = zip(*rows, strict=True)
    return Predictions(names, patients, np.array(levels), np.array(level2))


TWO = make(("a.png", "ann", 1, 0.1), ("b.png", "bob", 2, 0.9))


@given(st.lists(ROW, min_size=1, max_size=8, unique_by=lambda row: row[0]))
def test_round_trip_is_exact(rows: list[tuple[str, str, int, float]]) -> None:
    written = make(*rows)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.csv"
        write_predictions(written, path)
        read = read_predictions(path)
    assert (read.names, read.patients) == (written.names, written.patients)
    assert read.levels.tolist() == [row[2] for row in rows]
    assert read.level2.tolist() == [row[3] for row in rows]
    assert (read.levels.dtype.name, read.level2.dtype.name) == ("int64", "float64")


def test_bytes_of_the_file(tmp_path: Path) -> None:
    write_predictions(make(("é, 1.png", "ann", 2, 0.1 + 0.2)), tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_bytes() == (
        b'image_id,patient_id,level,probability_level2\r\n"\xc3\xa9, 1.png",ann,2,0.30000000000000004\r\n'
    )


def test_reads_any_column_order_extra_columns_blank_lines_and_a_byte_order_mark(
    tmp_path: Path,
) -> None:
    text = "level,site,probability_level2,patient_id,image_id\n\n2,Köln,1e-3,7,x.png\n"
    (tmp_path / "p.csv").write_text(text, encoding="utf-8-sig")
    read = read_predictions(tmp_path / "p.csv")
    assert (read.names, read.patients) == (("x.png",), ("7",))
    assert (read.levels.tolist(), read.level2.tolist()) == ([2], [0.001])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: 0 columns named 'image_id' among []; expected the header image_id,"),
        (HEADER, "no rows under the header"),
        (
            "image_id,patient_id,level\na,p,1\n",
            "0 columns named 'probability_level2' among ['image_id', 'patient_id', 'level']",
        ),
        ("image_id,level," + HEADER, "line 1: 2 columns named 'image_id'"),
        (HEADER + "a,p,1,0.5\nb,p,1\n", "line 3: 3 cells; the header has 4"),
        (HEADER + "a,b,p,1,0.5\n", "line 2: 5 cells; the header has 4"),
        (HEADER + "a,p,one,0.5\n", "line 2 (a): level 'one'; expected 1 or 2"),
        (HEADER + "a,p,0,0.5\n", "line 2 (a): level 0; expected 1 or 2"),
        (HEADER + 'a,p,1,"0,5"\n', "line 2 (a): probability_level2 '0,5'; expected a number"),
        (HEADER + "a,p,1,nan\n", "line 2 (a): probability_level2 nan; expected a number"),
        (HEADER + "a,p,1,inf\n", "line 2 (a): probability_level2 inf"),
        (HEADER + "a,p,1,1.5\n", "line 2 (a): probability_level2 1.5"),
        (HEADER + "a,p,1,-0.5\n", "line 2 (a): probability_level2 -0.5"),
        (HEADER + ",p,1,0.5\n", "line 2: empty image_id"),
        (HEADER + "a,,1,0.5\n", "line 2 (a): patient_id ''; expected an id"),
        (HEADER + "a, p,1,0.5\n", "line 2 (a): patient_id ' p'; expected an id without blanks"),
        (
            HEADER + 'a,p,1,0.5\n\n"b\n",p,2,0.5\na,p,1,0.5\n',
            "line 6: image_id 'a' again, first at",
        ),
        (HEADER + 'a,"p,1,0.5\nb,p,1,0.5\n', "line 3: not CSV: unexpected end of data"),
    ],
)
def test_messages_name_the_file_and_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_reading_what_is_no_text_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: can't be read: No such file"):
        read_predictions(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="can't be read: Is a directory"):
        read_predictions(tmp_path)
    (tmp_path / "latin.csv").write_bytes((HEADER + "é,p,1,0.5\n").encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv: not UTF-8"):
        read_predictions(tmp_path / "latin.csv")


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.csv"
    write_predictions(TWO, path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"row '\\udcff\.png,p,1,0\.5' isn't Unicode"):
        write_predictions(make(("\udcff.png", "p", 1, 0.5)), path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"p\.csv: can't be written: No space left on device"):
        write_predictions(make(("c.png", "p", 1, 0.5)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_writing_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be written: No such file or directory"):
        write_predictions(TWO, tmp_path / "absent" / "p.csv")


def test_a_written_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_predictions(TWO, tmp_path / "p.csv")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("b.png", "p", 3, 0.5), r"predictions, row 2 \(b\.png\): level 3"),
        (("b.png", "p", 1, np.nan), r"predictions, row 2 \(b\.png\): probability_level2 nan"),
        (("b.png", "", 1, 0.5), r"predictions, row 2 \(b\.png\): patient_id ''"),
        (("a.png", "p", 1, 0.5), r"row 2: image_id 'a\.png' again, first at predictions, row 1"),
    ],
)
def test_values_are_checked_on_construction(row: tuple[str, str, int, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(("a.png", "p", 1, 0.5), row)


def test_lengths_are_checked_on_construction() -> None:
    with pytest.raises(DataError, match="got 1 names, 2 patients"):
        Predictions(("a",), ("p", "q"), np.array([1]), np.array([0.5]))
    with pytest.raises(DataError, match=r"levels of shape \(1,\) and probabilities of shape \(2,\)"):
        Predictions(("a",), ("p",), np.array([1]), np.array([0.5, 0.5]))
    with pytest.raises(DataError, match="at least one image"):
        Predictions((), (), np.array([], dtype=int), np.array([]))


def test_values_cannot_change_afterwards() -> None:
    levels = np.array([1, 2])
    predictions = Predictions(("a", "b"), ("p", "q"), levels, np.array([0.1, 0.9]))
    levels[0] = 2
    assert predictions.levels.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        predictions.level2[0] = 0.5
