"""`cxrs-edge complexity`, and the extras that commands which need TensorFlow name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxrs_edge.cli import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "complexity.md"


@pytest.mark.slow
def test_the_document_has_what_the_command_prints() -> None:
    result = CliRunner().invoke(main, ["complexity"])
    assert result.exit_code == 0
    table = result.stdout.splitlines()
    assert len(table) == 5
    lines = DOCUMENT.read_text().splitlines()
    start = lines.index(table[0])
    assert lines[start : start + 5] == table


def test_without_keras_the_export_extra_is_named(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    model = tmp_path / "model.keras"
    run = str(tmp_path / "run")
    for command in (
        ["complexity"],
        ["train", str(tiny_set), "-o", run],
        ["evaluate", str(model), str(tiny_set)],
        ["export", str(model), "-o", run],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert result.stderr == "Error: keras: not installed; run: pip install 'cxrs-edge[export]'\n"
    assert list(tmp_path.iterdir()) == []
