"""Reliability diagram and risk-coverage curve of graded images, as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxrs_bench.calibration import level2_probability, reliability, risk_coverage
from cxrs_bench.out_of_fold import Judged, Outcomes
from cxrs_edge.extras import import_extra

BLUE, GRAY, RED = "#2b6cb0", "#9aa5b1", "#c05621"


def plot_certainty(of: Judged, found: Outcomes, path: Path) -> None:
    """Write the picture; images of level 1 or 2 count, `found` is what would be printed of all."""
    import_extra("matplotlib", "bench")
    from matplotlib.figure import Figure

    graded = of.levels > 0
    levels, margins = of.levels[graded], of.margins[graded]
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=GRAY, linewidth=1, label="perfect")
    for label, level2, color in (
        ("network as trained", level2_probability(margins, 1.0), RED),
        ("with the temperature", found.level2[graded], BLUE),
    ):
        bins = reliability(level2, levels)
        left.plot([b.predicted for b in bins], [b.observed for b in bins], "o-", color=color, label=label)
    left.set(xlabel="probability of level 2", ylabel="share of images of level 2", title="Reliability")
    left.legend(frameon=False)
    coverage, risk = risk_coverage(found.level2[graded], levels)
    right.plot(100 * coverage, 100 * risk, color=BLUE)
    share = 100 * found.certain[graded].mean()
    right.axvline(share, color=GRAY, linewidth=1)
    right.annotate("graded without `uncertain`", (share, 2), rotation=90, ha="right", va="bottom", color=GRAY)
    right.set(
        xlabel="images graded, %, the most certain first",
        ylabel="of those wrong, %",
        title="Risk and coverage",
    )
    right.set_ylim(0, max(1.0, 110 * float(np.max(risk))))
    figure.savefig(path, dpi=110)
