from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrs_bench.labelled import LabelledImage, LabelledSet
from cxrs_bench.shortcuts import shortcut_features, shortcut_margins


@pytest.fixture
def rows(tmp_path: Path) -> LabelledSet:
    """Forty images: level 2 from one hospital, level 1 from another, in two folds."""
    for shape in ((40, 40), (80, 40)):
        Image.new("L", shape).save(tmp_path / f"{shape[0]}.png")
    return tuple(
        LabelledImage(
            f"i{n}", tmp_path / ("80.png" if n % 4 == 0 else "40.png"), f"p{n}", 1 + n % 2, "train", fold=n // 20,
            source=f"hospital {n % 2}", view="AP",
        )
        for n in range(40)
    )  # fmt: skip


def test_a_source_that_tells_the_level_is_found(rows: LabelledSet) -> None:
    margins = shortcut_margins(rows)
    levels = np.array([row.level for row in rows])
    assert ((margins > 0) == (levels == 2)).all()


def test_without_a_shortcut_nothing_is_told(rows: LabelledSet) -> None:
    mixed = tuple(replace(row, source="one", path=rows[1].path) for row in rows)
    np.testing.assert_allclose(shortcut_margins(mixed), 0, atol=1e-4)


def test_features_by_hand(rows: LabelledSet) -> None:
    features = shortcut_features(rows[:4])
    # Two sources, one view, shape (one wide film of four: 3 and -1 over the root of 3), size likewise, and 1.
    np.testing.assert_allclose(features[0], [1, 0, 1, 3**0.5, 3**0.5, 1])
    np.testing.assert_allclose(features[1], [0, 1, 1, -(3**-0.5), -(3**-0.5), 1])
