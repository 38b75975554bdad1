"""`cxrs-edge evaluate --evidence`: does the evidence show what drives the decision?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np

from cxrs_bench.labelled import LabelledSet
from cxrs_bench.progress import progress
from cxrs_edge.errors import DataError

if TYPE_CHECKING:
    from cxrs_edge.grader import Grader

Command = TypeVar("Command", bound=Callable[..., Any])
METHODS = ("evidence", "Grad-CAM", "occlusion", "LIME", "SHAP", "random", "centre")
FILE = click.Path(path_type=Path)


def evidence_options(command: Command) -> Command:
    """The options of `evaluate` that belong to --evidence."""
    options = (
        click.option(
            "--evidence",
            "records",
            metavar="JSONL",
            type=FILE,
            help="Judge the evidence: what removing it does, beside other methods. Records of images go to this "
            "file; interrupted, the same command goes on.",
        ),
        click.option(
            "--float-model",
            metavar="KERAS",
            type=FILE,
            help="With --evidence: the float network, for Grad-CAM, int8 against float, and randomised weights.",
        ),
        click.option(
            "--method",
            "methods",
            type=click.Choice(METHODS),
            multiple=True,
            help="With --evidence: only these, and the evidence itself.  [default: all]",
        ),
        click.option(
            "--samples",
            type=click.IntRange(10),
            default=200,
            show_default=True,
            help="With --evidence: inferences an image for each of LIME and SHAP.",
        ),
        click.option(
            "--steps",
            type=click.IntRange(0),
            default=10,
            show_default=True,
            help="With --evidence: of the deletion and insertion curves; 0 leaves them out.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(1),
            help="With --evidence or --marks: this many images, drawn by --seed.  [default: all]",
        ),
        click.option(
            "--marks",
            is_flag=True,
            help="Bias audit: how often do pasted markers, letters and borders change an exported SOURCE's level?",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def evaluate_evidence(
    source: Path,
    rows: LabelledSet,
    engine: str,
    threads: int | None,
    *,
    records: Path,
    float_model: Path | None,
    methods: tuple[str, ...],
    samples: int,
    steps: int,
    limit: int | None,
    resamples: int,
    seed: int,
) -> None:
    """Measure what isn't measured yet, and print the tables."""
    from cxrs_bench.evidence.measure import Settings, measure_all
    from cxrs_bench.evidence.methods import OURS, cell_methods
    from cxrs_bench.evidence.record import Records
    from cxrs_bench.evidence.table import render_tables
    from cxrs_edge.evidence.factors import check_model

    if float_model is None and "Grad-CAM" in methods:
        raise click.UsageError("--method Grad-CAM needs --float-model, a Keras model")
    grader = _open(source, rows, engine, threads)
    check_model(grader)
    class_maps, other_maps = None, {}
    if float_model is not None:
        from cxrs_export.evidence_maps import class_maps_of, evidence_of, randomised

        class_maps = class_maps_of(float_model)
        other_maps = {
            "float32": evidence_of(float_model),
            "randomised weights": randomised(float_model, seed),
        }
    known = cell_methods(samples, class_maps)
    chosen = {name: method for name, method in known.items() if not methods or name in (*methods, OURS)}
    how = {"model": grader.card.sha256, "engine": grader.engine.name, "methods": list(chosen)}
    kept = Records(records, {**how, "samples": samples, "steps": steps, "other_maps": list(other_maps)})
    some = _draw(rows, limit, seed)
    with progress() as report:
        measure_all(grader, some, Settings(chosen, steps, other_maps), kept, report)
    measured = [image for image in kept.measured if image["image_id"] in {row.image_id for row in some}]
    if not measured:
        raise DataError(f"{source}: none of {len(some)} images has an explanation; see {records}")
    left_out = len(some) - len(measured)
    click.echo(f"{len(some)} images, {left_out} of them left out: rejected, level 0 or without a region.\n")
    click.echo(render_tables(measured, resamples=resamples, seed=seed))


def evaluate_marks(
    source: Path,
    rows: LabelledSet,
    engine: str,
    threads: int | None,
    *,
    limit: int | None,
    resamples: int,
    seed: int,
) -> None:
    """Grade every image with each mark, and print the table."""
    from cxrs_bench.evidence.audit import audit_marks, render_audit

    grader = _open(source, rows, engine, threads)
    with progress() as report:
        marked = audit_marks(grader, _draw(rows, limit, seed), report)
    click.echo(render_audit(marked, resamples=resamples, seed=seed))


def _open(source: Path, rows: LabelledSet, engine: str, threads: int | None) -> Grader:
    from cxrs_edge.cli_options import open_grader

    if not rows or source.suffix not in (".tflite", ".onnx"):
        raise click.UsageError(
            "--evidence and --marks need an exported .tflite or .onnx file and DATA, a labelled set"
        )
    return open_grader(str(source), engine, threads)


def _draw(rows: LabelledSet, limit: int | None, seed: int) -> LabelledSet:
    """In an order drawn by the seed, so that more images only add to fewer."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return tuple(rows[number] for number in order[:limit])
