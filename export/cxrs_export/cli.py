"""`cxrs-edge evaluate`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cxrs_bench.labelled import LabelledSet, in_split, read_labelled
from cxrs_bench.progress import progress
from cxrs_edge.errors import DataError
from cxrs_export.cli_evidence import evaluate_evidence, evaluate_marks, evidence_options

FILE = click.Path(path_type=Path)


@click.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge evaluate model.keras data/severity\n"
    "  cxrs-edge evaluate cxrs-int8.tflite data/severity --compare cxrs-float32.tflite\n"
    "  cxrs-edge evaluate predictions.csv\n"
    "  cxrs-edge evaluate cxrs-int8.tflite data/severity --evidence records.jsonl --float-model cxrs.keras"
)
@click.argument("source", type=FILE)
@click.argument("data", type=FILE, required=False)
@click.option("--images", type=FILE, help="Folder of the images, if not beside the list.")
@click.option("--split", default="test", show_default=True, help="Which split, or 'all'.")
@click.option("--basis", help="Only images whose level has this basis, for example brixia.")
@click.option("--compare", "other", type=FILE, help="A second model or CSV: paired level flips.")
@click.option("--engine", default="auto", show_default=True, help="For exported files.")
@click.option("--threads", type=click.IntRange(1), help="[default: physical cores]")
@click.option("--resamples", type=click.IntRange(100), default=2000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resampling.")
@click.option("--predictions", type=FILE, help="Write each image's probability to this CSV.")
@click.option("--published", is_flag=True, help="Print the paper's figures beside the measured ones.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@evidence_options
def evaluate(
    source: Path,
    data: Path | None,
    images: Path | None,
    split: str,
    basis: str | None,
    other: Path | None,
    engine: str,
    threads: int | None,
    resamples: int,
    seed: int,
    predictions: Path | None,
    published: bool,
    style: str,
    **evidence: Any,
) -> None:
    """Judge SOURCE on the labelled set DATA: the paper's Tables 3 and 4, with 95 % intervals.

    SOURCE is a Keras model, an exported .tflite or .onnx file, or a CSV of predictions (then DATA isn't
    needed). Intervals resample patients, with all their images. Every image counts; how many of them the quality gate
    would reject is said beside it.

    With --evidence it judges instead whether the evidence of an exported SOURCE shows what drives its decisions, with
    --marks whether pasted marks change them.
    """
    from cxrs_bench.evaluation import evaluate as judge
    from cxrs_bench.evaluation import paired_flips, render_flips, render_text
    from cxrs_bench.paired import paired_difference, render_difference
    from cxrs_bench.predictions import read_predictions, write_predictions
    from cxrs_bench.published import published_figures, render_published
    from cxrs_export.grading import predict_labelled

    rows = () if data is None else _rows_to_judge(data, images, split, basis)
    marks, records = evidence.pop("marks"), evidence["records"]
    if marks and records is not None:
        raise click.UsageError("--evidence with --marks: two judgements; ask for one at a time")
    if not marks and records is None and evidence["limit"] is not None:
        raise click.UsageError("--limit without --evidence or --marks: the paper's tables are of all images")
    if marks:
        limit = evidence["limit"]
        evaluate_marks(source, rows, engine, threads, limit=limit, resamples=resamples, seed=seed)
        return
    if records is not None:
        evaluate_evidence(source, rows, engine, threads, resamples=resamples, seed=seed, **evidence)
        return

    def predict(file: Path) -> Any:
        if file.suffix == ".csv":
            return read_predictions(file)
        if data is None:
            raise click.UsageError(f"{file}: a model needs DATA, the labelled set to grade")
        with progress() as report:
            return predict_labelled(file, rows, engine=engine, threads=threads, report=report)

    found = predict(source)
    if predictions is not None:
        write_predictions(found, predictions)
    evaluation = judge(found, resamples=resamples, seed=seed)
    gate = None if source.suffix == ".csv" else _gate(rows)
    against = None if other is None else predict(other)
    flips = None if against is None else paired_flips(found, against)
    difference = (
        None if against is None else paired_difference(found, against, resamples=resamples, seed=seed)
    )
    if style == "json":
        values = evaluation.to_json()
        if gate is not None:
            values["gate"] = gate
        if flips is not None:
            values["paired_flips"] = asdict(flips)
        if difference is not None:
            values["paired_difference"] = difference.to_json()
        if published:
            values["published"] = {key: v for key, v in published_figures()._asdict().items() if v == v}
        click.echo(json.dumps(values, indent=1))
        return
    click.echo(render_text(evaluation, str(source)))
    if gate is not None:
        click.echo(_render_gate(gate))
    if published:
        click.echo(render_published(evaluation))
    if flips is not None:
        click.echo(render_flips(flips, f"{source} against {other}"))
    if difference is not None:
        click.echo(render_difference(difference))


def _gate(rows: LabelledSet) -> dict[str, Any]:
    """Which images predicting would reject."""
    from cxrs_bench.gate.measure import judge_file

    return {"images": len(rows), "rejected": [row.image_id for row in rows if judge_file(row.path).rejected]}


def _render_gate(gate: dict[str, Any]) -> str:
    rejected = gate["rejected"]
    count = f"The quality gate would reject {len(rejected)} of {gate['images']} images; every figure counts them all."
    return "\n".join([count, *(f"  {name}" for name in rejected), ""])


def _rows_to_judge(data: Path, images: Path | None, split: str, basis: str | None) -> LabelledSet:
    rows = in_split(read_labelled(data, images=images), split, levels=(1, 2))
    chosen = tuple(row for row in rows if basis in (None, row.basis))
    if not chosen:
        raise DataError(f"basis {basis!r}: no images; the set has: {sorted({r.basis for r in rows})}")
    return chosen
