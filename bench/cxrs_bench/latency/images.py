"""What is inferred: a drawn chest phantom, since times don't depend on whose chest it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_edge.image import GrayImage
from cxrs_edge.prepare import InputSpec, prepare

SIDE = 2048
"""Pixels a side, about as many as a computed radiography plate has."""
IMAGE = f"drawn phantom, PNG, {SIDE} x {SIDE}, 8 bit"


def write_pixels(spec: InputSpec, folder: Path) -> Path:
    """The prepared phantom as a ``.npy`` file, uint8, 1 x H x W x C."""
    drawn = draw_phantom(_phantom())
    image = GrayImage(pixels=drawn, name="phantom", format="drawn", size=(SIDE, SIDE))
    path = folder / f"{spec.size}-{spec.channels}-{spec.crop_top}-{spec.resize}.npy"
    np.save(path, prepare(image, spec))
    return path


def write_image(folder: Path) -> Path:
    """The phantom as the file that `IMAGE` says."""
    path = folder / "phantom.png"
    Image.fromarray(draw_phantom(_phantom())).save(path)
    return path


def _phantom() -> Phantom:
    return Phantom(zones=(0, 2, 3, 0, 1, 2), seed=3, width=SIDE, height=SIDE)
