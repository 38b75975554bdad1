"""Readers and network side by side: kappa with its interval, and what readers said of the regions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cxrs_bench.evaluation import Estimate
from cxrs_bench.metrics import BoolArray, IntArray
from cxrs_bench.resampling import patient_interval
from cxrs_bench.review.answers import NETWORK, Answers
from cxrs_bench.review.kappa import cohen_kappa
from cxrs_bench.review.readings import NOT_RATED, Reader
from cxrs_edge.card import ZONES
from cxrs_edge.evidence.regions import MOST_REGIONS
from cxrs_edge.review.booklet import RATINGS

MISSING = NOT_RATED
FEWEST_FOR_MEAN = 3
UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"), 1.0)


@dataclass(frozen=True, eq=False)
class Question:
    """What several raters answered of the same units.

    Attributes
    ----------
    codes : int, raters x units: 0 to `categories` - 1, or `MISSING`.
    patients : of each unit.
    linear : whether the categories are ordered, so that near ones disagree less.
    """

    what: str
    codes: IntArray
    patients: tuple[str, ...]
    categories: int
    linear: bool = False


@dataclass(frozen=True)
class Agreement:
    """How far some raters agree on one question.

    Attributes
    ----------
    count : units that all of them answered.
    alike : share of those that all answered alike.
    kappa : Cohen's of two raters; of more, the mean of all pairs (Light, Psychological Bulletin 1971). Not
        defined where one of them answers everything alike: what is expected by chance is then what is observed, kappa
        would be 0 whatever the others say, and so would its interval.
    """

    between: tuple[str, ...]
    what: str
    count: int
    alike: float
    kappa: Estimate


@dataclass(frozen=True)
class Judgement:
    """What one reader said of some regions: how many of each of `RATINGS`, and the share of the first."""

    reader: str
    regions: str
    counts: tuple[int, ...]
    agreeing: Estimate


def agreements(
    readers: Sequence[Reader], answers: Answers, patients: Sequence[str], *, resamples: int, seed: int
) -> list[Agreement]:
    """Every pair of readers, each reader and the network, and with three readers or more all of them.

    Zones one by one and pooled, the level that follows from them (0, 1 or 2), regions by rank and pooled. A question
    that no unit answers is left out.

    Parameters
    ----------
    patients : of each case; intervals resample them with all that is theirs.
    """
    names = (*(reader.name for reader in readers), NETWORK)
    groups: list[tuple[int, ...]] = list(itertools.combinations(range(len(names)), 2))
    if len(readers) >= FEWEST_FOR_MEAN:
        groups.append(tuple(range(len(readers))))
    found = [
        _agree([names[rater] for rater in group], question, list(group), resamples, seed)
        for group in groups
        for question in _questions(readers, answers, patients)
    ]
    return [agreement for agreement in found if agreement.count]


def judgements(
    readers: Sequence[Reader], answers: Answers, patients: Sequence[str], *, resamples: int, seed: int
) -> list[Judgement]:
    """Does each reader agree with critical factors, and with other candidates? Left out where none is judged."""
    critical = np.array([is_critical for case in answers.cases for is_critical in case.critical], bool)
    kinds = {"critical factors": critical, "other candidates": ~critical}
    question = _regions(readers, answers, patients)
    return [
        _judge(reader.name, kind, codes[chosen], _chosen(question.patients, chosen), resamples, seed)
        for reader, codes in zip(readers, question.codes, strict=False)
        for kind, of_kind in kinds.items()
        for chosen in [of_kind & (codes != MISSING)]
        if chosen.any()
    ]


def _agree(names: list[str], question: Question, raters: list[int], resamples: int, seed: int) -> Agreement:
    answered = np.asarray((question.codes[raters] != MISSING).all(axis=0))
    codes = question.codes[raters][:, answered]
    if not answered.any():
        return Agreement(tuple(names), question.what, 0, float("nan"), UNDEFINED)

    def mean_kappa(units: IntArray) -> float:
        pairs = itertools.combinations(codes[:, units], 2)
        return float(
            np.mean([cohen_kappa(a, b, question.categories, linear=question.linear) for a, b in pairs])
        )

    return Agreement(
        between=tuple(names),
        what=question.what,
        count=int(answered.sum()),
        alike=float((codes == codes[0]).all(axis=0).mean()),
        kappa=UNDEFINED
        if (codes == codes[:, :1]).all(axis=1).any()
        else patient_interval(
            mean_kappa, _chosen(question.patients, answered), resamples=resamples, seed=seed
        ),
    )


def _judge(
    reader: str, kind: str, codes: IntArray, patients: Sequence[str], resamples: int, seed: int
) -> Judgement:
    def share(units: IntArray) -> float:
        return float((codes[units] == 0).mean())

    return Judgement(
        reader=reader,
        regions=kind,
        counts=tuple(np.bincount(codes, minlength=len(RATINGS)).tolist()),
        agreeing=patient_interval(share, patients, resamples=resamples, seed=seed),
    )


def _questions(readers: Sequence[Reader], answers: Answers, patients: Sequence[str]) -> Iterator[Question]:
    zones = [[case.zones for case in reader.cases] for reader in readers]
    zones.append([case.zones for case in answers.cases])
    codes = np.array(
        [[(MISSING,) * len(ZONES) if z is None else z for z in rater] for rater in zones], np.int64
    )
    for place, zone in enumerate(ZONES):
        yield Question(f"zone {zone}", codes[:, :, place], tuple(patients), 2)
    pooled = codes.reshape(len(codes), -1)
    yield Question("all zones", pooled, tuple(np.repeat(patients, len(ZONES)).tolist()), 2)
    yield Question("level", _levels(codes, answers), tuple(patients), 3, linear=True)
    regions = _regions(readers, answers, patients)
    ranks = np.array([rank for case in answers.cases for rank in range(len(case.critical))], np.int64)
    for rank in range(MOST_REGIONS):
        mine = ranks == rank
        yield Question(
            f"region {rank + 1}", regions.codes[:, mine], _chosen(regions.patients, mine), 3, linear=True
        )
    yield regions


def _levels(zones: IntArray, answers: Answers) -> IntArray:
    """Of the readers by the zones that they marked, of the network as it decided."""
    # 1 or 2 zones are level 1, 3 or more level 2.
    levels = np.where((zones == MISSING).any(axis=2), MISSING, np.digitize(zones.sum(axis=2), [1, 3]))
    levels[-1] = [MISSING if case.level is None else case.level for case in answers.cases]
    return np.asarray(levels)


def _regions(readers: Sequence[Reader], answers: Answers, patients: Sequence[str]) -> Question:
    """The network judges none of its own."""
    of_region = [
        patient for case, patient in zip(answers.cases, patients, strict=True) for _ in case.critical
    ]
    codes = np.full((len(readers) + 1, len(of_region)), MISSING, np.int64)
    for row, reader in enumerate(readers):
        codes[row] = [rating for case in reader.cases for rating in case.ratings]
    return Question("all regions", codes, tuple(of_region), 3, linear=True)


def _chosen(patients: Sequence[str], mask: BoolArray) -> tuple[str, ...]:
    return tuple(itertools.compress(patients, mask.tolist()))
