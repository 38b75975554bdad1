"""Drawn images, and the tiny models of `tiny_models`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrs_edge.model_file import Kind, with_card

# Modules beside the tests are imported by their names.
sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import EXTENT_SLOPES, SLOPE, ZONE_SLOPES, TinyCard, TinyGraph, tiny_onnx, tiny_tflite

DrawXray = Callable[..., Path]


@pytest.fixture
def draw_xray(tmp_path: Path) -> DrawXray:
    """Write a gradient with noise as an image file below `tmp_path`; the name says the format."""

    def draw(name: str = "scan.png", size: tuple[int, int] = (160, 140), seed: int = 0) -> Path:
        width, height = size
        noise = np.random.default_rng(seed).integers(0, 40, (height, width))
        gray = np.linspace(0, 200, width)[np.newaxis, :] + noise
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(gray.astype(np.uint8)).save(path)
        return path

    return draw


@pytest.fixture
def draw_chest(tmp_path: Path) -> DrawXray:
    """Write a drawn chest, which the quality gate lets pass, as an image file below `tmp_path`."""

    def draw(name: str = "chest.png", size: tuple[int, int] = (256, 288), seed: int = 0) -> Path:
        from cxrs_bench.phantom import Phantom, draw_phantom

        path = tmp_path / name
        phantom = Phantom((0, 2, 3, 0, 1, 2), seed, *size)
        Image.fromarray(draw_phantom(phantom)).save(path)
        return path

    return draw


@pytest.fixture
def expected_level2() -> Callable[..., float]:
    """Level 2's probability by the tiny model's formula."""

    def expected(pixels: np.ndarray[Any, Any], slope: float = SLOPE) -> float:
        return float(1 / (1 + np.exp(2 * slope * pixels.mean() / 255)))

    return expected


@pytest.fixture
def expected_outputs() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    """All outputs of the tiny model by its formulas, for 1 x H x W x C pixels in whole squares of 32."""

    def expected(pixels: np.ndarray[Any, Any], slope: float = SLOPE) -> dict[str, np.ndarray[Any, Any]]:
        m = pixels.mean() / 255
        level2 = 1 / (1 + np.exp(2 * slope * m))
        cells = pixels.shape[1] // 32
        rows = [np.split(row, cells, axis=2) for row in np.split(pixels, cells, axis=1)]
        return {
            "probabilities": np.array([[1 - level2, level2]]),
            "zones": 1 / (1 + np.exp(-np.array([ZONE_SLOPES]) * m)),
            "extents": np.array([EXTENT_SLOPES]) * m,
            "evidence": np.array([[[-2 * slope * x.mean() / 255 / cells**2 for x in row] for row in rows]]),
        }

    return expected


WriteModel = Callable[..., Path]


@pytest.fixture(scope="session")
def write_models() -> WriteModel:
    """Write a tiny model: `write_models("onnx", folder, graph={"size": 48}, card={"labels": ...})`."""

    def write(kind: Kind, folder: Path, graph: dict[str, Any] | None = None, card: Any = None) -> Path:
        base = (tiny_tflite if kind == "tflite" else tiny_onnx)(TinyGraph(**(graph or {})))
        path = folder / f"tiny.{kind}"
        path.write_bytes(with_card(base, TinyCard(**(card or {})).card(), kind))
        return path

    return write


@pytest.fixture
def write_model(tmp_path: Path, write_models: WriteModel) -> WriteModel:
    """The same below `tmp_path`: `write_model("onnx", graph=..., card=...)`."""
    return lambda kind, *args, **options: write_models(kind, tmp_path, *args, **options)
