"""Why out-of-fold figures and the test split's differ: the same question to a method that learned nothing.

    python bench/test_gap.py cxrs_edge/models/cxrs/cxrs-int8.tflite data/severity --out-of-fold runs/crossval-480

Beside the network: of thumbnails, the share of level 2 among the NEIGHBOURS training films of other patients (and,
out of fold, other folds) that correlate most. Where it falls from folds to test as well, the films differ, not the
network alone. Both are also judged on the films whose level 2 is mild, of which the test split has more, and on pairs
of films of one patient: whether a patient who gets worse is followed, wherever the level's limit lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from PIL import Image

from cxrs_bench.calibration import level2_probability
from cxrs_bench.labelled import LabelledImage, LabelledSet, in_split, read_labelled
from cxrs_bench.metrics import FloatArray, auc
from cxrs_bench.resampling import patient_interval
from cxrs_bench.severity_predictions import read_severity_predictions
from cxrs_edge import Grader

SIDE, NEIGHBOURS = 32, 5
MILD = 6.0
"""Geographic extent up to which a level 2 is mild here; the scale ends at 8."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--out-of-fold", type=click.Path(path_type=Path, exists=True), required=True)
def main(model: Path, data: Path, out_of_fold: Path) -> None:
    """Print AUCs of level 1 against 2, out of fold and on the test split of DATA, with 95 % intervals."""
    rows = in_split(read_labelled(data), "all", levels=(1, 2))
    found = {
        prediction.image_id: prediction.margin
        for file in sorted(out_of_fold.glob("fold-*/held-out.csv"))
        for prediction in read_severity_predictions(file)
    }
    train = tuple(row for row in rows if row.split == "train" and row.image_id in found)
    test = in_split(rows, "test")
    network = {
        "out of fold": level2_probability(np.array([found[row.image_id] for row in train]), 1.0),
        "test": _graded(model, test),
    }
    click.echo("| films | images | network | thumbnails |\n|---|---:|---|---|")
    for name, films in (("out of fold", train), ("test", test)):
        scores = (network[name], _by_neighbours(films, train))
        for words, limit in (("", np.inf), (f", level 2 up to an extent of {MILD:g}", MILD)):
            kept = np.flatnonzero([_within(row, limit) for row in films])
            cells = " | ".join(_area([films[n] for n in kept], score[kept]) for score in scores)
            click.echo(f"| {name}{words} | {len(kept)} | {cells} |")
        cells = " | ".join(_area_within_patients(films, score) for score in scores)
        click.echo(f"| {name}, pairs of films of one patient | {_with_both_levels(films)} | {cells} |")
    for name, films in (("train", train), ("test", test)):
        extents = [row.readings.geographic for row in films if row.level == 2]
        quarters = np.nanquantile(extents, [0.25, 0.5, 0.75])
        click.echo(
            f"geographic extent of level 2, {name}: quartiles " + ", ".join(f"{q:.1f}" for q in quarters)
        )


def _graded(model: Path, films: LabelledSet) -> FloatArray:
    grader = Grader.open(model, gated=False)
    found = [grader.grade(row.path).probabilities for row in films]
    return np.array([p["level2"] / (p["level1"] + p["level2"]) for p in found])


def _by_neighbours(films: LabelledSet, train: LabelledSet) -> FloatArray:
    known, levels = np.stack([_thumbnail(row) for row in train]), np.array([row.level for row in train])
    scores = []
    for row in films:
        others = np.flatnonzero([_elsewhere(row, other) for other in train])
        nearest = others[np.argsort(known[others] @ _thumbnail(row))[-NEIGHBOURS:]]
        scores.append(float((levels[nearest] == 2).mean()))
    return np.array(scores)


def _thumbnail(row: LabelledImage) -> FloatArray:
    """Gray values of mean 0 and norm 1: products of two are correlations."""
    with Image.open(row.path) as image:
        small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = np.asarray(small, np.float64).ravel()
    values -= values.mean()
    return np.asarray(values / np.linalg.norm(values))


def _elsewhere(row: LabelledImage, other: LabelledImage) -> bool:
    return other.patient != row.patient and (row.split == "test" or other.fold != row.fold)


def _within(row: LabelledImage, limit: float) -> bool:
    return row.level == 1 or np.isinf(limit) or row.readings.geographic <= limit


def _area(films: Sequence[LabelledImage], scores: FloatArray) -> str:
    levels = np.array([row.level for row in films])
    found = patient_interval(lambda i: float(auc(levels[i], scores[i])), [row.patient for row in films])
    return f"{found.value:.3f} ({found.low:.2f} to {found.high:.2f})"


def _with_both_levels(films: Sequence[LabelledImage]) -> int:
    patients = {level: {row.patient for row in films if row.level == level} for level in (1, 2)}
    return sum(row.patient in patients[1] & patients[2] for row in films)


def _area_within_patients(films: Sequence[LabelledImage], scores: FloatArray) -> str:
    """The share of pairs of one patient's films in which level 2 has the higher score; ties count a half."""
    pairs: dict[str, list[float]] = {}
    for two, high in zip(films, scores, strict=True):
        for one, low in zip(films, scores, strict=True):
            if two.patient == one.patient and (two.level, one.level) == (2, 1):
                pairs.setdefault(two.patient, []).append(float(high > low) + 0.5 * float(high == low))
    values, patients = [v for p in pairs.values() for v in p], [p for p, v in pairs.items() for _ in v]
    found = patient_interval(lambda i: float(np.mean(np.array(values)[i])), patients)
    return f"{found.value:.3f} ({found.low:.2f} to {found.high:.2f}), {len(pairs)} patients"


if __name__ == "__main__":
    main()
