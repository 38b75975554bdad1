"""`make lite` writes files that call themselves cxrs-lite, beside the bundled ones and not in their place."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cxrs_export.cli_export import export

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_lite_names_what_it_exports() -> None:
    command = ["make", "--dry-run", "lite", "LITE_MODEL=run/model.keras", "DATA=set"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if "cxrs-edge export" in line)
    with export.make_context("export", shlex.split(line)[2:]) as context:
        assert context.params["name"] == "cxrs-lite"
        assert context.params["model"] == Path("run/model.keras")
        assert context.params["calibration"] == Path("set")
        assert context.params["folder"] == Path("runs/cxrs-lite")
        assert context.params["quantize"]
