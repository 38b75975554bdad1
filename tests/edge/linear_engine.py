"""A linear network whose answers can be computed by hand, as an engine that counts how often it is asked."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from tiny_models import ALL_OUTPUTS, TinyCard

from cxrs_edge.grader import Examination, Grader

CELL = 32


@dataclass
class LinearEngine:
    """Each cell adds weight x (mean gray / 255 - threshold) to the margin of level 2 over level 1."""

    weights: np.ndarray[Any, Any]
    threshold: float = 0.5
    asked: list[np.ndarray[Any, Any]] = field(default_factory=list)
    name: str = "linear"
    version: str = "1"
    threads: int = 1

    def infer(self, pixels: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        self.asked.append(pixels)
        n = len(self.weights)
        means = pixels[0, :, :, 0].reshape(n, CELL, n, CELL).mean(axis=(1, 3)) / 255
        evidence = self.weights * (means - self.threshold)
        level2 = 1 / (1 + np.exp(-evidence.sum()))
        return {
            "probabilities": np.array([[1 - level2, level2]], np.float32),
            "zones": np.full((1, 6), 0.75, np.float32),
            "extents": np.array([[4.0, 2.0]], np.float32),
            "evidence": evidence[np.newaxis].astype(np.float32),
        }


def linear_grader(weights: Any, **card: Any) -> tuple[Grader, LinearEngine]:
    """A grader of whole images of n x n cells; no gate."""
    engine = LinearEngine(np.asarray(weights, float))
    size = CELL * len(engine.weights)
    return Grader(TinyCard(size=size, **{"outputs": ALL_OUTPUTS, **card}).card(), engine), engine


def examine_cells(grader: Grader, gray: Any) -> Examination:
    """Examine an image whose cells have these gray values."""
    plane = np.kron(np.asarray(gray), np.ones((CELL, CELL))).astype(np.uint8)
    png = io.BytesIO()
    Image.fromarray(plane).save(png, "PNG")
    return grader.examine(png.getvalue())
