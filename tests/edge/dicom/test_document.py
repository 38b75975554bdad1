"""docs/dicom.md against the code: each refusal has its row, and each row its refusal."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from cxrs_edge import dicom

ROOT = Path(__file__).parents[3]
OTHERS = ("damaged DICOM file", "pydicom: not installed")
"""Rows of messages that are no `Refusal`."""


def said_by_the_code() -> Iterator[str]:
    """A pattern for the message of each `Refusal` in `cxrs_edge.dicom`."""
    for path in Path(dicom.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refusal":
                yield pattern(node.args[0])


def pattern(message: ast.expr) -> str:
    """Of a string literal, with anything for what is put in."""
    parts = message.values if isinstance(message, ast.JoinedStr) else [message]
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)


def documented() -> list[str]:
    section = (ROOT / "docs" / "dicom.md").read_text().split("## Why a file is refused")[1].split("\n## ")[0]
    rows = [line.removeprefix("| ").split(" | ")[0] for line in section.splitlines() if line.startswith("| ")]
    return rows[1:]


def test_every_refusal_is_documented() -> None:
    patterns, rows = set(said_by_the_code()), documented()
    assert len(patterns) > 30
    assert [one for one in patterns if not any(re.fullmatch(one, row) for row in rows)] == []


def test_every_documented_refusal_exists() -> None:
    patterns = set(said_by_the_code())
    rows = [row for row in documented() if not row.startswith(OTHERS)]
    assert [row for row in rows if not any(re.fullmatch(one, row) for one in patterns)] == []
