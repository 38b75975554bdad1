"""Taking a region out of an X-ray: what is put in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cxrs_edge.evidence.regions import Cells
from cxrs_edge.prepare import Pixels

Plane = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Fill = Callable[[Plane, Mask], Plane]
"""The gray plane, H x W, and the pixels to remove, H x W -> the plane with others in their place."""

RING = 15 / 480
"""Width of the ring whose mean is taken, as a share of the side: half a cell of the bundled model's map."""
BLUR = 32 / 480
"""Standard deviation of the blur, as a share of the side: a cell of the bundled model's map; finer detail is gone."""


def remove(pixels: Pixels, cells: Cells, fill: Fill) -> Pixels:
    """The network's input (1 x H x W x C, all channels alike) without the pixels under these cells."""
    plane = pixels[0, :, :, 0]
    filled = fill(plane, to_pixels(cells, plane.shape))
    return np.repeat(filled[np.newaxis, :, :, np.newaxis], pixels.shape[3], axis=3)


def to_pixels(cells: Cells, shape: tuple[int, ...]) -> Mask:
    """The pixels, height x width of `shape`, under a mask of cells that divide the image evenly."""
    height, width = shape
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST))


def blurred(plane: Plane, mask: Mask) -> Plane:
    """Local blur: a Gaussian takes away structure and keeps brightness."""
    blur = Image.fromarray(plane).filter(ImageFilter.GaussianBlur(BLUR * len(plane)))
    return np.where(mask, np.asarray(blur), plane)


def ring_mean(plane: Plane, mask: Mask) -> Plane:
    """One gray, the mean of the pixels around the region; of the whole plane if nothing is around it."""
    size = 2 * max(round(RING * len(plane)), 1) + 1
    grown = Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MaxFilter(size))
    around = plane[np.asarray(grown).astype(bool) & ~mask]
    mean = np.mean(around if around.size else plane)
    return np.where(mask, np.uint8(round(float(mean))), plane)


FILLS: Mapping[str, Fill] = {"blur": blurred, "ring mean": ring_mean}
"""What a critical factor must pass, each on its own."""
