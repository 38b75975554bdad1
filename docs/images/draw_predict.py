"""Draw docs/images/predict.png: the phantom beside what `cxrs-edge predict` really printed for it.

python docs/images/draw_predict.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

ROOT = Path(__file__).parents[2]
COMMAND = "cxrs-edge predict examples/phantom.png --engine tflite"


def main() -> None:
    arguments = COMMAND.split()[1:]
    done = subprocess.run(
        [sys.executable, "-m", "cxrs_edge", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    figure = Figure(figsize=(11, 4.2), facecolor="#10141a")
    left = figure.add_axes((0.01, 0.03, 0.36, 0.94))
    left.imshow(np.asarray(Image.open(ROOT / "examples" / "phantom.png")), cmap="gray", vmin=0, vmax=255)
    left.axis("off")
    text = f"$ {COMMAND}\n{done.stdout.rstrip()}"
    figure.text(0.39, 0.9, text, family="monospace", color="#e6edf3", fontsize=8.4, va="top", linespacing=1.6)
    figure.savefig(ROOT / "docs" / "images" / "predict.png", dpi=110, facecolor=figure.get_facecolor())


if __name__ == "__main__":
    main()
