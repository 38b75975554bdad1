"""What is graded: drawn phantoms in the formats that clinics have, and a few real X-rays where there are any."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from cxrs_bench.phantom import draw_phantom, varied_phantoms

ROOT = Path(__file__).parents[2]
REAL_IMAGES = Path(os.environ.get("CXRS_SEVERITY", ROOT.parent / "shared" / "data" / "severity")) / "images"


def draw_phantoms(folder: Path) -> None:
    """Four phantoms: 8 bit PNG, 16 bit PNG, JPEG, TIFF."""
    for number, (phantom, name) in enumerate(
        zip(varied_phantoms(4, seed=64), ("8bit.png", "16bit.png", "photo.jpg", "scan.tiff"), strict=True)
    ):
        pixels = draw_phantom(phantom)
        # 12 of the 16 bits, as detectors have, so that the low byte matters.
        wide = name.startswith("16bit")
        image = Image.fromarray((pixels.astype(np.uint16) * 257) >> 4 if wide else pixels)
        image.save(folder / f"phantom{number}-{name}")


def copy_real_images(folder: Path, count: int) -> None:
    """`count` real X-rays spread evenly over the sorted set, or none where the set is absent."""
    names = sorted(REAL_IMAGES.iterdir()) if REAL_IMAGES.is_dir() else []
    for index in range(min(count, len(names))):
        shutil.copy(names[index * len(names) // count], folder)
