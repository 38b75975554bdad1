"""A run's history as a picture."""

from __future__ import annotations

import math
from pathlib import Path

from cxrs_edge.extras import import_extra
from cxrs_export.run_folder import EpochResult


def plot_history(history: list[EpochResult], path: Path) -> None:
    """Draw loss, and accuracy with validation AUC, over the epochs; writes a PNG."""
    import_extra("matplotlib", "bench")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [result.epoch for result in history]
    curves = [
        (left, "training", [r.loss for r in history]),
        (left, "held-out fold", [r.validation_loss for r in history]),
        (right, "training accuracy", [r.accuracy for r in history]),
        (right, "held-out accuracy", [r.validation_accuracy for r in history]),
        (right, "held-out AUC", [r.validation_auc for r in history]),
    ]
    for axes, label, values in curves:
        if not all(math.isnan(value) for value in values):
            axes.plot(epochs, values, marker=".", label=label)
    left.set(xlabel="epoch", ylabel="cross-entropy (nats)", ylim=(0, None))
    right.set(xlabel="epoch", ylim=(0, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(path, dpi=110)
