"""What is inferred: a drawn chest phantom, since times don't depend on whose chest it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_edge.image import GrayImage
from cxrs_edge.prepare import InputSpec, prepare

SIDE = 2048
"""Pixels a side of the file, about as many as a computed radiography plate has."""
DRAWN = 1024
"""Pixels a side as drawn; drawing more takes seconds and shows no more."""
IMAGE = f"drawn phantom, PNG, {SIDE} x {SIDE}, 8 bit"


def write_pixels(spec: InputSpec, folder: Path) -> Path:
    """The prepared phantom as a ``.npy`` file, uint8, 1 x H x W x C."""
    image = GrayImage(pixels=_drawn(), name="phantom", format="drawn", size=(DRAWN, DRAWN))
    path = folder / f"{spec.size}-{spec.channels}-{spec.crop_top}-{spec.resize}.npy"
    np.save(path, prepare(image, spec))
    return path


def write_image(folder: Path) -> Path:
    """The phantom as the file that `IMAGE` says."""
    path = folder / "phantom.png"
    Image.fromarray(_drawn()).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    return path


@cache
def _drawn() -> NDArray[np.uint8]:
    return draw_phantom(Phantom(zones=(0, 2, 3, 0, 1, 2), seed=3, width=DRAWN, height=DRAWN))
