"""Booklets made through the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_models import FULL

from cxrs_edge.cli import main

Review = Callable[..., Result]


@pytest.fixture
def review(write_model) -> Iterator[Review]:
    """`review(FOLDER, "-o", HTML)` with a tiny model that has every output."""
    model = write_model("onnx", **FULL)

    def run(*arguments: object) -> Result:
        told = ["review", *arguments, "--model", model, "--engine", "onnx"]
        return CliRunner().invoke(main, [str(argument) for argument in told])

    return run


@pytest.fixture
def xrays(draw_xray) -> Path:
    """A folder with two X-rays below it, one of them under a hostile name."""
    draw_xray("ward/one patient/b.png")
    return draw_xray("ward/<img src=x onerror=alert(1)>.png", seed=1).parent


def booklet_id(page: str) -> str:
    found = re.search(r'data-booklet="(\w+)"', page)
    assert found is not None
    return found[1]
