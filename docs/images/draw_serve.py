"""Draw docs/images/serve-*.png: the page of `cxrs-edge serve` with drawn phantoms, as Debian's Chromium shows it.

python docs/images/draw_serve.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
SHOTS = {
    "serve-desktop": {"viewport": {"width": 1200, "height": 900}},
    "serve-phone": {"viewport": {"width": 390, "height": 1040}, "device_scale_factor": 1.5, "has_touch": True,
                    "is_mobile": True, "color_scheme": "dark"},
}  # fmt: skip
"""Name -> the browser's options."""


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server that is stopped at the end."""
    command = [sys.executable, "-m", "cxrs_edge", "serve", "--port", "0", "--engine", "tflite"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        finally:
            process.terminate()


def files(folder: Path) -> list[Path]:
    """Drawn phantoms and a file that is none, under names that tell nothing."""
    phantoms = sorted((ROOT / "cxrs_edge" / "models" / "cxrs" / "golden").glob("phantom-?.png"))[:3]
    copies = [folder / f"phantom {number}.png" for number in range(1, 4)]
    for phantom, copy in zip(phantoms, copies, strict=True):
        copy.write_bytes(phantom.read_bytes())
    report = folder / "report.pdf"
    report.write_bytes(b"%PDF-1.7\n")
    shown = folder / "phantom.png"
    shown.write_bytes((ROOT / "examples" / "phantom.png").read_bytes())
    return [*copies, report, shown]


expect.set_options(timeout=300_000)


def shoot(browser: Browser, address: str, name: str, paths: list[Path]) -> None:
    page = browser.new_context(**SHOTS[name]).new_page()
    page.goto(address)
    page.set_input_files("#files", paths)
    expect(page.locator("#rows tr")).to_have_count(len(paths))
    if "phone" not in name:
        page.get_by_role("button", name="Show what the network saw").click()
        expect(page.locator("figure img")).to_have_js_property("naturalWidth", 480)
    page.evaluate("scrollTo(0, 0)")
    target = ROOT / "docs" / "images" / f"{name}.png"
    page.screenshot(path=target)
    # A palette: a fifth of the bytes, and no difference to be seen in a page of few colours and grays.
    Image.open(target).convert("RGB").quantize(64).save(target, optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, serving() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in SHOTS:
            shoot(browser, address, name, files(Path(folder)))
        browser.close()


if __name__ == "__main__":
    main()
