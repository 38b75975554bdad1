from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cxrs_bench.calibration import Platt
from cxrs_bench.labelled import LabelledImage
from cxrs_bench.out_of_fold import Decision, Judged, cross_fitted, fit_decision, judged, outcomes
from cxrs_bench.readings import Readings
from cxrs_bench.severity_figures import Figure, reader_levels, render_figures, severity_figures
from cxrs_bench.severity_predictions import SeverityPrediction
from cxrs_edge.card import LABELS, Calibration, Conformal, DecisionRule, ModelCard
from cxrs_edge.errors import DataError
from cxrs_edge.grade import grade
from cxrs_edge.prepare import InputSpec

CLEAR, ONE, THREE = (0,) * 6, (0, 2, 0, 0, 0, 0), (1, 1, 1, 0, 0, 0)


def image(
    number: int, level: int, senior: tuple[int, ...] | None, junior: tuple[int, ...] | None
) -> LabelledImage:
    extent = math.nan if level == 0 else 2.0 * level
    return LabelledImage(
        f"i{number}", Path("x"), f"p{number}", level, "train", fold=number % 2, basis="brixia" if senior else "",
        readings=Readings(senior, junior, extent, extent),
    )  # fmt: skip


ROWS = tuple(
    image(number, level, *read)
    for number, (level, read) in enumerate(
        [
            (0, (CLEAR, CLEAR)),
            (0, (CLEAR, ONE)),
            (1, (ONE, ONE)),
            (1, (ONE, CLEAR)),
            (2, (THREE, THREE)),
            (2, (THREE, ONE)),
            (1, (None, None)),
            (2, (None, None)),
        ]
    )
)


def predictions(margins: list[float]) -> list[SeverityPrediction]:
    zones = {0: (0.01,), 1: (0.51,), 2: (1.0,) * 3}
    return [
        SeverityPrediction(
            row.image_id,
            margin,
            (*zones[row.level], *[0.0] * 6)[:6],
            min(8.0, max(0.0, margin + 2)),
            1.0,
        )
        for row, margin in zip(ROWS, margins, strict=True)
    ]


@pytest.fixture
def perfect() -> Judged:
    return judged(ROWS, predictions([-3, -3, -1, -1, 3, 3, -1, 3]))


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def test_readers_levels() -> None:
    of = judged(ROWS, predictions([0.0] * 8))
    assert reader_levels(of, "senior").tolist() == [0, 0, 1, 1, 2, 2, -1, -1]
    assert reader_levels(of, "junior").tolist() == [0, 1, 1, 0, 2, 1, -1, -1]


def test_hand_computed_figures(perfect: Judged) -> None:
    found = by_name(severity_figures(perfect, cross_fitted(perfect), resamples=100))
    assert found["AUC, level 1 v 2, all"].images == 6
    assert found["AUC, level 1 v 2, all"].estimate.value == 1
    assert found["AUC, level 1 v 2, Brixia-labelled"].images == 4
    assert found["balanced accuracy, network v senior"].estimate.value == 1
    # Level 1: one of two right (the other is called 0); level 2: one of two.
    assert found["balanced accuracy, junior v senior"].estimate.value == 0.5
    assert found["network minus junior, paired"].estimate.value == 0.5
    # Zones of six images read by both: they differ in one, one and two zones of 36.
    assert found["the same by the junior reader"].estimate.value == pytest.approx(1 - 4 / 36)
    assert found["level-0 images called level 0"].images == 2


def test_a_figure_without_images_is_left_out(perfect: Judged) -> None:
    weak = perfect.at(np.array([6, 7]))
    names = by_name(severity_figures(weak, outcomes(weak, fit_decision(perfect)), resamples=100))
    assert "balanced accuracy, network v senior" not in names
    assert "AUC, level 1 v 2, all" in names


def test_a_constant_prediction_has_no_rank_correlation(perfect: Judged) -> None:
    found = by_name(severity_figures(perfect, cross_fitted(perfect), resamples=100))
    assert math.isnan(found["Spearman's rho, opacity extent"].estimate.value)
    assert "n/a" in render_figures([found["Spearman's rho, opacity extent"]])


def test_level0_needs_every_zone_below_the_threshold(perfect: Judged) -> None:
    decision = fit_decision(perfect)
    assert decision.level0 == pytest.approx(decision.zones.apply(np.array([0.51]))[0])
    assert outcomes(perfect, decision).levels.tolist() == [0, 0, 1, 1, 2, 2, 1, 2]


def test_graded_means_that_the_likelier_level_alone_is_possible() -> None:
    # Level 2's probability against thresholds 0.4 and 0.7: only level 1; neither; only level 2; level 1 alone on its
    # threshold though level 2 is likelier.
    level2 = np.array([0.2, 0.65, 0.7, 0.6])
    of = Judged((ROWS[2],) * 4, np.log(level2 / (1 - level2)), np.ones((4, 6)), np.zeros((4, 2)))
    rule = Decision(1.0, Platt(1, 0), 0.1, Conformal(0.1, level1=0.4 - 1e-9, level2=0.7 - 1e-9))
    assert outcomes(of, rule).certain.tolist() == [True, False, True, False]
    both = Decision(1.0, Platt(1, 0), 0.1, Conformal(0.1, level1=0.3, level2=0.3))
    assert outcomes(of, both).certain.tolist() == [True, False, False, False]


@given(
    level2=st.floats(0.01, 0.99),
    zones=st.lists(st.floats(0.01, 0.99), min_size=6, max_size=6),
    thresholds=st.tuples(*[st.floats(0, 1)] * 3),
    temperature=st.floats(0.5, 2),
)
def test_what_is_judged_is_what_the_runtime_says(
    level2: float, zones: list[float], thresholds: tuple[float, float, float], temperature: float
) -> None:
    level0, one, two = thresholds
    rule = Conformal(0.1, one, two)
    margin = math.log(level2 / (1 - level2))
    of = Judged((ROWS[2],), np.array([margin]), np.array([zones]), np.zeros((1, 2)))
    found = outcomes(of, Decision(temperature, Platt(1, 0), level0, rule))
    card = ModelCard(
        "m", "1", "n", "float32", InputSpec(), {"probabilities": "p", "zones": "z"}, LABELS, "l", "u", 1, "",
        calibration=Calibration(temperature), decision=DecisionRule(level0, rule, "by hand"),
    )  # fmt: skip
    said = grade({"probabilities": np.array([[1 - level2, level2]]), "zones": np.array([zones])}, card)
    # Where a number lies on its threshold but for the last bit, the two may round differently.
    p, near = found.level2[0], 1e-6
    on_edge = [p - 0.5, p - two, 1 - p - one, max(zones) - level0]
    assume(min(map(abs, on_edge)) > near)
    assert said.probabilities["level2"] == pytest.approx(p)
    assert (said.level, said.outcome == "graded") == (found.levels[0], found.certain[0])


def test_each_fold_is_decided_by_the_others() -> None:
    # In fold 0 margins are sure and right, in fold 1 sure and half wrong: fold 0 must get fold 1's temperature.
    of = judged(ROWS, predictions([-3, -3, -9, -9, 9, -9, -9, 9]))
    mine = of.folds == 0
    other = fit_decision(of.at(~mine)).temperature
    np.testing.assert_allclose(
        cross_fitted(of).level2[mine], 1 / (1 + np.exp(-of.margins[mine] / other)), rtol=1e-9
    )
    assert fit_decision(of.at(mine)).temperature < other


def test_other_means_stand_beside_the_network(perfect: Judged) -> None:
    margins = np.array([0, 0, 1, 1, 2, 0, 1, 2.0])
    found = by_name(
        severity_figures(perfect, cross_fitted(perfect), others={"by luck": margins}, resamples=100)
    )
    # Level 1: 1, 1, 1; level 2: 2, 0, 2. Six of nine pairs are right.
    assert found["AUC, level 1 v 2, all, by luck"].estimate.value == pytest.approx(6 / 9)
    assert found["network minus that, paired, all"].estimate.value == pytest.approx(3 / 9)


def test_pairs_of_one_source_only(perfect: Judged) -> None:
    sources = ["x", "x", "a", "b", "a", "b", "c", "c"]
    rows = tuple(replace(row, source=source) for row, source in zip(perfect.rows, sources, strict=True))
    margins = np.array([0, 0, 1, 5, 2, 4, 1, 2.0])
    of = Judged(rows, margins, perfect.zones, perfect.extents)
    found = by_name(severity_figures(of, cross_fitted(of), resamples=100))
    # a and c are told right, b is not; each has one pair.
    assert found["AUC, level 1 v 2, pairs of one source only"].estimate.value == pytest.approx(2 / 3)


def test_a_prediction_of_an_unknown_image_is_refused() -> None:
    with pytest.raises(DataError, match="zz: not in the labelled set"):
        judged(ROWS, [SeverityPrediction("zz", 0.0, (0.0,) * 6, 0.0, 0.0)])
