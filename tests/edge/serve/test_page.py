"""The page in Debian's Chromium, before a real server: what a person does and sees."""

from __future__ import annotations

import base64
import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect  # noqa: E402
from tiny_models import FULL  # noqa: E402

from cxrs_edge import Grader  # noqa: E402
from cxrs_edge.card import FRONTAL_CHEST  # noqa: E402
from cxrs_edge.render import csv_header, render  # noqa: E402

# A machine may be busy.
expect.set_options(timeout=300_000)

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SMALLEST = {"viewport": {"width": 320, "height": 568}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium; sh tests/packaging/install_debian.sh installs it")
    with playwright.sync_playwright() as driver:
        # As root, as in a container, there is no sandbox.
        yield driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.fixture
def open_page(browser) -> Iterator[object]:
    """`open_page(address, **options)`: a new window; whatever its console complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_one(address: str, **options) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(300_000)
        page.on("console", lambda message: complaints.extend(_complaint(message)))
        page.on("response", lambda response: complaints.extend(_unexpected(response)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def _complaint(message: ConsoleMessage) -> list[str]:
    """Browsers tell the console of each answer that is no success; `_unexpected` judges those."""
    is_error = message.type in ("error", "warning") and not message.text.startswith("Failed to load resource")
    return [message.text] if is_error else []


def _unexpected(response: Response) -> list[str]:
    return [] if response.status in (200, 401, 422, 503) else [f"{response.status} {response.url}"]


@pytest.fixture
def scans(draw_xray) -> list[Path]:
    """X-rays, one of them under a name that is an attack, and what is none."""
    text = draw_xray().parent / "<img src=x onerror=alert(1)>.txt"
    text.write_text("no image")
    return [draw_xray("one.png"), draw_xray("=two, 2.png", seed=2, size=(400, 300)), text]


def choose(page: Page, files: list[Path]) -> None:
    """Pick files, and wait for all their results."""
    before = page.locator("#rows tr").count()
    page.set_input_files("#files", files)
    expect(page.locator("#rows tr")).to_have_count(before + len(files))
    expect(page.locator("#progress")).to_be_hidden()


def test_a_chosen_file_gets_its_level(served, tiny, open_page, scans):
    page = open_page(served.address)
    choose(page, scans[:1])
    grade = Grader.open(tiny, "onnx", 1).grade(scans[0])
    assert page.locator("#detail h2").inner_text() == "one.png"
    assert page.locator(".verdict .badge").inner_text() == f"Level {grade.level}"
    assert f"{100 * grade.probabilities['level2']:.1f} %" in page.locator(".scales").inner_text()
    assert page.locator("#status").inner_text() == f"one.png: Level {grade.level}"
    assert "tiny 1.2 float32" in page.locator("#about").inner_text()
    assert "Not a medical device" in page.locator("body").inner_text()
    page.get_by_text("How it was computed").click()
    assert page.locator("dd").first.inner_text() == "PNG, 160 \u00d7 140 pixels, 8 bit"


def test_dropped_files_are_graded(served, open_page, scans):
    page = open_page(served.address)
    drop(page, scans[:2])
    expect(page.locator("#rows tr")).to_have_count(2)
    assert page.locator("#rows button").all_inner_texts() == ["one.png", "=two, 2.png"]


def drop(page: Page, files: list[Path]) -> None:
    content = [(file.name, base64.b64encode(file.read_bytes()).decode()) for file in files]
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, text] of files) {
                const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            return transfer;
        }""",
        content,
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    assert "dragging" in page.locator("body").get_attribute("class")
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def test_what_vanished_before_it_was_read_keeps_no_other_from_being_graded(served, open_page):
    page = open_page(served.address)
    found = page.evaluate(
        """async (module) => {
            const { droppedFiles } = await import(module);
            const entry = (name, file) => ({ isFile: true, fullPath: `/${name}`, file });
            const folder = { isFile: false, fullPath: "/locked",
                             createReader: () => ({ readEntries: (_, reject) => reject(new Error("no")) }) };
            const entries = [entry("one.png", (give) => give(new File(["x"], "one.png"))),
                             entry("gone.png", (_, reject) => reject(new Error("gone"))), folder];
            const items = entries.map((found) => ({ webkitGetAsEntry: () => found }));
            const files = await droppedFiles({ items, files: [] });
            const read = ({ file }) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);
            return Promise.all(files.map(async (item) => [item.name, await read(item)]));
        }""",
        f"{served.address}/static/files.js",
    )
    assert found == [["one.png", True], ["gone.png", False], ["locked", False]]


def test_the_keyboard_alone_will_do(served, open_page, scans):
    page = open_page(served.address)
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(scans)
    expect(page.locator("#rows tr")).to_have_count(3)
    first = page.locator("#rows button").first
    # Choose, Download CSV, Clear, the first file.
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    expect(first).to_have_attribute("aria-current", "true")
    assert page.locator("#detail h2").inner_text() == "one.png"


def test_a_file_that_is_none_says_why_and_runs_nothing(served, open_page, scans):
    page = open_page(served.address)
    choose(page, scans)
    assert page.locator("#detail h2").inner_text() == scans[2].name
    message = page.locator("#detail .message").inner_text()
    assert (
        message == "not an image; expected a PNG, JPEG, TIFF, BMP or DICOM image; export it as one of these"
    )
    assert page.locator("#rows .badge").nth(2).inner_text() == "no grade"
    assert page.locator("img[src=x]").count() == 0


def test_what_the_network_saw_can_be_looked_at(served, open_page, scans):
    page = open_page(served.address)
    choose(page, scans[:1])
    page.get_by_role("button", name="Show what the network saw").click()
    picture = page.get_by_alt_text("The square of this X-ray that the network saw")
    expect(picture).to_have_js_property("naturalWidth", 480)


def test_the_csv_is_that_of_predict(full_served, full, open_page, scans):
    page = open_page(full_served.address)
    choose(page, scans)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    text = download.value.path().read_text("utf-8-sig")
    grader = Grader.open(full, "onnx", 1)
    expected = [csv_header(), *(render(grader.grade(scan, name=scan.name), "csv") for scan in scans[:2])]
    rows = list(csv.DictReader(io.StringIO(text)))
    for row, same in zip(rows, csv.DictReader(io.StringIO("\n".join(expected))), strict=False):
        assert list(row) == list(same)
        for column, value in same.items():
            if not column.endswith("_ms"):
                assert row[column] == value, column
    assert rows[1]["source"] == "'=two, 2.png"
    assert (rows[2]["outcome"], rows[2]["error_kind"]) == ("error", "image")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#session")).to_be_hidden()


def test_two_tabs_with_many_files_share_one_engine(serve, open_page, draw_xray):
    files = [draw_xray(f"{seed:02}.png", seed=seed) for seed in range(15)]
    with serve("--places", 1) as served:
        tabs = [open_page(served.address) for _ in range(2)]
        for tab in tabs:
            tab.set_input_files("#files", files)
        for tab in tabs:
            expect(tab.locator("#rows tr")).to_have_count(15)
            assert tab.locator("#rows .badge", has_text="Level").count() == 15


def test_the_token(serve, open_page, scans):
    with serve("--host", "0.0.0.0") as served:
        page = open_page(f"{served.address}/#token={served.token}")
        choose(page, scans[:1])
        assert page.url == f"{served.address}/"
        page.reload()
        choose(page, scans[:1])
        stranger = open_page(served.address)
        expect(stranger.locator("#token")).to_be_focused()
        stranger.keyboard.type("wrong")
        stranger.keyboard.press("Enter")
        expect(stranger.locator("#token-form [role=alert]")).to_be_visible()
        stranger.locator("#token").fill(served.token)
        stranger.keyboard.press("Enter")
        expect(stranger.locator("#token-form")).to_be_hidden()
        expect(stranger.locator("#files")).to_be_focused()
        choose(stranger, scans[:1])
        late = open_page(served.address)
        expect(late.locator("#token")).to_be_focused()
        late.evaluate("token => { location.hash = `token=${token}` }", served.token)
        expect(late.locator("#token-form")).to_be_hidden()
        assert late.url == f"{served.address}/"


def test_a_late_answer_to_a_wrong_token_changes_nothing(serve, open_page, scans):
    with serve("--host", "0.0.0.0") as served:
        page = open_page(served.address)
        expect(page.locator("#token")).to_be_focused()
        held = []
        page.route("**/api/about", lambda route: held.append(route), times=1)
        page.locator("#token").fill("wrong")
        with page.expect_request("**/api/about"):
            page.keyboard.press("Enter")
        page.locator("#token").fill(served.token)
        page.keyboard.press("Enter")
        expect(page.locator("#token-form")).to_be_hidden()
        with page.expect_response(lambda response: response.status == 401):
            held[0].continue_()
        choose(page, scans[:1])
        expect(page.locator("#token-form")).to_be_hidden()


def test_on_a_phone_the_result_stays_in_view(full_served, open_page, scans):
    page = open_page(full_served.address, **PHONE)
    for _ in range(4):
        choose(page, scans)
        assert 0 <= page.locator("#detail h2").bounding_box()["y"] < PHONE["viewport"]["height"]
    page.locator("#rows button").last.scroll_into_view_if_needed()
    page.locator("#rows button").nth(1).click()
    assert page.locator("#detail h2").inner_text() == "=two, 2.png"
    assert 0 <= page.locator("#detail h2").bounding_box()["y"] < PHONE["viewport"]["height"]
    # A name keeps a third of the row even beside `Level 1, uncertain`.
    assert page.locator("#rows button").first.bounding_box()["width"] > 100


def test_a_server_that_is_gone_is_told_of(serve, open_page, scans):
    with serve() as served:
        page = open_page(served.address)
        expect(page.locator("#about")).to_contain_text("tiny")
        served.stop()
        choose(page, scans[:1])
        assert "the server does not answer" in page.locator("#detail .message").inner_text()


def test_a_busy_server_is_asked_until_it_answers(served, open_page, scans):
    page = open_page(served.address)
    asked = []

    def be_busy(route):
        asked.append(route)
        if len(asked) > 30:
            route.continue_()
            return
        error = {"kind": "busy", "message": "image: the server is busy with others"}
        answer = {"outcome": "error", "source": "image", "error": error}
        route.fulfill(status=503, json=answer, headers={"Retry-After": "0.01"})

    page.route("**/api/grade", be_busy)
    page.evaluate(
        """() => {
            const text = document.getElementById("progress-text");
            window.told = [];
            new MutationObserver(() => told.push(text.textContent)).observe(text, { childList: true });
        }"""
    )
    choose(page, scans[:1])
    assert len(asked) == 31
    assert page.locator("#rows .badge").inner_text().startswith("Level")
    assert "Grading 1 of 1: the server is busy with others" in page.evaluate("told")


def test_a_server_that_stops_amid_a_batch_loses_no_file(serve, open_page, draw_xray):
    files = [draw_xray(f"{seed}.png", seed=seed) for seed in range(4)]
    with serve() as served:
        page = open_page(served.address)
        graded = []

        def stop_before_the_third(route):
            graded.append(route)
            if len(graded) == 3:
                served.stop()
            route.continue_()

        page.route("**/api/grade", stop_before_the_third)
        choose(page, files)
    verdicts = page.locator("#rows .badge").all_inner_texts()
    assert [verdict[:5] for verdict in verdicts[:2]] == ["Level", "Level"]
    assert verdicts[2:] == ["not graded", "not graded"]
    assert "the server does not answer" in page.locator("#detail .message").inner_text()
    page.unroute("**/api/grade")
    with serve("--port", served.port):
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#rows .badge", has_text="Level")).to_have_count(4)
    assert page.locator("#rows button").all_inner_texts() == ["0.png", "1.png", "2.png", "3.png"]
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


def test_what_was_stopped_can_be_tried_again(served, open_page, scans):
    page = open_page(served.address)
    page.route("**/api/grade", lambda _route: None)
    page.set_input_files("#files", scans)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Try again")).to_be_focused()
    assert page.locator("#rows .badge").all_inner_texts() == ["not graded"] * 3
    page.unroute("**/api/grade")
    page.keyboard.press("Enter")
    expect(page.locator("#rows .badge", has_text="Level")).to_have_count(2)
    expect(page.locator("#files")).to_be_focused()


def test_a_model_that_says_more(full_served, full, open_page, scans):
    page = open_page(full_served.address)
    choose(page, scans[:1])
    grade = Grader.open(full, "onnx", 1).grade(scans[0])
    assert grade.zones is not None
    assert (grade.outcome, page.locator(".verdict .badge").inner_text()) == (
        "uncertain",
        f"Level {grade.level}, uncertain",
    )
    said = page.get_by_role("img", name="Probability of opacity").get_attribute("aria-label").split(": ")[1]
    names = [f"{side} {height} zone" for side in ("right", "left") for height in ("upper", "middle", "lower")]
    percents = [int(100 * probability + 0.5) for probability in grade.zones.values()]
    assert said.split(", ") == [f"{name} {share} %" for name, share in zip(names, percents, strict=True)]
    extents = [f"Geographic\n{grade.geographic:.1f} of 8", f"Opacity\n{grade.opacity:.1f} of 8"]
    assert page.locator(".scale").all_inner_texts()[2:] == extents
    assert grade.notes[-1] in page.locator(".notes").inner_text()
    page.get_by_role("button", name="Show what speaks for it").click()
    picture = page.get_by_alt_text("The X-ray coloured by what speaks for each level")
    expect(picture).to_have_js_property("naturalWidth", 64)


def test_a_rejected_picture_has_no_level(write_model, serve_model, open_page, draw_xray):
    """A gradient is no chest to the quality gate."""
    scan = draw_xray(size=(600, 600))
    gated = write_model("onnx", graph=FULL["graph"], card=FULL["card"] | {"gate": FRONTAL_CHEST})
    expected = Grader.open(gated, "onnx", 1).grade(scan)
    assert expected.outcome == "rejected"
    with serve_model(gated) as served:
        answer = served.ask("POST", "/api/evidence", scan.read_bytes())
        assert (answer.status, answer.json["error"]["kind"]) == (422, "rejected")
        page = open_page(served.address)
        choose(page, [scan])
        assert page.locator("#rows .badge").inner_text() == "rejected"
        assert "no level" in page.locator(".verdict").inner_text()
        assert page.locator(".notes li").all_inner_texts() == list(expected.notes)
        page.get_by_role("button", name="Show what speaks for it").click()
        expect(page.locator("#detail .message")).to_contain_text("the model has not seen it")


@pytest.mark.parametrize(
    ("scheme", "options"),
    [("light", {}), ("dark", {}), ("dark", PHONE), ("light", SMALLEST)],
    ids=["desktop", "desktop-dark", "phone", "smallest"],
)
def test_accessible_and_no_wider_than_the_screen(full_served, open_page, scans, scheme, options):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(full_served.address, color_scheme=scheme, **options)
    assert violations(axe, page) == []
    choose(page, scans)
    assert violations(axe, page) == []
    page.locator("#rows button").first.click()
    page.get_by_text("How it was computed").click()
    page.get_by_role("button", name="Show what the network saw").click()
    expect(page.locator("figure img")).to_have_js_property("naturalWidth", 512)
    page.evaluate("document.getElementById('token-form').hidden = false")
    assert violations(axe, page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Names break between words, on the smallest screen too.
    assert page.locator("#rows button").first.bounding_box()["width"] >= 120


def violations(axe, page: Page) -> list[str]:
    found = axe.run(page).response["violations"]
    return [
        f"{item['id']}: {node['target']} {node['failureSummary']}" for item in found for node in item["nodes"]
    ]
