"""JSON, picture and page of an explanation, and the folder that they are written to."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_engine import linear_grader
from PIL import Image, ImageDraw

from cxrs_edge.errors import InputError
from cxrs_edge.evidence.factors import Explanation, Removal, explain
from cxrs_edge.evidence.folder import ENCODERS, PICTURE_ONLY, open_folder
from cxrs_edge.evidence.layers import RED, evidence_layer
from cxrs_edge.evidence.page import render_page
from cxrs_edge.evidence.picture import draw_picture
from cxrs_edge.evidence.words import describe_lines, describe_removals, explanation_json
from cxrs_edge.render import RESEARCH_USE, to_json

HOSTILE = "<img src=x onerror=alert(1)>\"'&$name ${style}\x1b[31m\n.png"


def explain_spot(size=(320, 256), name="scan.png", threshold=0.75, gray=0) -> Explanation:
    """A white cell on black, the only one that counts: row 3, column 2 of 8; of the larger size a wide frame."""
    weights = np.zeros((8, 8))
    weights[3, 2] = 8
    grader, engine = linear_grader(weights)
    engine.threshold = threshold
    width, height = size
    plane = np.full((height, width), gray, np.uint8)
    side = min(size)
    left, top, cell = (width - side) // 2, (height - side) // 2, side // 8
    plane[top + 3 * cell : top + 4 * cell, left + 2 * cell : left + 3 * cell] = 255
    png = io.BytesIO()
    Image.fromarray(plane).save(png, "PNG")
    return explain(grader, png.getvalue(), name=name)


def renamed(explanation: Explanation, name: str) -> Explanation:
    examination = explanation.examination
    return replace(
        explanation, examination=replace(examination, grade=replace(examination.grade, source=name))
    )


@pytest.fixture(scope="module")
def spot() -> Explanation:
    return explain_spot()


def test_json_is_the_grade_and_the_polygons_in_the_original(spot):
    found = json.loads(json.dumps(explanation_json(spot)))
    evidence = found.pop("evidence")
    assert found == json.loads(json.dumps(to_json(spot.examination.grade)))
    assert (evidence["explained"], evidence["level"]) == (True, 2)
    assert evidence["probability"] == found["probabilities"]["level2"]
    (candidate,) = evidence["candidates"]
    # The frame is the middle 256 of 320 columns: 32 + 2 * 32.
    assert candidate["polygon"] == [[[96, 96], [128, 96], [128, 128], [96, 128]]]
    assert candidate["critical"] is True
    assert [removal["fill"] for removal in candidate["removals"]] == ["blur", "ring mean"]
    assert all(removal["changed"] and removal["level"] == 1 for removal in candidate["removals"])
    assert evidence["together"] == candidate["removals"]


def test_json_says_why_there_is_none(spot):
    reason = replace(spot, reason="rejected; not a chest", candidates=(), together=())
    assert explanation_json(reason)["evidence"] == {"explained": False, "reason": "rejected; not a chest"}
    assert describe_lines(reason) == ["Not explained: rejected; not a chest"]


def test_the_lines_say_what_was_verified(spot):
    before, after = spot.probability, [removal.probability for removal in spot.candidates[0].removals]
    assert describe_lines(spot) == [
        "1 critical factor: removing it changes the decision under both fills.",
        f"  1 verified by removal: p {before:.3f} -> {after[0]:.3f} (blur), {after[1]:.3f} (ring mean)",
    ]


DOUBT = "Barely decided (p 0.550): removing nearly anything changes it."


def written_in(explanation, monkeypatch) -> str:
    """All text that the picture draws, its lines joined."""
    drawn: list[str] = []
    draw_text = ImageDraw.ImageDraw.text

    def spy(self, place, text, *arguments, **options):
        drawn.append(text)
        return draw_text(self, place, text, *arguments, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    draw_picture(explanation)
    return " ".join(drawn)


def test_a_barely_decided_level_is_told_in_every_form(spot, monkeypatch):
    # The margin is 8 * (1 - 0.975) = 0.2, and 1 / (1 + exp(-0.2)) = 0.550.
    barely = explain_spot(threshold=0.975)
    assert barely.critical_factors
    assert describe_lines(barely)[0].endswith(f"under both fills. {DOUBT}")
    assert DOUBT in Elements(render_page(barely)).text
    assert DOUBT in written_in(barely, monkeypatch)
    assert "Barely" not in "".join(describe_lines(spot))
    # 8 * (1 - 0.949) = 0.408, and 1 / (1 + exp(-0.408)) = 0.6006.
    assert "Barely" not in "".join(describe_lines(explain_spot(threshold=0.949)))


def test_a_fall_across_one_half_is_seen():
    removals = (Removal("blur", 1, 0.4954, True), Removal("ring mean", 2, 0.5021, False))
    assert describe_removals(removals, 0.5034) == "p 0.503 -> 0.495 (blur), 0.502 (ring mean)"


def test_where_none_passes_the_lines_say_so():
    lines = describe_lines(explain_spot(threshold=0.2))
    assert lines[0].startswith("No critical factor: removing the one region doesn't change")
    assert lines[1].startswith("  1 not critical: p 0.998 -> ")


@pytest.mark.parametrize("size", [(320, 256), (256, 512), (1600, 1280)])
def test_the_critical_factor_is_outlined_in_red_where_it_is(size):
    explanation = explain_spot(size)
    picture = np.asarray(Image.open(io.BytesIO(draw_picture(explanation))))
    scale = 900 / max(size)
    width, height = round(size[0] * scale), round(size[1] * scale)
    top = (len(picture) - height) // 2
    xray = picture[top : top + height, 20 : 20 + width]
    rows, columns = np.nonzero((xray == RED).all(axis=2))
    side = min(width, height)
    left, above = (width - side) / 2 + side / 4, (height - side) / 2 + side * 3 / 8
    expected = (left, above, left + side / 8, above + side / 8)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == pytest.approx(expected, abs=4)


def test_what_is_not_critical_is_not_red():
    picture = np.asarray(Image.open(io.BytesIO(draw_picture(explain_spot(threshold=0.2)))))
    assert not (picture == RED).all(axis=2).any()


def test_the_layer_is_strongest_where_the_evidence_is(spot):
    alpha = np.asarray(evidence_layer(spot, 256))[..., 3]
    assert alpha[112, 80] == alpha.max() > 0
    assert alpha[0, 0] == alpha[200, 200] == 0


class Elements(HTMLParser):
    """Elements, attributes and text as a browser would read them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_all_and_loads_nothing(spot):
    page = render_page(spot)
    found = Elements(page)
    assert "script" not in found.tags
    for name, value in found.attributes:
        assert not name.startswith("on")
        if name in ("href", "src"):
            assert value.startswith("data:image/")
    assert "url(" not in page.replace("url(#frame)", "")
    assert "http:" not in page
    assert "https:" not in page
    assert RESEARCH_USE in found.text
    assert "verified by removal" in found.text
    assert "M96.0,96.0 128.0,96.0 128.0,128.0 96.0,128.0Z" in page


def test_a_hostile_name_stays_text(spot):
    plain, hostile = Elements(render_page(spot)), Elements(render_page(renamed(spot, HOSTILE)))
    assert hostile.tags == plain.tags
    assert len(hostile.attributes) == len(plain.attributes)
    assert "onerror=alert(1)>\"'&$name ${style}\\x1b[31m\\n.png" in hostile.text


@given(name=st.text(min_size=1))
@settings(max_examples=25, deadline=None)
def test_no_name_changes_the_page(name):
    spot = SPOT
    hostile = Elements(render_page(renamed(spot, name)))
    assert hostile.tags == TAGS


SPOT = explain_spot()
TAGS = Elements(render_page(SPOT)).tags


def test_files_are_named_after_the_source_and_never_overwritten(tmp_path, spot):
    folder = open_folder(tmp_path / "new" / "folder")
    first = folder.save(renamed(spot, "ward/scan.png"))
    assert [path.name for path in first] == [f"scan.png{kind}" for kind in ENCODERS]
    before = {path: path.read_bytes() for path in first}
    second = folder.save(renamed(spot, "other/scan.png"), PICTURE_ONLY)
    assert [path.name for path in second] == ["scan-2.png.evidence.png"]
    third = folder.save(renamed(spot, "scan.png"))
    assert [path.name for path in third] == [f"scan-3.png{kind}" for kind in ENCODERS]
    assert {path: path.read_bytes() for path in first} == before
    assert json.loads(first[2].read_bytes())["source"] == "ward/scan.png"
    assert Image.open(first[0]).format == "PNG"


@pytest.mark.parametrize(
    "name", [HOSTILE, "x" * 300 + ".png", "..", ".", "/", "a\udcff.png", "\u00e4" * 140, "-"]
)
def test_any_name_ends_inside_the_folder(tmp_path, spot, name):
    (path,) = open_folder(tmp_path / "in").save(renamed(spot, name), PICTURE_ONLY)
    assert path.parent == tmp_path / "in"
    assert path.is_file()
    assert [other.name for other in tmp_path.iterdir()] == ["in"]


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: can't be used: File exists; name a folder"):
        open_folder(tmp_path / "file")


def test_what_cannot_be_written_is_told(tmp_path, spot):
    folder = open_folder(tmp_path / "gone")
    folder.path.rmdir()
    with pytest.raises(InputError, match=r"scan\.png\.evidence\.png: can't be written: No such file"):
        folder.save(spot)


def test_a_zone_stands_where_the_lung_is(spot):
    page = re.sub(r"<[^>]+>", " ", render_page(spot))
    assert re.search(r"right lung\s+left lung\s+upper\s+a 75 %\s+d 75 %\s+middle\s+b 75 %\s+e 75 %", page)


def test_names_are_not_paths_in_the_page(spot):
    assert "/home/ward" not in render_page(renamed(spot, str(Path("/home/ward/scan.png"))))
