"""A reader at the booklet, in a real browser, from the first tick to the score."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_models import FULL

from cxrs_edge.cli import main
from cxrs_edge.review.booklet import render_booklet
from cxrs_edge.review.case import Case, Factor

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect  # noqa: E402

PATIENCE = 300_000
"""Milliseconds: a machine may be busy."""
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium; sh tests/packaging/install_debian.sh installs it")
    with playwright.sync_playwright() as driver:
        # As root, as in a container, there is no sandbox.
        yield driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE)


@pytest.fixture(scope="module")
def booklet(tmp_path_factory, write_models) -> Path:
    """Of three phantoms, which the tiny model, that sees no chest, explains alike."""
    from cxrs_bench.phantom import Phantom, draw_phantom

    folder = tmp_path_factory.mktemp("booklet")
    for seed in range(3):
        Image.fromarray(draw_phantom(Phantom((0, 2, 3, 0, 1, 2), seed, 256, 288))).save(
            folder / f"{seed}.png"
        )
    model = write_models("onnx", folder, **FULL)
    out = folder / "booklet.html"
    arguments = ["review", folder, "-o", out, "--model", model, "--engine", "onnx"]
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return out


FILMS = ((1040, 1280), (1280, 900), (1280, 1280))
"""Widths and heights of the X-rays of `full_booklet`."""


@pytest.fixture(scope="module")
def full_booklet(tmp_path_factory) -> Path:
    """Three regions in every case, with the longest words that one can have."""
    level = "The network decided level 2, uncertain: opacities in 3 or more of 6 lung zones."
    told = (
        "3 critical factors among 3 regions: removing any one of them changes the decision under both fills. "
        "Barely decided (p 0.550): removing nearly anything changes it."
    )
    removals = "Level 2 without it: p 0.550 -> 0.495 (blur), 0.381 (ring mean)"
    factors = tuple(Factor(f"Region {n}: critical factor, verified by removal", removals) for n in (1, 2, 3))
    cases = [full_case(size, (level, told), factors) for size in FILMS]
    out = tmp_path_factory.mktemp("full") / "booklet.html"
    out.write_text(render_booklet(cases, "r0123456789ab"), "utf-8")
    return out


def full_case(size: tuple[int, int], told: tuple[str, ...], factors: tuple[Factor, ...]) -> Case:
    jpeg = io.BytesIO()
    Image.linear_gradient("L").resize(size).save(jpeg, "JPEG")
    outlines = '<path class="region critical" d="M200,200 600,200 600,700 200,700Z"/>'
    return Case("x.png", "0", jpeg.getvalue(), size, outlines, told, factors, {"level": 2})


@pytest.fixture
def open_booklet(browser, booklet) -> Iterator[object]:
    """`open_booklet(**options)`: in a profile of its own; the page may ask for nothing and complain of nothing."""
    complaints: list[str] = []
    contexts = []
    usual = booklet

    def open_one(before: str = "", booklet: Path = usual, **options) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.extend(_foreign(request.url, booklet)))
        page.add_init_script(before)
        page.goto(booklet.as_uri())
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def _foreign(url: str, booklet: Path) -> list[str]:
    return [] if url == booklet.as_uri() or url.startswith(("data:image/", "blob:")) else [url]


def read(page: Page, number: int, zones: str, ratings: list[str], comment: str = "") -> None:
    """Tick, fix, judge and comment one case, as a reader does."""
    page.locator("#contents button").nth(number - 1).click()
    case = page.locator(f"#case-{number}")
    for zone in zones:
        case.locator(f"[value={zone}]").check()
    if not zones:
        page.once("dialog", lambda dialog: dialog.accept())
    case.get_by_role("button", name="and show regions").click()
    for factor, rating in zip(case.locator(".factor").all(), ratings, strict=False):
        factor.get_by_label(rating, exact=True).check()
    case.get_by_label("Comment").fill(comment)


def export(page: Page, path: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    download.value.save_as(path)
    return path


def test_from_the_first_tick_to_the_score(open_booklet, booklet, tmp_path):
    answers = json.loads(booklet.with_suffix(".answers.json").read_text())
    page = open_booklet()
    page.get_by_label("Reader").fill("=Anna")
    read(page, 1, "abe", ["agree", "partly", "disagree"], '"quoted", and\nin two lines')
    read(page, 2, "", ["disagree"] * 3)
    page.locator("#case-2").get_by_role("button", name="Next").click()
    expect(page.locator("#case-3 h2")).to_be_focused()
    page.locator("#case-3 [value=f]").check()
    page.reload()
    # Nothing is lost, and the reader is where they were.
    assert page.locator("#case-3 [value=f]").is_checked()
    assert page.locator("#case-3").is_visible()
    assert page.locator("#progress").inner_text().startswith("2 of 3 cases read, ")
    path = export(page, tmp_path / "anna.csv")
    assert page.locator("#message").inner_text().startswith("Exported. 1 of 3 cases aren't finished")
    first, second, third = csv.DictReader(path.read_text("utf-8-sig").splitlines())
    assert first["reader"] == "'=Anna"  # a spreadsheet would run it
    assert first["booklet"] == answers["booklet"]
    assert [first[f"zone_{zone}"] for zone in "abcdef"] == ["1", "1", "0", "0", "1", "0"]
    assert first["comment"] == '"quoted", and\\nin two lines'
    assert [second[f"zone_{zone}"] for zone in "abcdef"] == ["0"] * 6
    assert [third[f"zone_{zone}"] for zone in "abcdef"] == [""] * 6
    count = len(answers["cases"][0]["answer"]["evidence"]["candidates"])
    assert [first[f"region_{n}"] for n in (1, 2, 3)] == ["agree", "partly", "disagree"][:count] + [""] * (
        3 - count
    )
    other = open_booklet()
    other.get_by_label("Reader").fill("Ben")
    for number, zones in enumerate(("ab", "", "f"), start=1):
        read(other, number, zones, ["agree"] * 3)
    paths = [path, export(other, tmp_path / "ben.csv")]
    assert other.locator("#message").inner_text() == "Exported."
    arguments = [
        "review",
        "--score",
        *paths,
        "--answers",
        booklet.with_suffix(".answers.json"),
        "--format",
        "json",
    ]
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    found = {(*one["between"], one["on"]): one for one in json.loads(done.stdout)["agreement"]}
    pooled = found["'=Anna", "Ben", "all zones"]
    # Of the 12 zones that both read a, b; Anna e too: kappa by hand.
    chance = (3 * 2 + 9 * 10) / 144
    assert pooled["count"] == 12
    assert pooled["kappa"]["value"] == pytest.approx((11 / 12 - chance) / (1 - chance))
    assert found["Ben", "network", "all zones"]["count"] == 18


def test_the_network_is_not_seen_before_the_zones_are_fixed(open_booklet):
    page = open_booklet()
    case = page.locator("#case-1")
    assert case.locator(".region").count() > 0
    for hidden in (case.locator(".region").first, case.locator(".revealed"), case.locator(".switch")):
        assert not hidden.is_visible()
    assert "level" not in page.locator("main").inner_text().lower()
    case.get_by_label("left upper zone").check()
    button = case.get_by_role("button", name="and show regions")
    assert button.inner_text() == "Fix 1 zone and show regions"
    button.click()
    assert case.locator(".region").first.is_visible()
    assert re.search(r"The network decided level [12]", case.locator(".revealed").inner_text())
    assert case.locator("[name=zone]:enabled").count() == 0
    case.get_by_label("Show the regions").uncheck()
    assert not case.locator(".region").first.is_visible()
    # The next case is as blind as the first one was.
    case.get_by_role("button", name="Next").click()
    assert not page.locator("#case-2 .region").first.is_visible()


def test_a_csv_needs_a_reader(open_booklet):
    page = open_booklet()
    page.get_by_role("button", name="Export CSV").click()
    expect(page.locator("#message")).to_have_text("Enter your name or reader number first.")
    expect(page.get_by_label("Reader")).to_be_focused()


def test_starting_over_asks_first(open_booklet):
    page = open_booklet()
    page.get_by_label("Reader").fill("Anna")
    page.locator("#case-1 [value=a]").check()
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Start over").click()
    assert page.locator("#case-1 [value=a]").is_checked()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Start over").click()
    page.reload()
    assert not page.locator("#case-1 [value=a]").is_checked()
    assert page.get_by_label("Reader").input_value() == ""


def test_two_tabs_of_one_reader_lose_nothing(open_booklet, booklet):
    page = open_booklet()
    other = page.context.new_page()
    other.goto(booklet.as_uri())
    page.locator("#case-1 [value=a]").check()
    expect(other.locator("#case-1 [value=a]")).to_be_checked()
    other.locator("#case-1 [value=b]").check()
    expect(page.locator("#case-1 [value=b]")).to_be_checked()
    assert page.locator("#case-1 [value=a]").is_checked()


def test_a_browser_that_keeps_nothing_warns_before_it_closes(open_booklet):
    page = open_booklet("Storage.prototype.setItem = () => { throw new Error('full'); };")
    page.locator("#case-1 [value=a]").check()
    assert "This browser keeps nothing: export the CSV" in page.locator("#kept").inner_text()
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.accept()


def test_no_zone_is_fixed_only_after_a_question(open_booklet):
    page = open_booklet()
    case, button = page.locator("#case-1"), page.get_by_role("button", name="No zone affected: fix this")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    button.click()
    assert asked == ["Fix that no zone has airspace opacity? This can't be changed later."]
    assert case.locator("[name=zone]:enabled").count() == 6
    assert not case.locator(".revealed").is_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    button.click()
    assert case.locator("[name=zone]:enabled").count() == 0


def test_an_x_ray_is_enlarged_to_what_is_stored(open_booklet, full_booklet):
    page = open_booklet(booklet=full_booklet, viewport={"width": 1400, "height": 900})
    read(page, 1, "a", ["agree"] * 3)
    film, view = page.locator("#case-1 svg"), page.locator("#case-1 .view")
    small, before = film.bounding_box(), page.locator("#case-1 .region").first.bounding_box()
    assert small["height"] <= 0.88 * 900 + 1
    enlarge = page.locator("#case-1").get_by_role("button", name="Enlarge")
    enlarge.focus()
    page.keyboard.press("Enter")
    large, after = film.bounding_box(), page.locator("#case-1 .region").first.bounding_box()
    assert (large["width"], large["height"]) == (FILMS[0][0], FILMS[0][1])
    # The film was as high as allowed, and is drawn in the middle of its box: heights tell the scale.
    assert after["height"] / before["height"] == pytest.approx(large["height"] / small["height"], rel=0.05)
    assert enlarge.get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    view.focus()
    page.keyboard.press("ArrowDown")
    expect(view).to_be_focused()
    # The page allows no script of others, so the driver can't poll.
    view.evaluate("v => v.scrollTop > 0 || new Promise((done) => v.addEventListener('scroll', done))")
    page.locator("#case-1").get_by_role("button", name="Fit").click()
    assert film.bounding_box()["height"] == small["height"]


def test_a_wide_window_gives_the_film_its_width(open_booklet, full_booklet):
    page = open_booklet(booklet=full_booklet, viewport={"width": 2400, "height": 1400})
    page.locator("#contents button").nth(1).click()
    assert page.locator("#case-2 svg").bounding_box()["width"] > 1280


def test_printed_it_is_one_case_a_page(open_booklet):
    page = open_booklet()
    read(page, 1, "abcdef", ["agree"] * 3, "a comment")
    assert count_pages(page.pdf(format="A4")) == 1 + 3  # how to read, and the cases
    # A case that leaves room gets a page of its own too.
    page.emulate_media(media="print")
    breaks = page.evaluate(
        "[...document.querySelectorAll('.case')].map((c) => getComputedStyle(c).breakAfter)"
    )
    assert breaks == ["page", "page", "auto"]


def test_printed_full_cases_are_one_a_page_and_the_instructions_open(open_booklet, full_booklet):
    page = open_booklet(booklet=full_booklet)
    for number in range(1, len(FILMS) + 1):
        read(page, number, "abcdef", ["agree"] * 3, "A long comment. " * 60)
    page.reload()
    assert not page.evaluate("document.querySelector('.how').open")
    page.evaluate(
        "addEventListener('beforeprint', () => { window.printed = document.querySelector('.how').open; })"
    )
    for paper in ("A4", "Letter"):
        assert count_pages(page.pdf(format=paper)) == 1 + len(FILMS), paper
    assert page.evaluate("window.printed")
    assert not page.evaluate("document.querySelector('.how').open")


def count_pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}],
    ids=["desktop", "dark", "phone"],
)
def test_accessible_and_no_wider_than_the_screen(open_booklet, options):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_booklet(**options)
    read(page, 1, "a", ["agree"])
    page.locator("#case-1").get_by_role("button", name="Enlarge").click()
    found = axe.run(page).response["violations"]
    assert [f"{item['id']}: {node['target']}" for item in found for node in item["nodes"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
