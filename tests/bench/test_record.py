"""The report file: what is written is read back, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("msgspec")

from cxrs_bench.record import SCHEMA, decode_report, encode_report, read_report, write_report
from cxrs_edge.errors import DataError

EXAMPLE = Path(__file__).with_name("example-report.json")


def test_written_and_read_back(tmp_path: Path) -> None:
    report = read_report(EXAMPLE)
    path = tmp_path / "again.json"
    write_report(report, path)
    assert read_report(path) == report
    assert path.read_text().startswith(f'{{\n "schema": "{SCHEMA}",')


def test_the_example_has_every_outcome() -> None:
    report = read_report(EXAMPLE)
    assert {run.outcome for run in report.runs} == {"measured", "failed", "unsupported"}
    assert any(run.unstable for run in report.runs)
    first = report.runs[0]
    assert report.model(first.model).network == "cxrs"
    assert len(first.samples_ms) == 24
    assert report.sustained[0].points[-1].conditions.throttled == ("soft temperature limit",)


def _changed(**values: Any) -> bytes:
    return json.dumps({**json.loads(EXAMPLE.read_text()), **values}).encode()


def test_unknown_keys_are_ignored() -> None:
    assert decode_report(_changed(later="x"), name="a.json") == read_report(EXAMPLE)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"[]", "array"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 200_000, "array"),
        (_changed(schema="cxrs-edge/bench/2"), r"\$\.schema"),
        (_changed(host=None), r"\$\.host"),
        (_changed(models=[]), "not among its models"),
        (EXAMPLE.read_bytes().replace(b'"threads": 2', b'"threads": 1'), "twice"),
        (EXAMPLE.read_bytes().replace(b'"samples_ms": [', b'"samples_ms": [-1, '), r"samples_ms\[0"),
        (EXAMPLE.read_bytes().replace(b'"samples_ms": [', b'"samples_ms": [NaN, '), "malformed"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as error:
        decode_report(data, name="a.json")
    assert str(error.value).startswith("a.json: ")


def test_a_missing_file_and_an_unwritable_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_report(tmp_path / "absent.json")
    with pytest.raises(DataError, match="can't be written"):
        write_report(read_report(EXAMPLE), tmp_path / "absent" / "a.json")


@given(st.integers(0, EXAMPLE.stat().st_size - 1), st.binary(max_size=8))
def test_damage_is_an_error_or_another_report(at: int, patch: bytes) -> None:
    data = EXAMPLE.read_bytes()
    try:
        report = decode_report(data[:at] + patch + data[at + len(patch) :], name="a.json")
    except DataError:
        return
    assert decode_report(encode_report(report), name="a.json") == report
