"""`cxrs-edge review`: what the booklet holds, what it must not hold, and when nothing is written."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from linear_engine import linear_grader
from PIL import Image
from tiny_models import FULL

from cxrs_edge.card import DecisionRule
from cxrs_edge.cli import main
from cxrs_edge.errors import InputError
from cxrs_edge.review.case import SIDE, make_case
from cxrs_edge.review.folder import MOST_CASES, check_count

DATA_URI = re.compile(r'href="data:image/jpeg;base64,([^"]+)"')


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_booklet_and_its_answers(review, xrays, tmp_path):
    (xrays / "bad.png").write_bytes(b"no image")
    out = tmp_path / "booklet.html"
    done = review(xrays, "-o", out)
    assert done.exit_code == 1
    assert "bad.png: not an image" in done.stderr
    assert "1 of 3 inputs are not in it." in done.stderr
    page, answers = out.read_text(), json.loads((tmp_path / "booklet.answers.json").read_text())
    assert f'data-booklet="{answers["booklet"]}"' in page
    assert f"booklet {answers['booklet']}, 2 cases" in done.stdout
    in_order = sorted(xrays.rglob("*.png"), key=digest)
    in_order.remove(xrays / "bad.png")
    assert [(case["source"], case["sha256"]) for case in answers["cases"]] == [
        (str(p), digest(p)) for p in in_order
    ]
    factors = [len(case["answer"]["evidence"]["candidates"]) for case in answers["cases"]]
    assert page.count('<fieldset class="factor"') == page.count('<path class="region') == sum(factors) > 0
    assert page.count('name="zone"') == 12


def test_no_name_and_no_answer_is_in_it(review, xrays, tmp_path):
    out = tmp_path / "booklet.html"
    assert review(xrays, "-o", out).exit_code == 0
    page = out.read_text()
    for name in (
        "ward",
        "one patient",
        "b.png",
        "onerror",
        str(tmp_path),
        digest(xrays / "one patient" / "b.png"),
    ):
        assert name not in page
    # The level's probability is told, and may look like a zone's.
    words = re.sub(r"Level \d without it[^<]*|Barely decided \(p [^)]*\)", "", _words(page))
    for case in json.loads((tmp_path / "booklet.answers.json").read_text())["cases"]:
        for probability in case["answer"]["zones"].values():
            assert f"{probability:.2f}" not in words


def _words(page: str) -> str:
    """The page without pictures, style, script and drawing."""
    return re.sub(
        r"data:image[^\"]*|<style>.*</style>|<script.*</script>|<path.*?>|<text.*?>",
        "",
        page,
        flags=re.DOTALL,
    )


def test_names_on_request(review, xrays, tmp_path):
    out = tmp_path / "booklet.html"
    assert review(xrays, "-o", out, "--names").exit_code == 0
    page = out.read_text()
    assert '<span class="name">&lt;img src=x onerror=alert(1)&gt;.png</span>' in page
    assert '<span class="name">b.png</span>' in page
    assert "one patient" not in page


def test_the_same_files_elsewhere_make_the_same_booklet(review, xrays, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for number, path in enumerate(sorted(xrays.rglob("*.png"))):
        shutil.copy(path, copy / f"{number}.png")
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    assert [
        review(folder, "-o", page).exit_code for folder, page in zip((xrays, copy), pages, strict=True)
    ] == [0, 0]
    assert pages[0].read_text() == pages[1].read_text()
    (copy / "0.png").unlink()
    assert review(copy, "-o", tmp_path / "c.html").exit_code == 0
    ids = [json.loads((tmp_path / f"{name}.answers.json").read_text())["booklet"] for name in "abc"]
    assert ids[0] == ids[1] != ids[2]


def test_it_asks_for_nothing_and_only_its_own_script_runs(review, xrays, tmp_path):
    out = tmp_path / "booklet.html"
    review(xrays, "-o", out)
    page = out.read_text()
    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}';"
        in page
    )
    # The namespace of SVG is in no address: inline SVG needs none.
    assert not re.findall(r"https?://", page)


def test_pictures_are_large_gray_and_carry_nothing_of_the_file(review, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x010E] = "PATIENT NAME"
    Image.linear_gradient("L").resize((2000, 1500)).save(
        folder / "scan.jpg", exif=exif, comment=b"PATIENT NAME"
    )
    assert review(folder, "-o", tmp_path / "b.html").exit_code == 0
    (encoded,) = DATA_URI.findall((tmp_path / "b.html").read_text())
    data = base64.b64decode(encoded)
    shown = Image.open(io.BytesIO(data))
    assert b"PATIENT NAME" not in data
    assert (shown.mode, shown.size, dict(shown.getexif())) == ("L", (SIDE, SIDE * 3 // 4), {})


def test_level_0_and_what_is_rejected_have_zones_and_no_regions(write_model, draw_xray, tmp_path):
    scan = draw_xray()
    level0 = write_model(
        "onnx", graph=FULL["graph"], card=FULL["card"] | {"decision": DecisionRule(1.0, None, "by hand")}
    )
    for name, options, told in (
        ("level0", ("--model", level0, "--engine", "onnx"), "Not explained: level 0: the evidence map"),
        ("rejected", ("--threads", "1"), "Not explained: rejected; "),
    ):
        out = tmp_path / f"{name}.html"
        done = CliRunner().invoke(main, ["review", str(scan), "-o", str(out), *map(str, options)])
        assert done.exit_code == 0, done.output
        page = out.read_text()
        assert told in page
        assert page.count('name="zone"') == 6
        assert '<fieldset class="factor"' not in page
        assert "Would you base" not in page


def test_a_barely_decided_level_is_told_beside_its_factors(tmp_path):
    # One cell that counts, white on black: the margin is 8 * (1 - 0.975) = 0.2, and 1 / (1 + exp(-0.2)) = 0.550.
    gray, weights = np.zeros((8, 8), np.uint8), np.zeros((8, 8))
    gray[3, 2], weights[3, 2] = 255, 8
    grader, engine = linear_grader(weights)
    scan = tmp_path / "scan.png"
    Image.fromarray(np.kron(gray, np.ones((32, 32), np.uint8))).save(scan)
    engine.threshold = 0.975
    doubt = "Barely decided (p 0.550): removing nearly anything changes it."
    assert make_case(grader, str(scan)).told[1].endswith(doubt)
    engine.threshold = 0.75
    assert "1 critical factor" in make_case(grader, str(scan)).told[1]
    assert "Barely" not in make_case(grader, str(scan)).told[1]


@pytest.mark.parametrize("there", ["booklet.html", "booklet.answers.json"])
def test_nothing_is_overwritten(there, review, xrays, tmp_path):
    (tmp_path / there).write_text("kept")
    before = sorted(tmp_path.iterdir())
    done = review(xrays, "-o", tmp_path / "booklet.html")
    assert done.exit_code == 1
    assert f"{there}: is there already and is not overwritten; name another --output" in done.stderr
    assert (tmp_path / there).read_text() == "kept"
    assert sorted(tmp_path.iterdir()) == before


def test_half_a_result_is_none(review, xrays, tmp_path):
    # The folder stands where the booklet is written before it gets its name.
    (tmp_path / ".booklet.html.unfinished").mkdir()
    done = review(xrays, "-o", tmp_path / "booklet.html")
    assert done.exit_code == 1
    assert "booklet.html: can't be written: " in done.stderr
    assert not list(tmp_path.glob("booklet*"))


def test_without_a_single_image_nothing_is_written(review, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    done = review(bad, "-o", tmp_path / "booklet.html")
    assert done.exit_code == 1
    assert "not written: none of 1 inputs can be shown" in done.stderr
    assert not list(tmp_path.glob("booklet*"))


def test_wrong_usage(review, xrays, tmp_path):
    assert "needs -o" in review(xrays).stderr
    assert "expected a name such as booklet.html" in review(xrays, "-o", tmp_path / "booklet.csv").stderr
    assert "no folder " in review(xrays, "-o", tmp_path / "none" / "booklet.html").stderr


def test_a_model_without_evidence_is_refused(write_model, xrays, tmp_path):
    arguments = [
        "review",
        xrays,
        "-o",
        tmp_path / "b.html",
        "--model",
        write_model("onnx"),
        "--engine",
        "onnx",
    ]
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 1
    assert "has no output evidence" in done.stderr
    assert not (tmp_path / "b.html").exists()


def test_too_many_cases():
    check_count(MOST_CASES)
    with pytest.raises(InputError, match="501 images; a booklet holds at most 500: make one for each part"):
        check_count(MOST_CASES + 1)
