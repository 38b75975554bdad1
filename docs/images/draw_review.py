"""Draw docs/images/review.png: a booklet of drawn phantoms as Debian's Chromium shows it, one case read.

python docs/images/draw_review.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from cxrs_bench.phantom import Phantom, draw_phantom

ROOT = Path(__file__).parents[2]
WIDTH = 800
CHROMIUM = "/usr/bin/chromium"
ZONES = ((0, 2, 3, 0, 1, 2), (0, 0, 1, 0, 0, 0), (1, 2, 2, 1, 3, 3), (0, 0, 0, 0, 0, 1))
"""Opacities of the phantoms."""


def make_booklet(folder: Path) -> Path:
    for seed, zones in enumerate(ZONES):
        Image.fromarray(draw_phantom(Phantom(zones, seed, 1024, 1024))).save(folder / f"{seed}.png")
    booklet = folder / "booklet.html"
    command = [sys.executable, "-m", "cxrs_edge", "review", folder, "-o", booklet, "--engine", "tflite"]
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)
    return booklet


def read_first(page: Page) -> None:
    """The first case that has regions: two zones ticked and fixed, one region judged."""
    page.get_by_label("Reader").fill("Reader 1")
    number = int(page.locator(".case:has(.factor)").first.get_attribute("data-case") or 1)
    page.locator("#contents button").nth(number - 1).click()
    case = page.locator(f"#case-{number}")
    for zone in "bc":
        case.locator(f"[value={zone}]").check()
    case.get_by_role("button", name="and show regions").click()
    case.get_by_label("partly").first.check()
    page.evaluate("document.querySelector('.how').open = false")


def main() -> None:
    target = ROOT / "docs" / "images" / "review.png"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        booklet = make_booklet(Path(folder))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=300_000)
        page = browser.new_page(viewport={"width": 1120, "height": 860})
        page.set_default_timeout(300_000)
        page.goto(booklet.as_uri())
        read_first(page)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=target, full_page=True)
        browser.close()
    shot = Image.open(target).convert("RGB")
    # A palette: a fraction of the bytes, and no difference to be seen in a page of few colours and grays.
    shot.resize((WIDTH, shot.height * WIDTH // shot.width)).quantize(64).save(target, optimize=True)


if __name__ == "__main__":
    main()
