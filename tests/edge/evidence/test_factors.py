"""Critical factors of a linear network, by hand; and of the bundled one, by asking it again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from linear_engine import examine_cells, linear_grader

from cxrs_edge.card import DecisionRule
from cxrs_edge.errors import ModelError
from cxrs_edge.evidence.factors import explain, explain_examination, union
from cxrs_edge.evidence.fills import FILLS, remove
from cxrs_edge.grader import Grader


def logistic(margin):
    return 1 / (1 + math.exp(-margin))


def explain_cells(grader, gray):
    return explain_examination(grader, examine_cells(grader, gray))


def test_a_region_that_carries_the_decision_is_critical(bright_spots):
    """Dark cells add 0.4 - 0.5 = -0.1 each, bright ones 0.5."""
    weights = np.full((8, 8), 1.0)
    weights[0] = weights[7] = weights[:, 0] = weights[:, 7] = 0
    weights[3:5] = 0  # 24 cells count, 6 of them bright: 3 - 1.8 = 1.2
    grader, engine = linear_grader(weights)
    explained = explain_cells(grader, bright_spots)
    assert explained.examination.grade.level == 2
    assert explained.probability == pytest.approx(logistic(1.2), abs=1e-3)
    large, small = explained.candidates
    assert large.region.evidence == pytest.approx(4 * 0.5, abs=1e-3)
    assert np.argwhere(large.region.cells).tolist() == [[5, 4], [5, 5], [6, 4], [6, 5]]
    assert small.region.evidence == pytest.approx(2 * 0.5, abs=1e-3)
    by_fill = {removal.fill: removal for removal in large.removals}
    # Four cells of 0.5 become -0.1: 1.2 - 2.4.
    assert by_fill["ring mean"].probability == pytest.approx(logistic(-1.2), abs=1e-3)
    assert (by_fill["ring mean"].level, by_fill["ring mean"].changed) == (1, True)
    # 1.2 - 1.2 = 0: as likely as not, still level 2, and more than half of 0.77.
    assert small.removals[1].probability == pytest.approx(0.5, abs=5e-3)
    assert [removal.fill for removal in explained.together] == ["blur", "ring mean"]
    assert explained.together[1].probability == pytest.approx(logistic(-2.4), abs=1e-3)
    assert len(engine.asked) == 1 + 2 + 2 + 2


def test_one_fill_alone_makes_no_critical_factor(bright_spots):
    """The blur keeps most of a bright region's brightness."""
    weights = np.full((8, 8), 1.0)
    weights[3:5] = 0
    weights[0] = weights[7] = weights[:, 0] = weights[:, 7] = 0
    explained = explain_cells(linear_grader(weights)[0], bright_spots)
    blur, ring = explained.candidates[0].removals
    assert (blur.changed, ring.changed) == (False, True)
    assert not explained.candidates[0].is_critical
    assert explained.critical_factors == ()


def test_both_fills_make_one():
    """One bright cell between neighbours that don't count, and it must be very bright: blurred, it loses enough."""
    gray = np.zeros((8, 8))
    gray[3, 3] = 255
    weights = np.zeros((8, 8))
    weights[3, 3] = 8
    grader, engine = linear_grader(weights)
    engine.threshold = 0.75
    explained = explain_cells(grader, gray)
    (factor,) = explained.critical_factors
    blur, ring = factor.removals
    assert (blur.level, ring.level) == (1, 1)
    assert explained.probability == pytest.approx(logistic(2), abs=1e-3)
    assert ring.probability == pytest.approx(logistic(-6), abs=1e-3)
    assert explained.together == factor.removals
    assert len(engine.asked) == 3


def test_for_level_1_what_speaks_against_level_2_counts():
    gray = np.full((8, 8), 255)
    gray[2:4, 2:4] = 0
    weights = np.zeros((8, 8))
    weights[2:4, 2:4] = 1
    weights[6, 6] = 1
    explained = explain_cells(linear_grader(weights)[0], gray)
    assert explained.examination.grade.level == 1
    assert explained.probability == pytest.approx(logistic(1.5), abs=1e-3)
    (candidate,) = explained.candidates
    assert np.argwhere(candidate.region.cells).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert candidate.region.evidence == pytest.approx(2, abs=1e-3)
    assert candidate.removals[1].probability == pytest.approx(logistic(-2.5), abs=1e-3)
    assert candidate.removals[1].level == 2


def test_the_probability_is_calibrated():
    gray = np.zeros((8, 8))
    gray[3, 3] = 255
    weights = np.zeros((8, 8))
    weights[3, 3] = 8
    explained = explain_cells(linear_grader(weights, temperature=4.0)[0], gray)
    assert explained.probability == explained.examination.grade.probabilities["level2"]
    assert explained.probability == pytest.approx(logistic(1), abs=1e-3)
    assert explained.candidates[0].removals[1].probability == pytest.approx(logistic(-1), abs=1e-3)


def test_no_more_than_nine_inferences():
    gray = np.zeros((8, 8))
    gray[1, 1] = gray[1, 4] = gray[4, 1] = gray[4, 4] = 255
    grader, engine = linear_grader(np.ones((8, 8)) * (gray > 0))
    explained = explain_cells(grader, gray)
    assert len(explained.candidates) == 3
    assert len(engine.asked) == 9
    # The last two hide all three at once.
    mask = union([candidate.region for candidate in explained.candidates])
    assert mask.sum() == 3
    assert (engine.asked[-1] == remove(explained.examination.pixels, mask, FILLS["ring mean"])).all()


def test_level_0_has_none_and_a_change_to_it_counts():
    gray = np.zeros((8, 8))
    gray[3, 3] = 255
    grader, engine = linear_grader(
        np.ones((8, 8)), decision=DecisionRule(level0=0.9, uncertain=None, fitted="x")
    )
    explained = explain_cells(grader, gray)
    assert explained.examination.grade.level == 0
    assert explained.reason.startswith("level 0: ")
    assert (explained.candidates, explained.together, len(engine.asked)) == ((), (), 1)


def test_a_model_without_the_output_is_refused_before_the_image_is_read():
    grader, engine = linear_grader(np.ones((2, 2)), outputs={"probabilities": "of the levels"})
    with pytest.raises(ModelError, match="model tiny: has no output evidence"):
        explain(grader, "missing.png")
    assert engine.asked == []


def test_a_rejected_image_has_the_reason(draw_xray):
    explained = explain(Grader.bundled(threads=1), draw_xray())
    assert explained.examination.grade.outcome == "rejected"
    assert explained.reason.startswith("rejected; ")
    assert explained.candidates == ()


def test_the_bundled_model_says_the_same_when_it_is_asked_again(draw_chest):
    grader = Grader.bundled(threads=1)
    path = draw_chest(size=(600, 640))
    explained = explain(grader, path)
    graded = explained.examination.grade
    assert explained.probability == graded.probabilities[f"level{graded.level}"]
    assert explained.candidates
    for candidate in explained.candidates:
        for removal in candidate.removals:
            pixels = remove(explained.examination.pixels, candidate.region.cells, FILLS[removal.fill])
            raw = grader.engine.infer(pixels)["probabilities"][0]
            margin = math.log(raw[graded.level - 1] / raw[2 - graded.level])
            expected = logistic(margin / grader.card.calibration.temperature)
            assert removal.probability == pytest.approx(expected, abs=1e-6)
