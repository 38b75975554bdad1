from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest
from PIL import Image

from cxrs_export.learning_curves import plot_history
from cxrs_export.run_folder import EpochResult

WITHOUT = [EpochResult(1, 1e-4, 0.7, 0.5), EpochResult(2, 1e-4, 0.4, 0.75)]
WITH = [EpochResult(1, 1e-4, 0.7, 0.5, 0.9, 0.6, math.nan), EpochResult(2, 1e-4, 0.4, 0.75, 0.8, 0.65, 0.71)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that were saved."""
    figures: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig

    def record(self: matplotlib.figure.Figure, *args: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", record)
    return figures


def curves(figure: matplotlib.figure.Figure) -> list[dict[str, list[float]]]:
    return [{line.get_label(): list(line.get_ydata()) for line in axes.lines} for axes in figure.axes]


def test_every_figure_of_a_run_with_a_held_out_fold(
    tmp_path: Path, drawn: list[matplotlib.figure.Figure]
) -> None:
    plot_history(WITH, tmp_path / "curves.png")
    left, right = curves(drawn[0])
    assert left == {"training": [0.7, 0.4], "held-out fold": [0.9, 0.8]}
    assert right["training accuracy"] == [0.5, 0.75]
    assert right["held-out accuracy"] == [0.6, 0.65]
    assert right["held-out AUC"][1] == 0.71
    assert math.isnan(right["held-out AUC"][0])
    assert [list(line.get_xdata()) for line in drawn[0].axes[0].lines] == [[1, 2], [1, 2]]
    assert [axes.get_xlabel() for axes in drawn[0].axes] == ["epoch", "epoch"]
    with Image.open(tmp_path / "curves.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (990, 385))


def test_what_was_not_measured_is_not_drawn(tmp_path: Path, drawn: list[matplotlib.figure.Figure]) -> None:
    plot_history(WITHOUT, tmp_path / "curves.png")
    assert curves(drawn[0]) == [{"training": [0.7, 0.4]}, {"training accuracy": [0.5, 0.75]}]


def test_one_epoch_is_a_point_to_be_seen(tmp_path: Path, drawn: list[matplotlib.figure.Figure]) -> None:
    plot_history(WITHOUT[:1], tmp_path / "curves.png")
    assert all(line.get_marker() not in ("None", "") for axes in drawn[0].axes for line in axes.lines)
