from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cxrs_bench.labelled import LabelledImage
from cxrs_bench.readings import Readings
from cxrs_export.severity_targets import batch_targets, severity_targets


def image(readings: Readings, level: int = 2, patient: str = "p") -> LabelledImage:
    return LabelledImage("i", Path("x"), patient, level, "train", readings=readings)


def step(distance: float) -> float:
    return 1 / (1 + math.exp(-distance / 0.7))


FOUR, ONE, NONE = (1, 2, 3, 0, 0, 1), (0, 0, 0, 0, 0, 3), (0,) * 6


def test_two_readers_share_a_target() -> None:
    found = severity_targets((image(Readings(FOUR, ONE, 4.0, 2.0)),), weak=0.5)
    assert found.level2[0] == pytest.approx(2 / 3 * step(1.5) + 1 / 3 * step(-1.5))
    np.testing.assert_allclose(found.zones[0], [2 / 3, 2 / 3, 2 / 3, 0, 0, 1])
    np.testing.assert_allclose(found.extents[0], [0.5, 0.25])
    assert (found.level_weights[0], found.zone_weights[0], found.extent_weights[0]) == (1, 1, 1)


def test_a_skipped_row_of_the_junior_counts_for_nothing() -> None:
    found = severity_targets((image(Readings(FOUR, NONE)), image(Readings(ONE, NONE))), weak=1.0)
    np.testing.assert_array_equal(found.zones[0], [1, 1, 1, 0, 0, 1])
    np.testing.assert_allclose(found.zones[1], [0, 0, 0, 0, 0, 2 / 3], rtol=1e-6)


def test_a_weak_level_lies_by_the_extent_and_counts_less() -> None:
    found = severity_targets((image(Readings(geographic=3.2, opacity=1.0)),), weak=0.5)
    assert found.level2[0] == pytest.approx(step(0.7))
    assert (found.level_weights[0], found.zone_weights[0], found.extent_weights[0]) == (0.5, 0, 1)


def test_without_readings_the_level_is_all_there_is() -> None:
    found = severity_targets((image(Readings(), level=2), image(Readings(), level=1)), weak=0.25)
    np.testing.assert_array_equal(found.level2, [1, 0])
    np.testing.assert_array_equal(found.extent_weights, [0, 0])
    assert not np.isnan(found.extents).any()


def test_a_patient_with_four_images_counts_twice() -> None:
    rows = (*[image(Readings(FOUR))] * 4, image(Readings(FOUR), patient="q"))
    weights = severity_targets(rows, weak=1.0).level_weights
    np.testing.assert_allclose(weights / weights[4], [0.5] * 4 + [1])
    assert weights.mean() == pytest.approx(1)


def test_a_mirrored_image_has_its_lungs_the_other_way_round() -> None:
    targets = severity_targets((image(Readings(ONE, ONE, 2.0, 2.0)),), weak=1.0)
    wanted, weights = batch_targets(targets, np.array([0, 0]), np.array([True, False]))
    np.testing.assert_array_equal(wanted["zones"], [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]])
    np.testing.assert_allclose(wanted["level"].sum(axis=1), 1)
    assert wanted["level"][0, 1] == wanted["level"][1, 1] == pytest.approx(step(-1.5))
    assert set(weights) == set(wanted)
