"""How well each measured file grades a labelled set, on each engine, and which of two files is better there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Literal

from cxrs_bench.analyses import Accuracy, Against, Figure, Pair
from cxrs_bench.evaluation import Estimate, evaluate, paired_flips
from cxrs_bench.grading import predict_file
from cxrs_bench.labelled import LabelledSet
from cxrs_bench.paired import balanced_accuracy_difference
from cxrs_bench.predictions import Predictions
from cxrs_bench.progress import Report as Progress
from cxrs_bench.record import Model, Report
from cxrs_edge.errors import CxrsError

Graded = dict[tuple[str, str], Predictions]
"""Model id and engine -> what it says of the set."""


def judge_models(
    report: Report, files: Mapping[str, Path], rows: LabelledSet, data: str, progress: Progress
) -> tuple[tuple[Accuracy, ...], tuple[Pair, ...]]:
    """Grade the set with every model on every engine that it was measured on.

    Parameters
    ----------
    data : the set in words.

    Networks with random weights are not graded: their answers mean nothing.
    """
    graded: Graded = {}
    found = list(_grade(report, files, rows, data, progress, graded))
    models = {model.id: model for model in report.models}
    against = tuple(_with_float(one, models, graded) for one in found)
    return against, tuple(_compare(graded))


def _grade(
    report: Report,
    files: Mapping[str, Path],
    rows: LabelledSet,
    data: str,
    progress: Progress,
    graded: Graded,
) -> Iterator[Accuracy]:
    setups = sorted({(run.model, run.engine) for run in report.runs if run.outcome == "measured"})
    for number, (id, engine) in enumerate(setups):
        progress(f"grading with {id} on {engine}", number, len(setups))
        if not report.model(id).trained:
            yield Accuracy(id, engine, "latency only", "random weights", data)
            continue
        try:
            predictions = predict_file(files[id], rows, engine=engine)
        except CxrsError as error:
            yield Accuracy(id, engine, "failed", str(error), data)
            continue
        graded[id, engine] = predictions
        yield _judge(id, engine, data, predictions)


def _judge(id: str, engine: str, data: str, predictions: Predictions) -> Accuracy:
    evaluation = evaluate(predictions)
    return Accuracy(
        model=id,
        engine=engine,
        outcome="measured",
        data=data,
        images=evaluation.images.total,
        patients=evaluation.patients.total,
        confusion=evaluation.confusion,
        figures=tuple(
            Figure(name, *(_number(value) for value in (found.value, found.low, found.high)))
            for name, found in evaluation.by_image._asdict().items()
        ),
    )


def _with_float(accuracy: Accuracy, models: Mapping[str, Model], graded: Graded) -> Accuracy:
    """Add the comparison with the float32 file of the same network, format and size on the same engine."""
    model = models[accuracy.model]
    same = (model.network, model.name, model.format, model.size)
    twin = next(
        (
            other.id
            for other in models.values()
            if (other.network, other.name, other.format, other.size) == same
            and other.precision == "float32"
            and other.id != model.id
        ),
        None,
    )
    mine, theirs = graded.get((model.id, accuracy.engine)), graded.get((twin or "", accuracy.engine))
    if twin is None or mine is None or theirs is None:
        return accuracy
    flips = paired_flips(theirs, mine)
    return replace(
        accuracy,
        against=Against(
            model=twin,
            to_level1=len(flips.to_level1),
            to_level2=len(flips.to_level2),
            largest_difference=flips.largest_difference,
            accuracy=_interval(balanced_accuracy_difference(mine, theirs)),
        ),
    )


def _compare(graded: Graded) -> Iterator[Pair]:
    for (a, engine), (b, other) in combinations(sorted(graded), 2):
        difference = (
            _interval(balanced_accuracy_difference(graded[a, engine], graded[b, other]))
            if engine == other
            else None
        )
        if difference is not None:
            yield Pair(a, b, engine, difference, _verdict(difference))


def _verdict(difference: Sequence[float]) -> Literal["a", "b", "not resolvable"]:
    _, low, high = difference
    if low > 0:
        return "a"
    return "b" if high < 0 else "not resolvable"


def _interval(estimate: Estimate) -> tuple[float, float, float] | None:
    """None where the figure is undefined, because the set has one level only."""
    values = (estimate.value, estimate.low, estimate.high)
    return None if any(map(math.isnan, values)) else values


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
