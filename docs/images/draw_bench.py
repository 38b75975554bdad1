"""Draw docs/images/bench.png: the head of the benchmark report docs/bench/bench.html.

python docs/images/draw_bench.py
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.goto((ROOT / "docs" / "bench" / "bench.html").as_uri())
        page.screenshot(path=ROOT / "docs" / "images" / "bench.png")
        browser.close()


if __name__ == "__main__":
    main()
