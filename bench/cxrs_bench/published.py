"""What the paper states of COVID-Net CXR-S, to be printed beside what was measured.

Aboutalebi et al., Diagnostics 2022, 12(1), 25, Table 4: 150 RICORD-1C test images, 52 of level 1 and 98 of level 2.
Sensitivity, positive predictive value and accuracy follow from its counts; no AUC and no interval is published.
"""

from __future__ import annotations

import math
from itertools import chain

import numpy as np

from cxrs_bench.evaluation import Estimate, Evaluation
from cxrs_bench.metrics import Figures, figures

CONFUSION = ((48, 4), (7, 91))
"""Table 4: rows are the true level (1, 2), columns the predicted level (1, 2)."""
LABELS = {
    "sensitivity_level1": "sensitivity, level 1",
    "sensitivity_level2": "sensitivity, level 2",
    "ppv_level1": "PPV, level 1",
    "ppv_level2": "PPV, level 2",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}
PARAMETERS = {"cxrs": 8.8e6, "chexnet": 8.1e6}
FLOPS = {"cxrs": 11.1e9, "resnet50": 35.5e9, "chexnet": 26.0e9}
"""Table 2 and the abstract, at 480 x 480 pixels; the paper counts two FLOPs per MAC."""
FEWER_FLOPS = {"chexnet": 0.57, "resnet50": 0.69}
"""The abstract's reductions: 1 - 11.1 / 26.0 and 1 - 11.1 / 35.5."""
NAMES = {"cxrs": "COVID-Net CXR-S", "resnet50": "ResNet-50", "chexnet": "CheXNet"}
COMPLEXITY_NOTES = (
    "The 8.1 M parameters of CheXNet are those of DenseNet-121 with its 1000-class top, which the network there "
    "doesn't have.",
    "The inner widths of COVID-Net CXR-S are not published; those counted here were fitted to its 8.8 M parameters "
    "and 11.1 GFLOPs.",
)
NOTES = (
    "Published: Table 4's counts. Section 3.1 of the paper states the two sensitivities the other way round, and",
    "Table 3 does so in the rows of CheXNet and ResNet-50: of 52 and 98 images only 33/52 = 63.46 % and",
    "92/98 = 93.88 % can be what stands there. The published figures have no interval: 150 images of 68 patients.",
)


def published_figures() -> Figures[float]:
    """The figures that follow from the paper's Table 4, every image equal; its AUC is not known (NaN)."""
    counts = list(chain(*CONFUSION))
    levels, level2 = np.repeat([1, 1, 2, 2], counts), np.repeat([0.0, 1.0, 0.0, 1.0], counts)
    values = {name: float(value) for name, value in figures(levels, level2)._asdict().items()}
    return Figures(**{**values, "auc": float("nan")})


def render_published(evaluation: Evaluation) -> str:
    """A table: each figure as measured, with its interval, beside the published one, and what is to be known."""
    measured, published = evaluation.by_image._asdict(), published_figures()._asdict()
    rows = [f"{'Every image equal':<24}{'measured':>24}{'published':>12}  published within the interval"]
    for name, label in LABELS.items():
        estimate, value = measured[name], published[name]
        within = _within(estimate, value)
        rows.append(f"  {label:<22}{estimate!s:>24}{value:>12.3f}  {within}")
    return "\n".join((*rows, "", *_other_set(evaluation), *NOTES)) + "\n"


def _within(estimate: Estimate, value: float) -> str:
    if math.isnan(estimate.low):
        return "n/a"
    return "yes" if estimate.low <= value <= estimate.high else "no"


def _other_set(evaluation: Evaluation) -> list[str]:
    """What must be said where the images can't be the paper's."""
    ours, theirs = (evaluation.images.level1, evaluation.images.level2), tuple(map(sum, CONFUSION))
    if ours == theirs:
        return []
    counts = f"{ours[0]} images of level 1 and {ours[1]} of level 2 where it has {theirs[0]} and {theirs[1]}"
    return [f"NOT THE PAPER'S TEST SET: {counts};", "the published figures say nothing about these images."]
