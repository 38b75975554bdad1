"""Tiny models to measure, and modules beside the tests, which are imported by their names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "edge")]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model in each format, whose graphs are built node by node."""
    pytest.importorskip("onnx")
    pytest.importorskip("flatbuffers")
    from tiny_models import TinyCard, TinyGraph, tiny_onnx, tiny_tflite

    from cxrs_edge.model_file import with_card

    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny.onnx").write_bytes(with_card(tiny_onnx(TinyGraph()), TinyCard().card(), "onnx"))
    (folder / "tiny.tflite").write_bytes(with_card(tiny_tflite(TinyGraph()), TinyCard().card(), "tflite"))
    return folder
