"""`cxrs-edge phantom`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_edge.cli import main

ROOT = Path(__file__).parents[2]
README, EXAMPLE = ROOT / "README.md", ROOT / "examples" / "phantom.png"


def phantom(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["phantom", *map(str, arguments)])


def test_it_draws_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "drawn.png"
    result = phantom("-o", path, "--zones", "3,0,0,0,0,1", "--seed", "7", "--size", "96")
    assert (result.exit_code, result.stdout) == (0, f"{path}: drawn with 2 zones of opacity, level 1\n")
    expected = draw_phantom(Phantom(zones=(3, 0, 0, 0, 0, 1), seed=7, width=96, height=96))
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(image), expected)


def test_the_demos_phantom_is_what_the_readme_draws(tmp_path: Path) -> None:
    line = next(line for line in README.read_text().splitlines() if line.startswith("    cxrs-edge phantom"))
    command = line.split("#")[0].split()[2:]
    command[command.index("-o") + 1] = str(tmp_path / "drawn.png")
    assert phantom(*command).exit_code == 0
    shipped, drawn = (np.asarray(Image.open(path)).astype(int) for path in (EXAMPLE, tmp_path / "drawn.png"))
    assert shipped.shape == drawn.shape
    # Another machine's arithmetic may round a pixel the other way.
    assert np.abs(shipped - drawn).max() <= 1


@pytest.mark.parametrize("zones", ["1,2", "0,0,0,0,0,4", "a,b,c,d,e,f", ""])
def test_zones_that_are_none_are_wrong_usage(tmp_path: Path, zones: str) -> None:
    result = phantom("-o", tmp_path / "drawn.png", "--zones", zones)
    assert result.exit_code == 2
    assert "Invalid value for --zones" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "none" / "drawn.png"
    result = phantom("-o", path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {path}: can't be written: No such file or directory; name a file that can\n"
    )
