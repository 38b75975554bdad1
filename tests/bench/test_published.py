from __future__ import annotations

import math

import numpy as np
import pytest

from cxrs_bench.evaluation import evaluate
from cxrs_bench.predictions import Predictions
from cxrs_bench.published import CONFUSION, published_figures, render_published


def graded(counts: tuple[tuple[int, int], tuple[int, int]]) -> Predictions:
    """As many images as the confusion matrix says, each of a patient of its own."""
    flat = [counts[0][0], counts[0][1], counts[1][0], counts[1][1]]
    levels, level2 = np.repeat([1, 1, 2, 2], flat), np.repeat([0.2, 0.8, 0.2, 0.8], flat)
    names = tuple(str(number) for number in range(len(levels)))
    return Predictions(names, names, levels, level2)


def test_figures_follow_from_the_papers_counts() -> None:
    # The paper prints 92.3 % and 92.85 %, and 92.7 % in the models' list of its repository.
    found = published_figures()
    assert found.sensitivity_level1 == pytest.approx(48 / 52)
    assert found.sensitivity_level2 == pytest.approx(91 / 98)
    assert found.ppv_level1 == pytest.approx(48 / 55)
    assert found.ppv_level2 == pytest.approx(91 / 95)
    assert found.accuracy == pytest.approx(139 / 150)
    assert math.isnan(found.auc)


def test_each_figure_stands_beside_the_published_one() -> None:
    text = render_published(evaluate(graded(CONFUSION), resamples=200))
    lines = {line[2:24].strip(): line.split() for line in text.splitlines() if line.startswith("  ")}
    assert list(lines) == [
        "sensitivity, level 1",
        "sensitivity, level 2",
        "PPV, level 1",
        "PPV, level 2",
        "accuracy",
        "balanced accuracy",
    ]
    assert lines["PPV, level 1"][-2:] == ["0.873", "yes"]
    assert "33/52 = 63.46 %" in text
    assert "NOT THE PAPER" not in text


def test_another_set_is_told_apart() -> None:
    text = render_published(evaluate(graded(((47, 4), (7, 91))), resamples=100))
    assert "NOT THE PAPER'S TEST SET: 51 images of level 1 and 98 of level 2 where it has 52 and 98;" in text


def test_an_interval_that_misses_the_published_figure_says_so() -> None:
    # 2 of 52 right: far below 92.3 %; level 2 as published.
    text = render_published(evaluate(graded(((2, 50), (7, 91))), resamples=200))
    verdict = {line[2:24].strip(): line.split()[-1] for line in text.splitlines() if line.startswith("  ")}
    assert verdict["sensitivity, level 1"] == "no"
    assert verdict["sensitivity, level 2"] == "yes"


def test_a_figure_that_is_undefined_lies_nowhere() -> None:
    # Nothing is graded level 1, so its positive predictive value has no denominator.
    text = render_published(evaluate(graded(((0, 52), (0, 98))), resamples=100))
    (line,) = [line for line in text.splitlines() if line.startswith("  PPV, level 1")]
    assert line.split()[-1] == "n/a"
