"""What a booklet exports is read strictly: whatever else it may be gets a clear error."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrs_bench.review.answers import read_answers
from cxrs_bench.review.readings import MOST_BYTES, NOT_RATED, read_reader, read_readers
from cxrs_edge.errors import DataError
from cxrs_edge.review.answers import booklet_id
from cxrs_edge.review.booklet import COLUMNS

ZONES = ["abc", "a", "", None]
RATINGS = ["agree partly", "", "", ""]


@pytest.fixture
def anna(rows):
    return rows("Anna", ZONES, RATINGS)


def test_a_csv_as_the_booklet_writes_it(answers_file, anna, write_csv):
    reader = read_reader(write_csv("anna.csv", anna), read_answers(answers_file))
    assert reader.name == "Anna"
    assert [
        case.zones and "".join(z for z, on in zip("abcdef", case.zones, strict=True) if on)
        for case in reader.cases
    ] == ZONES
    assert [case.ratings for case in reader.cases] == [(0, 1), (NOT_RATED,), (), ()]


def test_order_and_other_columns_don_t_matter(answers_file, anna, write_csv):
    answers = read_answers(answers_file)
    turned = write_csv("a.csv", anna[::-1], (*COLUMNS[::-1], "mood"))
    # The writer leaves what a row lacks empty.
    assert read_reader(turned, answers) == read_reader(write_csv("b.csv", anna), answers)


def changed(rows, number, **cells):
    rows[number] |= cells
    return rows


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: changed(rows, 1, booklet="0123456789ab"), "of booklet 0123456789ab; expected"),
        (lambda rows: changed(rows, 1, booklet=""), "booklet is empty"),
        (lambda rows: changed(rows, 1, reader="Ben"), "readers Anna, Ben; expected one reader in a file"),
        (lambda rows: changed(rows, 1, reader=" "), "reader is empty"),
        (lambda rows: [row | {"reader": "Network"} for row in rows], "as the network is called in tables"),
        (lambda rows: rows[:3], "3 of 4 cases, case 4 is missing; the file is cut off"),
        (lambda _rows: [], "0 of 4 cases, case 1 is missing"),
        (lambda rows: [*rows, rows[0]], "case 1 again; expected each case once"),
        (lambda rows: changed(rows, 1, case="5"), "case '5'; expected 1 to 4"),
        (lambda rows: changed(rows, 1, case="9" * 5000), "expected 1 to 4"),
        (lambda rows: changed(rows, 1, case="\u0662"), "expected 1 to 4"),
        (lambda rows: changed(rows, 1, zone_c="yes"), "zones 1,0,yes,0,0,0; expected six of 0 and 1"),
        (lambda rows: changed(rows, 1, zone_c=""), "zones 1,0,,0,0,0; expected six of 0 and 1"),
        (lambda rows: changed(rows, 0, region_1="maybe"), "region_1 'maybe'; expected agree, partly, disagree or"),
        (lambda rows: changed(rows, 1, region_2="agree"), "a region is judged that this case doesn't have"),
        (lambda rows: changed(rows, 3, region_1="agree"), "or before its zones were read"),
    ],
)  # fmt: skip
def test_what_no_booklet_writes(spoil, message, answers_file, anna, write_csv):
    path = write_csv("anna.csv", spoil(anna))
    with pytest.raises(DataError, match=message.replace("?", ".")) as error:
        read_reader(path, read_answers(answers_file))
    assert str(error.value).startswith(str(path))


def test_missing_columns(answers_file, anna, write_csv):
    path = write_csv("anna.csv", anna, tuple(column for column in COLUMNS if column != "zone_d"))
    with pytest.raises(DataError, match="no columns named zone_d; expected each of booklet,"):
        read_reader(path, read_answers(answers_file))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no columns named booklet"),
        (bytes(range(256)), "not UTF-8 text"),
        (b"\x00" * 100, "no columns named booklet|not CSV"),
        (",".join(COLUMNS).encode() + b'\n"', "not CSV"),
        (",".join(COLUMNS).encode() + b"\na,b", "more or fewer cells"),
        (b" " * (MOST_BYTES + 1), "no booklet exports more than 10000000"),
    ],
    ids=["empty", "binary", "zeros", "open quote", "torn", "huge"],
)
def test_what_is_no_such_file(data, message, answers_file, tmp_path):
    path = tmp_path / "anna.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_reader(path, read_answers(answers_file))


def test_no_file_and_a_folder(answers_file, tmp_path):
    for path, what in ((tmp_path / "none.csv", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(DataError, match=f"{what}; expected a CSV that the booklet exported"):
            read_reader(path, read_answers(answers_file))


def as_a_spreadsheet(path, separator, whole, encoding="utf-8-sig"):
    """The file saved again: another separator, numbers with decimals, rows of nothing below."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *lines = csv.reader(file)
    saved = io.StringIO()
    writer = csv.writer(saved, delimiter=separator, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([[f"{cell}{whole}" if cell.isdigit() else cell for cell in line] for line in lines])
    writer.writerows([[""] * len(header)] * 2)
    path.write_bytes(saved.getvalue().encode(encoding))
    return path


@pytest.mark.parametrize(("separator", "whole"), [(",", ""), (";", ",0"), ("\t", ".0")])
def test_what_a_spreadsheet_saved_is_the_same(separator, whole, answers_file, anna, write_csv):
    answers = read_answers(answers_file)
    anna = changed(anna, 0, comment="hazy; maybe, or\tnot")
    saved = as_a_spreadsheet(write_csv("a.csv", anna), separator, whole)
    assert read_reader(saved, answers) == read_reader(write_csv("b.csv", anna), answers)


def test_a_torn_row_names_the_separator(answers_file, anna, write_csv):
    path = as_a_spreadsheet(write_csv("a.csv", anna), ";", "")
    path.write_bytes(path.read_bytes().rstrip(b"\r\n;") + b";;;")
    with pytest.raises(DataError, match=r"more or fewer cells .* quote cells with semicolons"):
        read_reader(path, read_answers(answers_file))


@pytest.mark.parametrize(
    ("encoding", "message"), [("utf-16", "UTF-16 text; expected UTF-8"), ("latin-1", "not UTF-8 text")]
)
def test_another_encoding_is_named_and_cured(encoding, message, answers_file, anna, write_csv):
    path = as_a_spreadsheet(write_csv("a.csv", changed(anna, 0, comment="Tr\u00fcbung")), ",", "", encoding)
    with pytest.raises(DataError, match=f'{message}.*"CSV UTF-8"'):
        read_reader(path, read_answers(answers_file))


def test_no_id_is_a_number(listed):
    # The digits of a hash may be all decimal, or have but one e.
    for number in range(500):
        listed[0]["sha256"] = str(number)
        with pytest.raises(ValueError, match="could not convert"):
            float(booklet_id(listed))


def test_a_reader_comes_once(answers_file, anna, rows, write_csv):
    first = write_csv("1.csv", anna)
    again = write_csv("2.csv", rows("ANNA", ZONES, RATINGS))
    with pytest.raises(DataError, match=r"2\.csv: reader 'ANNA' again; expected one CSV"):
        read_readers([first, again], read_answers(answers_file))
    with pytest.raises(DataError, match="expected one CSV for each reader"):
        read_readers([first, first], read_answers(answers_file))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_read_as_it_was_or_refused(data, answers_file, anna, write_csv):
    """A byte changed or the end cut off: no other error than `DataError`."""
    path = write_csv("anna.csv", anna)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(content)
    with suppress(DataError):
        assert len(read_reader(path, read_answers(answers_file)).cases) == len(anna)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "schema None; expected 'cxrs-edge/review/1'"),
        ('{"schema": "cxrs-edge/review/2"}', "schema 'cxrs-edge/review/2'; expected"),
        ('{"schema": "cxrs-edge/review/1"}', "damaged"),
        ('{"schema": "cxrs-edge/review/1", "booklet": "1", "cases": [1]}', "damaged"),
        ('{"schema": "cxrs-edge/review/1", "booklet": "r4f53cda18c2b", "cases": []}', "was changed"),
    ],
)
def test_answers_that_are_none(content, message, tmp_path):
    path = tmp_path / "answers.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_answers(path)


def test_answers_may_have_a_byte_order_mark(answers_file):
    told = read_answers(answers_file)
    answers_file.write_text(answers_file.read_text(), "utf-8-sig")
    assert read_answers(answers_file) == told


@pytest.mark.parametrize("cases", ["[1]", "1", '[{"answer": null}]', '[{"answer": {"level": Infinity}}]'])
def test_damaged_answers_are_told_in_plain_words(cases, tmp_path):
    path = tmp_path / "answers.json"
    path.write_text(f'{{"schema": "cxrs-edge/review/1", "booklet": "1", "source": "", "cases": {cases}}}')
    with pytest.raises(DataError, match="damaged: not all of a booklet's answers is in it") as error:
        read_answers(path)
    assert not re.search("Error|int|str|NoneType|object|float", str(error.value).removeprefix(str(path)))


def test_changed_answers_are_refused_and_moved_files_are_not(answers_file):
    found = json.loads(answers_file.read_text())
    found["cases"][0]["source"] = found["cases"][0]["answer"]["source"] = "elsewhere/p.png"
    answers_file.write_text(json.dumps(found))
    assert read_answers(answers_file).cases[0].source == "elsewhere/p.png"
    found["cases"][0]["answer"]["level"] = 1
    answers_file.write_text(json.dumps(found))
    with pytest.raises(DataError, match="was changed since it was written"):
        read_answers(answers_file)
