"""Figures against hand counts, a brute-force pair count and repeated rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrs_bench.metrics import (
    Figures,
    FloatArray,
    IntArray,
    auc,
    confusion_matrix,
    figures,
    patient_index,
    patient_weights,
    predicted_levels,
)
from cxrs_edge.errors import DataError

# Scores from a short list, so that ties are common.
SCORES = st.sampled_from([0.0, 0.1, 0.25, np.nextafter(0.5, 0), 0.5, 0.75, 1.0])
IMAGES = st.lists(st.tuples(st.sampled_from([1, 2]), SCORES), min_size=1, max_size=25)


def arrays(images: list[tuple[int, float]]) -> tuple[IntArray, FloatArray]:
    levels, level2 = zip(*images, strict=True)
    return np.array(levels), np.array(level2, dtype=np.float64)


def paper_table_4() -> tuple[IntArray, FloatArray]:
    """52 level-1 images, 48 right; 98 level-2 images, 91 right."""
    return np.array([1] * 52 + [2] * 98), np.array([0.1] * 48 + [0.9] * 4 + [0.1] * 7 + [0.9] * 91)


def test_paper_table_4() -> None:
    levels, level2 = paper_table_4()
    assert confusion_matrix(levels, level2).tolist() == [[48, 4], [7, 91]]
    measured = figures(levels, level2)
    assert measured.sensitivity_level1 == pytest.approx(0.923077, abs=1e-6)  # 48/52
    assert measured.sensitivity_level2 == pytest.approx(0.928571, abs=1e-6)  # 91/98
    assert measured.ppv_level1 == pytest.approx(0.872727, abs=1e-6)  # 48/55
    assert measured.ppv_level2 == pytest.approx(0.957895, abs=1e-6)  # 91/95
    assert measured.accuracy == pytest.approx(0.926667, abs=1e-6)  # 139/150
    assert measured.balanced_accuracy == pytest.approx(0.925824, abs=1e-6)
    # Two scores only: 48*91 pairs won, 48*7 + 4*91 tied, of 52*98.
    assert measured.auc == pytest.approx((48 * 91 + (48 * 7 + 4 * 91) / 2) / (52 * 98))


def test_a_tie_with_the_threshold_is_level_2() -> None:
    level2 = np.array([0.3, np.nextafter(0.3, 0), np.nextafter(0.3, 1)])
    assert predicted_levels(level2, 0.3).tolist() == [2, 1, 2]


def test_dividing_by_the_sum_keeps_the_runtimes_rule_on_int8_outputs() -> None:
    """Level 2 iff p2 >= p1, for every pair of outputs on the 1/256 grid of an int8 softmax."""
    p1, p2 = np.meshgrid(np.arange(256) / 256, np.arange(256) / 256)
    seen = p1 + p2 > 0
    p1, p2 = p1[seen], p2[seen]
    assert np.array_equal(predicted_levels(p2 / (p1 + p2)) == 2, p2 >= p1)


def test_threshold_moves_the_confusion_matrix() -> None:
    levels, level2 = np.array([1, 1, 2, 2]), np.array([0.2, 0.6, 0.4, 0.8])
    assert confusion_matrix(levels, level2).tolist() == [[1, 1], [1, 1]]
    assert confusion_matrix(levels, level2, threshold=0.3).tolist() == [[1, 1], [0, 2]]
    assert confusion_matrix(levels, level2, threshold=0.7).tolist() == [[2, 0], [1, 1]]


def brute_force_auc(levels: IntArray, level2: FloatArray) -> float:
    won, pairs = 0.0, 0
    for negative in level2[levels == 1]:
        for positive in level2[levels == 2]:
            won += 1.0 if positive > negative else 0.5 if positive == negative else 0.0
            pairs += 1
    return won / pairs if pairs else math.nan


@given(IMAGES)
def test_auc_counts_pairs(images: list[tuple[int, float]]) -> None:
    levels, level2 = arrays(images)
    assert float(auc(levels, level2)) == pytest.approx(
        brute_force_auc(levels, level2), abs=1e-12, nan_ok=True
    )


@given(IMAGES, st.data())
def test_whole_weights_are_repeated_rows(images: list[tuple[int, float]], data: st.DataObject) -> None:
    levels, level2 = arrays(images)
    times = np.array(
        data.draw(
            st.lists(
                st.lists(st.integers(0, 3), min_size=len(images), max_size=len(images)),
                min_size=1,
                max_size=4,
            )
        ),
        dtype=np.float64,
    )
    measured = figures(levels, level2, weights=times)
    for row, counts in enumerate(times.astype(int)):
        if counts.sum() == 0:
            expected = Figures(*[np.array(np.nan)] * 7)
        else:
            expected = figures(np.repeat(levels, counts), np.repeat(level2, counts))
        for name, value in measured._asdict().items():
            assert value[row] == pytest.approx(getattr(expected, name), nan_ok=True), name


@given(IMAGES, st.data())
def test_figures_stay_within_0_and_1_under_any_weights(
    images: list[tuple[int, float]], data: st.DataObject
) -> None:
    levels, level2 = arrays(images)
    sizes = data.draw(st.lists(st.integers(1, 7), min_size=len(images), max_size=len(images)))
    for value in figures(levels, level2, weights=1 / np.array(sizes)):
        assert np.isnan(value) or 0 <= value <= 1


def test_a_perfect_order_is_exactly_1_under_uneven_weights() -> None:
    rng = np.random.default_rng(3)
    levels = np.repeat([1, 2], 20)
    measured = auc(levels, np.linspace(0, 1, 40), weights=1 / rng.integers(1, 8, (500, 40)))
    assert measured.max() <= 1
    assert measured.min() == pytest.approx(1)


def test_every_patient_counts_equally() -> None:
    # Ann has three level-1 images, all right; Bob one, wrong; Eve two level-2 images, one right.
    levels = np.array([1, 1, 1, 1, 2, 2])
    level2 = np.array([0.1, 0.1, 0.1, 0.9, 0.9, 0.1])
    patients = ("ann", "ann", "ann", "bob", "eve", "eve")
    weights = patient_weights(patients)
    assert weights == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2])
    by_image = figures(levels, level2)
    by_patient = figures(levels, level2, weights=weights)
    assert float(by_image.sensitivity_level1) == pytest.approx(3 / 4)
    assert float(by_patient.sensitivity_level1) == pytest.approx(1 / 2)
    assert float(by_image.accuracy) == pytest.approx(4 / 6)
    assert float(by_patient.accuracy) == pytest.approx(1.5 / 3)
    assert float(by_patient.ppv_level1) == pytest.approx(1 / 1.5)
    assert float(by_patient.ppv_level2) == pytest.approx(0.5 / 1.5)
    # Of 2 x 1 weighted pairs, ann against eve: 0.5 won and 0.5 tied; bob against eve: 0.5 tied.
    assert float(by_patient.auc) == pytest.approx((0.5 + 0.25 + 0.25) / 2)


def test_patients_are_numbered_in_order_of_appearance() -> None:
    assert patient_index(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


@pytest.mark.filterwarnings("error")
def test_one_level_only_leaves_what_needs_both_undefined() -> None:
    measured = figures(np.array([2, 2]), np.array([0.9, 0.1]))
    assert math.isnan(measured.sensitivity_level1)
    assert measured.sensitivity_level2 == 0.5
    assert measured.ppv_level1 == 0
    assert measured.ppv_level2 == 1
    assert measured.accuracy == 0.5
    assert math.isnan(measured.balanced_accuracy)
    assert math.isnan(measured.auc)


@pytest.mark.filterwarnings("error")
def test_a_level_never_predicted_has_no_ppv() -> None:
    measured = figures(np.array([1, 2]), np.array([0.1, 0.2]))
    assert measured.ppv_level1 == 0.5
    assert math.isnan(measured.ppv_level2)
    assert measured.sensitivity_level2 == 0


@pytest.mark.parametrize(
    ("levels", "level2", "message"),
    [
        ([], [], "at least one image"),
        ([1, 2], [0.5], r"shape \(2,\) and probabilities of shape \(1,\)"),
        ([0, 1], [0.5, 0.5], r"levels \[0 1\]; expected only 1 and 2"),
        ([1, 2], [0.5, math.nan], "NaN or outside"),
        ([1, 2], [0.5, 1.01], "NaN or outside"),
        ([1, 2], [-0.01, 1], "NaN or outside"),
    ],
)
def test_refuses_bad_arrays(levels: list[int], level2: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        confusion_matrix(np.array(levels, dtype=int), np.array(level2))
    with pytest.raises(DataError, match=message):
        auc(np.array(levels, dtype=int), np.array(level2))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, math.nan], [[1.0], [1.0]]])
def test_refuses_bad_weights(weights: list[float]) -> None:
    with pytest.raises(DataError, match="2 in the last axis, none negative or NaN"):
        auc(np.array([1, 2]), np.array([0.1, 0.9]), weights=np.array(weights))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_refuses_a_threshold_that_is_no_probability(threshold: float) -> None:
    with pytest.raises(DataError, match="threshold: got"):
        figures(np.array([1, 2]), np.array([0.1, 0.9]), threshold=threshold)
