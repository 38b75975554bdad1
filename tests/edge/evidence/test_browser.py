"""The page of an explanation in a real browser: on a desktop, on a phone, in the dark."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_edge.evidence.factors import explain
from cxrs_edge.evidence.page import render_page
from cxrs_edge.grader import Grader

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

SIZES = {"desktop": (1280, 900, "light"), "phone": (360, 740, "light"), "dark": (360, 740, "dark")}
PATIENCE = 300_000
"""Milliseconds: a machine may be busy."""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium; sh tests/packaging/install_debian.sh installs it")
    with playwright.sync_playwright() as driver:
        # As root, as in a container, there is no sandbox.
        yield driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    chest = folder / "<b onclick=alert(1)>&.png"
    Image.fromarray(draw_phantom(Phantom((0, 2, 3, 0, 1, 2), 0, 700, 760))).save(chest)
    (folder / "page.html").write_text(render_page(explain(Grader.bundled(threads=1), chest)))
    return folder / "page.html"


@pytest.mark.parametrize("size", SIZES)
def test_it_shows_all_offline_and_hides_what_is_unticked(browser, page_file, size):
    width, height, scheme = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=False
    )
    page.set_default_timeout(PATIENCE)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(page_file.as_uri())
    assert [url for url in asked if not url.startswith("data:image/")] == [page_file.as_uri()]
    assert complaints == []
    assert page.locator("h1").inner_text() == "<b onclick=alert(1)>&.png"
    assert page.locator("b").count() == 0
    for box in page.locator("section, svg, h1, table").all():
        placed = box.bounding_box()
        assert placed["x"] >= 0
        assert placed["x"] + placed["width"] <= width
    assert page.locator("path.region").count() == page.locator(".factors li").count() > 0
    with_map = look(page)
    page.get_by_role("checkbox", name="Speaks for level").uncheck()
    without_map = look(page)
    assert spread(with_map) > 5 > spread(without_map)  # the map alone is coloured
    page.get_by_role("checkbox", name="Regions").uncheck()
    assert not page.locator("path.region").first.is_visible()
    background = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))[-1, 0]
    assert (background < 60) == (scheme == "dark")
    page.close()


def look(page) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.locator("svg").screenshot())).convert("RGB")).astype(int)


def spread(pixels: np.ndarray) -> float:
    """Mean distance between the colours of a pixel: 0 for gray."""
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean())
