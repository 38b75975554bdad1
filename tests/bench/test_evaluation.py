"""Intervals over patients, the JSON and text of an evaluation, and flips between two models."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrs_bench import evaluation as module
from cxrs_bench.evaluation import Counts, Estimate, evaluate, paired_flips, render_text
from cxrs_bench.metrics import Figures, figures
from cxrs_bench.predictions import Predictions
from cxrs_edge.errors import DataError


def make(patients: list[str] | list[int], levels: list[int], level2: list[float]) -> Predictions:
    names = tuple(f"{number}.png" for number in range(len(levels)))
    return Predictions(names, tuple(map(str, patients)), np.array(levels), np.array(level2))


def paper_table_4() -> Predictions:
    """52 level-1 images, 48 right; 98 level-2 images, 91 right; two images a patient."""
    level2 = [0.1] * 48 + [0.9] * 4 + [0.1] * 7 + [0.9] * 91
    return make([number // 2 for number in range(150)], [1] * 52 + [2] * 98, level2)


def random_set(rng: np.random.Generator, images: int, patients: int) -> Predictions:
    return make(
        rng.integers(0, patients, images).tolist(),
        rng.integers(1, 3, images).tolist(),
        rng.random(images).round(2).tolist(),
    )


def test_paper_table_4() -> None:
    measured = evaluate(paper_table_4(), resamples=50)
    assert measured.confusion == ((48, 4), (7, 91))
    assert measured.images == Counts(150, 52, 98)
    assert measured.patients == Counts(75, 26, 49)
    assert measured.by_image.sensitivity_level1.value == pytest.approx(48 / 52)
    assert measured.by_image.sensitivity_level2.value == pytest.approx(91 / 98)
    assert measured.by_image.ppv_level1.value == pytest.approx(48 / 55)
    assert measured.by_image.ppv_level2.value == pytest.approx(91 / 95)
    assert measured.by_image.accuracy.value == pytest.approx(139 / 150)


def test_a_patient_with_both_levels_counts_under_both() -> None:
    measured = evaluate(make(["p", "p", "p", "q"], [1, 1, 2, 2], [0.1] * 4), resamples=5)
    assert measured.images == Counts(4, 2, 2)
    assert measured.patients == Counts(2, 1, 2)


def test_threshold_reaches_every_figure() -> None:
    predictions = make([1, 2, 3, 4], [1, 1, 2, 2], [0.2, 0.6, 0.4, 0.8])
    measured = evaluate(predictions, resamples=5, threshold=0.3)
    assert measured.confusion == ((1, 1), (0, 2))
    assert measured.by_image.sensitivity_level2.value == 1
    assert measured.by_image.sensitivity_level2.low == 1
    assert measured.by_patient.sensitivity_level2.value == 1
    assert measured.threshold == 0.3


def test_intervals_are_those_of_resampled_patients_one_by_one() -> None:
    """The matrix arithmetic against a plain loop that copies the rows of each drawn patient."""
    predictions = random_set(np.random.default_rng(5), images=40, patients=12)
    measured = evaluate(predictions, resamples=60, seed=9)
    patients = list(dict.fromkeys(predictions.patients))
    rows_of = {p: [i for i, q in enumerate(predictions.patients) if q == p] for p in patients}
    size = len(patients)
    drawn = np.random.default_rng(9).multinomial(size, np.full(size, 1 / size), size=60)
    by_image, by_patient = [], []
    for times in drawn:
        rows = [
            row
            for patient, count in zip(patients, times, strict=True)
            for _ in range(count)
            for row in rows_of[patient]
        ]
        weights = np.array([1 / len(rows_of[predictions.patients[row]]) for row in rows])
        sample = predictions.levels[rows], predictions.level2[rows]
        by_image.append(figures(*sample))
        by_patient.append(figures(*sample, weights=weights))
    for estimates, samples in ((measured.by_image, by_image), (measured.by_patient, by_patient)):
        for name, estimate in estimates._asdict().items():
            values = np.array([float(getattr(sample, name)) for sample in samples])
            low, high = np.nanpercentile(values, [2.5, 97.5])
            assert (estimate.low, estimate.high) == pytest.approx((low, high)), name
            assert estimate.undefined_share == pytest.approx(np.isnan(values).mean()), name


def test_the_seed_decides_the_intervals() -> None:
    predictions = random_set(np.random.default_rng(0), images=60, patients=30)
    assert evaluate(predictions, seed=1) == evaluate(predictions, seed=1)
    assert evaluate(predictions, seed=1).by_image != evaluate(predictions, seed=2).by_image


def test_blocks_do_not_change_the_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = random_set(np.random.default_rng(0), images=60, patients=30)
    whole = evaluate(predictions, resamples=100)
    monkeypatch.setattr(module, "_WEIGHTS_PER_BLOCK", 60 * 7)
    assert evaluate(predictions, resamples=100) == whole


def test_identical_patients_leave_no_width() -> None:
    predictions = make([0, 0, 0, 1, 1, 1, 2, 2, 2], [1, 2, 2] * 3, [0.3, 0.9, 0.2] * 3)
    measured = evaluate(predictions, resamples=200)
    for estimate in (*measured.by_image, *measured.by_patient):
        assert estimate.low == pytest.approx(estimate.value)
        assert estimate.high == pytest.approx(estimate.value)
        assert estimate.undefined_share == 0
    assert measured.by_image.accuracy.value == pytest.approx(2 / 3)


def test_many_images_of_a_patient_are_not_many_patients() -> None:
    """Ten identical images each: as 20 patients the interval is sqrt(10) wider than as 200."""
    level2 = np.repeat([0.1] * 7 + [0.9] * 3 + [0.9] * 6 + [0.1] * 4, 10).tolist()
    levels = [1] * 100 + [2] * 100
    clustered = evaluate(make(np.repeat(range(20), 10).tolist(), levels, level2))
    separate = evaluate(make(list(range(200)), levels, level2))

    def width(estimate: Estimate) -> float:
        return estimate.high - estimate.low

    ratio = width(clustered.by_image.accuracy) / width(separate.by_image.accuracy)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)


def test_intervals_of_clustered_images_cover_the_known_accuracy() -> None:
    """Patients are right (80 %) or wrong with all of their 1-5 images."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        sizes = rng.integers(1, 6, 60)
        level = rng.integers(1, 3, 60)
        level2 = np.where((level == 2) == (rng.random(60) < 0.8), 0.9, 0.1)
        patients = np.repeat(np.arange(60), sizes).tolist()
        predictions = make(patients, np.repeat(level, sizes).tolist(), np.repeat(level2, sizes).tolist())
        accuracy = evaluate(predictions, resamples=300).by_image.accuracy
        covered += accuracy.low <= 0.8 <= accuracy.high
    assert 0.90 <= covered / 200 <= 0.99


def test_undefined_resamples_are_left_out_and_their_share_kept() -> None:
    """With 4 patients, one of level 1, (3/4)^4 = 31.6 % of resamples have no level 1."""
    measured = evaluate(make([1, 2, 3, 4], [1, 2, 2, 2], [0.1, 0.9, 0.9, 0.2]), resamples=20000)
    level1 = measured.by_image.sensitivity_level1
    assert level1.undefined_share == pytest.approx(0.75**4, abs=0.015)
    assert (level1.low, level1.high) == (1, 1)
    assert measured.by_image.accuracy.undefined_share == 0
    assert measured.by_image.auc.undefined_share == pytest.approx(0.75**4 + 0.25**4, abs=0.015)


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 10))
def test_intervals_are_ordered_and_json_has_no_nan(seed: int, images: int, patients: int) -> None:
    measured = evaluate(random_set(np.random.default_rng(seed), images, patients), resamples=20)
    for estimate in (*measured.by_image, *measured.by_patient):
        assert math.isnan(estimate.low) or 0 <= estimate.low <= estimate.high <= 1
        assert 0 <= estimate.undefined_share <= 1
        assert "nan" not in str(estimate)
    plain = measured.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_json_keys_and_values() -> None:
    plain = evaluate(make(["p", "q"], [2, 2], [0.9, 0.1]), resamples=10, seed=4).to_json()
    undefined = {"value": None, "low": None, "high": None, "undefined_share": 1.0}
    assert list(plain) == [
        "schema", "threshold", "images", "patients", "confusion", "bootstrap",
        "by_image", "by_patient",
    ]  # fmt: skip
    assert plain["schema"] == "cxrs-edge/evaluation/1"
    assert plain["images"] == {"total": 2, "level1": 0, "level2": 2}
    assert plain["confusion"] == [[0, 0], [1, 1]]
    assert plain["bootstrap"] == {
        "method": "percentile", "unit": "patient", "confidence": 0.95, "resamples": 10, "seed": 4,
    }  # fmt: skip
    assert list(plain["by_patient"]) == list(Figures._fields)
    assert plain["by_image"]["auc"] == undefined
    assert plain["by_image"]["sensitivity_level1"] == undefined
    assert plain["by_image"]["accuracy"]["value"] == 0.5


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.8123, 0.74, 0.884, 0.0), "0.812 (0.74 to 0.88)"),
        (Estimate(1.0, 1.0, 1.0, 0.5), "1.000 (1.00 to 1.00)"),
        (Estimate(0.5, math.nan, math.nan, 1.0), "0.500 (n/a)"),
        (Estimate(math.nan, math.nan, math.nan, 1.0), "n/a"),
    ],
)
def test_text_of_an_estimate(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


def test_text_of_an_evaluation() -> None:
    """Every cell from its own field: each estimate gets a value of its own."""
    values = iter(range(100, 900, 10))

    def numbered() -> Figures[Estimate]:
        return Figures(*(Estimate(next(values) / 1000, 0.12, 0.98, 0.0) for _ in range(7)))

    measured = replace(evaluate(paper_table_4(), resamples=5), by_image=numbered(), by_patient=numbered())
    text = render_text(measured, "COVID-Net CXR-S, Table 4")
    squeezed = [" ".join(line.replace(" (0.12 to 0.98)", "").split()) for line in text.splitlines()]
    assert squeezed == [
        "COVID-Net CXR-S, Table 4",
        "Images: 150 (level 1: 52, level 2: 98). Patients: 75 (level 1: 26, level 2: 49).",
        "",
        "Sensitivity level 1 level 2",
        "every image equal 0.100 0.110",
        "every patient equal 0.170 0.180",
        "",
        "Confusion matrix (images) predicted level 1 predicted level 2",
        "level 1 48 4",
        "level 2 7 91",
        "",
        "Positive predictive value level 1 level 2",
        "every image equal 0.120 0.130",
        "every patient equal 0.190 0.200",
        "",
        "Both levels every image equal every patient equal",
        "accuracy 0.140 0.210",
        "balanced accuracy 0.150 0.220",
        "AUC 0.160 0.230",
        "",
        "Intervals: 95 % percentile bootstrap over patients, 5 resamples, seed 0.",
        "An image is graded level 2 when its probability >= 0.5.",
    ]
    table = [line for line in text.splitlines() if line.startswith(("  ", "Sens", "Both"))]
    assert len({len(line) for line in table}) == 1


def test_text_admits_what_the_intervals_hide() -> None:
    text = render_text(evaluate(make([1, 2, 3], [1, 2, 2], [0.1, 0.9, 0.9]), resamples=1000), "small")
    assert "sensitivity_level1: undefined in " in text
    assert "An interval without width means" in text
    none_right = evaluate(make([1, 2], [2, 2], [0.1, 0.1]), resamples=5)
    assert "ppv_level2: undefined in 100.00 % of resamples" in render_text(none_right, "none")
    assert "n/a" in render_text(none_right, "none")


def test_refuses_no_resamples() -> None:
    with pytest.raises(DataError, match="resamples: got 0; expected at least 1"):
        evaluate(paper_table_4(), resamples=0)


def test_flips_by_hand() -> None:
    a = make([1, 2, 3, 4, 5], [1, 1, 2, 2, 2], [0.4, 0.6, 0.5, 0.45, 0.9])
    b = make([1, 2, 3, 4, 5], [1, 1, 2, 2, 2], [0.55, 0.5, 0.25, 0.5, 0.9])
    report = paired_flips(a, b)
    assert report.images == 5
    assert report.to_level1 == ("2.png",)
    assert report.to_level2 == ("0.png", "3.png")
    assert report.largest_difference == pytest.approx(0.25)
    assert report.mean_difference == pytest.approx((0.15 + 0.1 + 0.25 + 0.05 + 0) / 5)
    assert paired_flips(a, b, threshold=0.95).to_level2 == ()


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_flips_match_images_by_name_and_mirror(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    a = random_set(rng, images, 5)
    b = Predictions(a.names, a.patients, a.levels, rng.random(images))
    order = rng.permutation(images)
    shuffled = Predictions(
        tuple(b.names[row] for row in order),
        tuple(b.patients[row] for row in order),
        b.levels[order],
        b.level2[order],
    )
    assert paired_flips(a, shuffled) == paired_flips(a, b)
    there, back = paired_flips(a, b), paired_flips(b, a)
    assert (there.to_level1, there.to_level2) == (back.to_level2, back.to_level1)
    assert paired_flips(a, a).largest_difference == 0


def test_flips_refuse_other_images() -> None:
    with pytest.raises(DataError, match=r"flips: 1 images are in one .* the first '1\.png'"):
        paired_flips(make([1], [1], [0]), make([1, 2], [1, 2], [0, 1]))


@pytest.mark.parametrize(("patients", "levels"), [([1, 3], [1, 2]), ([1, 2], [1, 1])])
def test_flips_refuse_another_graded_set(patients: list[int], levels: list[int]) -> None:
    with pytest.raises(DataError, match=r"flips: image '1\.png' has patient and level \('2', 2\)"):
        paired_flips(make([1, 2], [1, 2], [0, 1]), make(patients, levels, [0, 1]))


def test_paired_difference_by_hand() -> None:
    """Four patients: `a` is right of all, `b` wrong of one of the two of level 1: (1 + 1) / 2 - (0.5 + 1) / 2."""
    from cxrs_bench.paired import balanced_accuracy_difference

    names, levels = ("1", "2", "3", "4"), np.array([1, 1, 2, 2])
    a = Predictions(names, names, levels, np.array([0.1, 0.2, 0.8, 0.9]))
    b = Predictions(names[::-1], names[::-1], levels[::-1], np.array([0.9, 0.8, 0.7, 0.2]))
    found = balanced_accuracy_difference(a, b)
    assert found.value == 0.25
    assert found.low == 0  # resamples without patient 2
    assert found.high == 0.5  # or with patient 2 as the only one of level 1
    same = balanced_accuracy_difference(b, b)
    assert (same.value, same.low, same.high) == (0, 0, 0)
