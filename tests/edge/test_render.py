"""The three styles of a result, byte for byte where others parse them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrs_edge.grade import EngineInfo, Failure, Grade, ModelInfo
from cxrs_edge.render import COLUMNS, csv_header, printable, render

GRADE = Grade(
    source="scan.png",
    outcome="graded",
    level=2,
    probabilities={"level1": 0.0875, "level2": 0.9125},
    notes=("colour image, turned to gray",),
    model=ModelInfo("cxrs", "0.1.0", "int8", "ab" * 32),
    engine=EngineInfo("tflite", "2.3.0", 2),
    timing_ms={"read": 11.25, "prepare": 1.5, "infer": 34.0},
)
ZONES = {"a": 0.004, "b": 0.5, "c": 1.0, "d": 0.12, "e": 0.346, "f": 0.99}
FULL = replace(GRADE, zones=ZONES, geographic=5.25, opacity=4.0)
FAILURE = Failure("bad.png", "image", "bad.png: not an image")


def test_json_of_a_grade_is_the_contract():
    expected = (
        '{"schema": "cxrs-edge/grade/1", "source": "scan.png", "outcome": "graded", "level": 2, '
        '"probabilities": {"level1": 0.0875, "level2": 0.9125}, '
        '"notes": ["colour image, turned to gray"], '
        '"model": {"name": "cxrs", "version": "0.1.0", "precision": "int8", "sha256": "'
        + "ab"
        * 32
        + '"}, "engine": {"name": "tflite", "version": "2.3.0", "threads": 2}, '
        '"timing_ms": {"read": 11.25, "prepare": 1.5, "infer": 34.0}}'
    )
    assert render(GRADE, "json") == expected


def test_json_of_a_failure_is_the_contract():
    assert render(FAILURE, "json") == (
        '{"schema": "cxrs-edge/grade/1", "source": "bad.png", "outcome": "error", '
        '"error": {"kind": "image", "message": "bad.png: not an image"}}'
    )


def test_json_has_zones_and_extents_only_when_the_model_has_them():
    line = json.loads(render(FULL, "json"))
    assert list(line)[-3:] == ["zones", "geographic", "opacity"]
    assert (line["zones"], line["geographic"], line["opacity"]) == (ZONES, 5.25, 4.0)
    assert {key: line[key] for key in json.loads(render(GRADE, "json"))} == json.loads(render(GRADE, "json"))
    clear = json.loads(render(replace(GRADE, zones=dict.fromkeys(ZONES, 0.0)), "json"))
    assert list(clear)[-1] == "zones"
    assert json.loads(render(replace(GRADE, geographic=0.0, opacity=0.0), "json"))["opacity"] == 0.0


def test_json_of_a_rejected_image_has_no_level():
    rejected = replace(GRADE, outcome="rejected", level=None)
    assert json.loads(render(rejected, "json"))["level"] is None


def test_text_of_a_grade():
    assert render(GRADE, "text").splitlines() == [
        "scan.png: graded level 2, opacities in 3 or more of 6 lung zones",
        "  level1 [##..................]   8.8 %",
        "  level2 [##################..]  91.2 %",
        "  note: colour image, turned to gray",
        "  read 11 ms, prepare 2 ms, infer 34 ms",
        "  cxrs 0.1.0 int8 on tflite 2.3.0",
    ]


def test_text_of_the_other_level_and_of_none():
    assert "graded level 1, opacities in 1 or 2 of 6 lung zones" in render(replace(GRADE, level=1), "text")
    rejected = render(replace(GRADE, outcome="rejected", level=None), "text")
    assert rejected.startswith("scan.png: rejected no level\n")


def test_text_draws_the_lungs():
    assert render(FULL, "text").splitlines()[3:-3] == [
        "    right lung      left lung    opacity in each zone",
        "     .-------.      .-------.",
        "    / a   0 % \\    / d  12 % \\    upper",
        "   |  b  50 %  |  |  e  35 %  |   middle",
        "   |  c 100 %  |  |  f  99 %  |   lower",
        "   '-----------'  '-----------'",
        "  extent, both lungs added up: geographic 5.2 of 8, opacity 4.0 of 8",
    ]
    assert render(FULL, "text").isascii()


def test_text_without_zones_or_extents():
    plain = render(GRADE, "text").splitlines()
    extents = "  extent, both lungs added up: geographic 5.2 of 8, opacity 4.0 of 8"
    assert render(replace(FULL, zones=None), "text").splitlines() == [*plain[:3], extents, *plain[3:]]
    assert len(render(replace(FULL, geographic=None, opacity=None), "text").splitlines()) == len(plain) + 6


def test_text_of_level_0_and_of_uncertain():
    assert "graded level 0, opacities in none of 6 lung zones" in render(replace(FULL, level=0), "text")
    unsure = replace(FULL, outcome="uncertain", level=1, notes=("can't tell",))
    lines = render(unsure, "text").splitlines()
    assert lines[0] == "scan.png: uncertain level 1, opacities in 1 or 2 of 6 lung zones"
    assert "  note: can't tell" in lines


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("bad.png: not an image", "bad.png: not an image"),
        ("model tiny: broken", "bad.png: model tiny: broken"),
    ],
)
def test_text_of_a_failure_names_the_source_once(message, text):
    assert render(replace(FAILURE, message=message), "text") == text


def cells(result):
    text = csv_header() + "\n" + render(result, "csv")
    (row,) = csv.DictReader(io.StringIO(text))
    return row


def test_csv_columns_are_stable():
    assert csv_header() == (
        "source,outcome,level,probability_level1,probability_level2,notes,model_name,model_version,"
        "model_precision,model_sha256,engine_name,engine_version,engine_threads,read_ms,prepare_ms,"
        "infer_ms,error_kind,error_message,zone_a,zone_b,zone_c,zone_d,zone_e,zone_f,geographic,opacity,"
        "gate_ms"
    )


NEW_COLUMNS = (*(f"zone_{zone}" for zone in "abcdef"), "geographic", "opacity")


def test_csv_of_a_grade():
    assert cells(GRADE) == {
        "source": "scan.png",
        "outcome": "graded",
        "level": "2",
        "probability_level1": "0.0875",
        "probability_level2": "0.9125",
        "notes": "colour image, turned to gray",
        "model_name": "cxrs",
        "model_version": "0.1.0",
        "model_precision": "int8",
        "model_sha256": "ab" * 32,
        "engine_name": "tflite",
        "engine_version": "2.3.0",
        "engine_threads": "2",
        "read_ms": "11.25",
        "prepare_ms": "1.5",
        "infer_ms": "34.0",
        "error_kind": "",
        "error_message": "",
        **dict.fromkeys(NEW_COLUMNS, ""),
        "gate_ms": "",
    }
    added = dict(
        zip(NEW_COLUMNS, ("0.004", "0.5", "1.0", "0.12", "0.346", "0.99", "5.25", "4.0"), strict=True)
    )
    assert cells(FULL) == cells(GRADE) | added


def test_csv_of_a_failure_has_every_column():
    row = cells(FAILURE)
    assert tuple(row) == COLUMNS
    filled = {key: value for key, value in row.items() if value}
    assert filled == {
        "source": "bad.png",
        "outcome": "error",
        "error_kind": "image",
        "error_message": "bad.png: not an image",
    }


@pytest.mark.parametrize("start", "=+-@")
def test_csv_runs_no_formula(start):
    name = f'{start}HYPERLINK("http://evil"), "x".png'
    row = cells(Failure(name, "image", f"{name}: damaged"))
    assert row["source"] == f"'{name}"
    assert row["error_message"] == f"'{name}: damaged"
    assert cells(replace(GRADE, source=name))["source"] == f"'{name}"


nasty = st.sampled_from("=+-@\t\r\n\x1b\u2028\u202e\ud800\udcff'\",;")
hostile_names = st.lists(nasty | st.characters().map(str), min_size=1).map("".join)


@given(hostile_names)
def test_no_name_breaks_a_line_or_steers_a_terminal(name):
    for result in (replace(GRADE, source=name), Failure(name, "image", f"{name}: damaged")):
        for style in ("text", "json", "csv"):
            for line in render(result, style).split("\n"):
                assert line.isprintable()
        assert "\n" not in render(result, "csv") + render(result, "json")
        assert not cells(result)["source"].startswith(("=", "+", "-", "@"))


@given(hostile_names)
def test_json_is_valid_unicode_that_keeps_every_valid_name(name):
    line = render(replace(GRADE, source=name), "json")
    source = json.loads(line)["source"]
    assert source.encode().decode() == source
    surrogate = any("\ud800" <= char <= "\udfff" for char in name)
    assert (source != name) == surrogate
    assert len(source) == len(name)


def test_printable_spells_out_what_can_not_be_seen():
    assert printable("a\nb\x1b[31m\u202egnp.exe é") == "a\\nb\\x1b[31m\\u202egnp.exe é"
