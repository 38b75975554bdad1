"""What out-of-fold predictions of severity are worth: every figure with its interval, readers beside the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from cxrs_bench.calibration import judge_calibration
from cxrs_bench.evaluation import Estimate
from cxrs_bench.metrics import BoolArray, FloatArray, IntArray, auc, patient_weights
from cxrs_bench.out_of_fold import Judged, Outcomes
from cxrs_bench.readings import affected_zones
from cxrs_bench.resampling import Statistic, patient_interval, weighted_mean

FEWEST = 5
"""Images of each level that a source or a view needs for a figure of its own."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    images: int
    estimate: Estimate

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "images": self.images, **self.estimate.to_json()}


def severity_figures(
    of: Judged,
    found: Outcomes,
    *,
    others: Mapping[str, FloatArray] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Figure]:
    """All figures that the set's labels allow; those without any image are left out.

    Parameters
    ----------
    found : what would be printed of these images, by `cxrs_bench.out_of_fold.cross_fitted` or by a fixed rule.
    others : margins of the same images by other means, by name; their AUC stands beside the network's.
    """
    planned = [*_plan(of, found), *_others(of, others or {})]
    return [
        Figure(name, int(chosen.sum()), _interval(statistic, of, chosen, resamples, seed))
        for name, chosen, statistic in planned
        if chosen.any()
    ]


def render_figures(figures: list[Figure]) -> str:
    """A Markdown table."""
    lines = ["| figure | images | value (95 % interval, patients resampled) |", "|---|---|---|"]
    return "\n".join(lines + [f"| {f.name} | {f.images} | {f.estimate} |" for f in figures])


def reader_levels(of: Judged, reader: str) -> IntArray:
    """Level 0 to 2 by one reader's zones; -1 where that reader read nothing."""
    scores = [getattr(row.readings, reader) for row in of.rows]
    zones = np.array([-1 if s is None else affected_zones(s) for s in scores])
    return np.where(zones < 0, -1, np.where(zones == 0, 0, np.where(zones <= 2, 1, 2))).astype(np.int64)


Planned = tuple[str, BoolArray, Statistic]


def _plan(of: Judged, found: Outcomes) -> Iterator[Planned]:
    """Name, images and statistic (of numbers into all images) of every figure."""
    yield from _of_level(of, found)
    yield from _of_calibration(of, found)
    yield from _beside_junior(of, found)
    yield from _of_extents(of)
    yield from _of_zones(of, found)
    yield from _of_level0(of, found)
    yield from _of_uncertainty(of, found)


def _of_level(of: Judged, found: Outcomes) -> Iterator[Planned]:
    levels, weights = of.levels, patient_weights(of.patients)
    sources = np.array([row.source for row in of.rows])

    def area(i: IntArray) -> float:
        return _area(levels[i], found.level2[i])

    def area_by_patient(i: IntArray) -> float:
        return _area(levels[i], found.level2[i], weights[i])

    for name, chosen in _graded(of):
        yield f"AUC, level 1 v 2, {name}", chosen, area
        yield f"the same, every patient equal, {name}", chosen, area_by_patient
        yield (
            f"balanced accuracy, level 1 v 2, {name}",
            chosen,
            lambda i: _balanced(levels[i], np.where(found.level2[i] >= 0.5, 2, 1)),
        )
    for what in ("source", "view"):
        of_image = np.array([getattr(row, what) for row in of.rows])
        for name in np.unique(of_image):
            mine = of_image == name
            if min((mine & (levels == level)).sum() for level in (1, 2)) >= FEWEST:
                yield f"AUC, level 1 v 2, {what} {name}", mine & (levels > 0), area
    yield (
        "AUC, level 1 v 2, pairs of one source only",
        levels > 0,
        lambda i: _area_within(levels[i], found.level2[i], sources[i]),
    )


def _others(of: Judged, others: Mapping[str, FloatArray]) -> Iterator[Planned]:
    for who, margins in others.items():
        theirs = _area_by(of, margins)
        for name, chosen in _graded(of):
            yield f"AUC, level 1 v 2, {name}, {who}", chosen, theirs
            yield f"network minus that, paired, {name}", chosen, _difference(_area_by(of, of.margins), theirs)


def _area_by(of: Judged, margins: FloatArray) -> Statistic:
    levels, level2 = of.levels, 1 / (1 + np.exp(-margins))
    return lambda i: _area(levels[i], level2[i])


def _difference(ours: Statistic, theirs: Statistic) -> Statistic:
    return lambda i: ours(i) - theirs(i)


def _graded(of: Judged) -> tuple[tuple[str, BoolArray], ...]:
    brixia = np.array([row.readings.senior is not None for row in of.rows])
    return ("all", of.levels > 0), ("Brixia-labelled", (of.levels > 0) & brixia)


def _beside_junior(of: Judged, found: Outcomes) -> Iterator[Planned]:
    """Levels of 0 count as errors, the network's as well as a reader's."""
    senior, junior = reader_levels(of, "senior"), reader_levels(of, "junior")
    both = (senior > 0) & (junior >= 0)
    told = found.levels
    yield "balanced accuracy, network v senior", both, lambda i: _balanced(senior[i], told[i])
    yield "balanced accuracy, junior v senior", both, lambda i: _balanced(senior[i], junior[i])
    yield (
        "network minus junior, paired",
        both,
        lambda i: _balanced(senior[i], told[i]) - _balanced(senior[i], junior[i]),
    )
    by_junior = (junior > 0) & (senior >= 0)
    yield "balanced accuracy, network v junior", by_junior, lambda i: _balanced(junior[i], told[i])


def _of_extents(of: Judged) -> Iterator[Planned]:
    for column, name in enumerate(("geographic", "opacity")):
        labelled = np.array([getattr(row.readings, name) for row in of.rows])
        rho = _rank_correlation(of.extents[:, column], labelled)
        yield f"Spearman's rho, {name} extent", ~np.isnan(labelled), rho


def _rank_correlation(told: FloatArray, labelled: FloatArray) -> Statistic:
    return lambda i: _spearman(told[i], labelled[i])


def _of_zones(of: Judged, found: Outcomes) -> Iterator[Planned]:
    senior, junior = (_zone_table(of, reader) for reader in ("senior", "junior"))
    read = np.asarray((senior >= 0).all(axis=1))
    yield (
        "single zone above 0 or not, accuracy",
        read,
        lambda i: _agreement(found.zones[i] >= 0.5, senior[i] > 0),
    )
    yield (
        "the same by the junior reader",
        read & np.asarray((junior >= 0).all(axis=1)),
        lambda i: _agreement(junior[i] > 0, senior[i] > 0),
    )


def _of_calibration(of: Judged, found: Outcomes) -> Iterator[Planned]:
    levels, level2 = of.levels, np.clip(found.level2, 1e-12, 1 - 1e-12)
    temperate = np.log(level2 / (1 - level2))
    for name, margins in (("as trained", of.margins), ("with the temperature", temperate)):
        for key, title in (
            ("log_loss", "log loss"),
            ("brier", "Brier score"),
            ("ece", "calibration error (ECE)"),
        ):
            yield f"{title}, {name}", levels > 0, _calibration(margins, levels, key)


def _calibration(margins: FloatArray, levels: IntArray, key: str) -> Statistic:
    return lambda i: float(getattr(judge_calibration(margins[i], levels[i], 1.0), key))


def _of_level0(of: Judged, found: Outcomes) -> Iterator[Planned]:
    called = _share(found.levels == 0)
    yield "level-0 images called level 0", of.levels == 0, called
    yield "level-1 and -2 images called level 0", of.levels > 0, called


def _of_uncertainty(of: Judged, found: Outcomes) -> Iterator[Planned]:
    levels = of.levels
    right = np.where(levels == 2, found.level2 >= 0.5, found.level2 < 0.5)
    certain = found.certain.astype(np.float64)
    for level, possible in ((1, found.possible1), (2, found.possible2)):
        yield f"level {level} among the possible levels (coverage)", levels == level, _share(possible)
    yield "graded without `uncertain`", levels > 0, _share(found.certain)
    yield (
        "accuracy where graded without `uncertain`",
        levels > 0,
        lambda i: weighted_mean(right[i].astype(np.float64), certain[i]),
    )
    yield "accuracy where all are graded", levels > 0, _share(right)


def _interval(statistic: Statistic, of: Judged, chosen: Any, resamples: int, seed: int) -> Estimate:
    numbers = np.flatnonzero(chosen)
    patients = [of.patients[number] for number in numbers]
    return patient_interval(lambda i: statistic(numbers[i]), patients, resamples=resamples, seed=seed)


def _area(levels: IntArray, level2: FloatArray, weights: FloatArray | None = None) -> float:
    return float(auc(levels, level2, weights=weights))


def _area_within(levels: IntArray, level2: FloatArray, groups: Any) -> float:
    """Share of pairs from one group in which level 2 has the higher probability."""
    areas, pairs = [], []
    for group in np.unique(groups):
        mine = groups == group
        pairs.append(float((levels[mine] == 1).sum() * (levels[mine] == 2).sum()))
        areas.append(_area(levels[mine], level2[mine]) if pairs[-1] else 0.0)
    return weighted_mean(np.array(areas), np.array(pairs))


def _balanced(truth: IntArray, told: IntArray) -> float:
    """Mean over levels 1 and 2 of the share told right; NaN unless both occur."""
    right = [(told[truth == level] == level).astype(np.float64) for level in (1, 2)]
    return float(np.mean([share.mean() for share in right])) if all(map(len, right)) else float("nan")


def _share(of_images: BoolArray) -> Statistic:
    return lambda i: float(of_images[i].mean())


def _spearman(told: FloatArray, labelled: FloatArray) -> float:
    constant = np.ptp(told) == 0 or np.ptp(labelled) == 0
    return float("nan") if constant else float(spearmanr(told, labelled).statistic)


def _zone_table(of: Judged, reader: str) -> IntArray:
    scores = [getattr(row.readings, reader) for row in of.rows]
    return np.array([(-1,) * 6 if s is None else s for s in scores], np.int64)


def _agreement(a: Any, b: Any) -> float:
    return float((a == b).mean())
