"""`cxrs-edge evaluate` and `export`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from cxrs_bench.labelled import LabelledSet, in_split, read_labelled
from cxrs_bench.progress import progress
from cxrs_edge.errors import DataError, ModelError
from cxrs_export.verify import PHANTOM_LIMITS, Limits

FILE = click.Path(path_type=Path)


@click.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge evaluate model.keras data/severity\n"
    "  cxrs-edge evaluate cxrs-int8.tflite data/severity --compare cxrs-float32.tflite\n"
    "  cxrs-edge evaluate predictions.csv"
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
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
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
    style: str,
) -> None:
    """Judge SOURCE on the labelled set DATA: the paper's Tables 3 and 4, with 95 % intervals.

    SOURCE is a Keras model, an exported .tflite or .onnx file, or a CSV of predictions (then DATA isn't
    needed). Intervals resample patients, with all their images.
    """
    from cxrs_bench.evaluation import evaluate as judge
    from cxrs_bench.evaluation import paired_flips, render_flips, render_text
    from cxrs_bench.predictions import read_predictions, write_predictions
    from cxrs_export.grading import predict_labelled

    rows = () if data is None else _rows_to_judge(data, images, split, basis)

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
    flips = None if other is None else paired_flips(found, predict(other))
    if style == "json":
        values = evaluation.to_json()
        if flips is not None:
            values["paired_flips"] = asdict(flips)
        click.echo(json.dumps(values, indent=1))
        return
    click.echo(render_text(evaluation, str(source)))
    if flips is not None:
        click.echo(render_flips(flips, f"{source} against {other}"))


def _rows_to_judge(data: Path, images: Path | None, split: str, basis: str | None) -> LabelledSet:
    rows = in_split(read_labelled(data, images=images), split, levels=(1, 2))
    chosen = tuple(row for row in rows if basis in (None, row.basis))
    if not chosen:
        raise DataError(f"basis {basis!r}: no images; the set has: {sorted({r.basis for r in rows})}")
    return chosen


@click.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge export --quantize\n"
    "  cxrs-edge export runs/first/model.keras -o out --quantize --calibration data/severity"
)
@click.argument("model", type=FILE, required=False)
@click.option("-o", "--output", type=FILE, default=Path("exported"), show_default=True, help="Folder.")
@click.option("--quantize", is_flag=True, help="Write int8 files too.")
@click.option("--calibration", type=FILE, help="Labelled set whose training split calibrates int8.")
@click.option("--images", type=FILE, help="Folder of its images, if not beside the list.")
@click.option("--calibration-images", type=click.IntRange(1), default=100, show_default=True)
@click.option("--verification-images", type=click.IntRange(1), default=100, show_default=True)
@click.option("--name", default="cxrs", show_default=True, help="Of the model; begins the files' names.")
@click.option(
    "--head",
    type=click.Choice(["gap", "flatten"]),
    default="gap",
    show_default=True,
    help="flatten is the published graph: the same function, larger.",
)
@click.option("--accuracy", type=FILE, help="JSON from `evaluate --format json`, for the card.")
@click.option(
    "--max-flips",
    type=click.FloatRange(0, 1),
    help="Share of verification images whose level int8 may change."
    f"  [default: {Limits().int8_flips:g}, on phantoms {PHANTOM_LIMITS.int8_flips:g}]",
)
@click.option(
    "--max-difference",
    type=click.FloatRange(0, 1),
    help="Of any int8 probability."
    f"  [default: {Limits().int8_difference:g}, on phantoms {PHANTOM_LIMITS.int8_difference:g}]",
)
def export(
    model: Path | None,
    output: Path,
    quantize: bool,
    calibration: Path | None,
    images: Path | None,
    calibration_images: int,
    verification_images: int,
    name: str,
    head: Any,
    accuracy: Path | None,
    max_flips: float | None,
    max_difference: float | None,
) -> None:
    """Convert a Keras model to TFLite and ONNX files that carry their card, and verify them.

    Without MODEL: the checkpoint released in the repository. Without --calibration, int8 is calibrated and
    all files are verified on drawn phantoms, which only tell broken files. Every file is compared with the
    Keras model on each installed engine; if one misses the limits, nothing is written and the exit status is 3.
    """
    from cxrs_export.exporting import ExportPlan, export_files
    from cxrs_export.keras_file import load_model
    from cxrs_export.network import has_gap_head, resize_network
    from cxrs_export.representative import labelled_sets, phantom_set
    from cxrs_export.verify import render_checks

    network, provenance = load_model(model or released_checkpoint())
    spec = provenance.input
    if head == "flatten" and has_gap_head(network):
        network = resize_network(network, spec.size, head="flatten")
    if not quantize:
        calibration_images = 0
    with progress() as report:
        if calibration is None:
            work = "calibrating and verifying" if quantize else "verifying"
            click.echo(
                f"{work} on drawn phantoms, which only tell broken files; for a release name --calibration"
            )
            calibrating = phantom_set(spec, calibration_images)
            verifying = phantom_set(spec, verification_images, seed=1)
        else:
            calibrating, verifying = labelled_sets(
                calibration,
                spec,
                images=images,
                calibration=calibration_images,
                verification=verification_images,
                report=report,
            )
        plan = ExportPlan(
            name=name,
            verification=verifying,
            calibration=calibrating if quantize else None,
            limits=_limits(PHANTOM_LIMITS if calibration is None else Limits(), max_flips, max_difference),
            accuracy=None if accuracy is None else _read_json(accuracy),
        )
        checks = export_files(
            network,
            provenance,
            plan,
            output,
            report=report,
            on_checks=lambda checks: click.echo(render_checks(checks)),
        )
    for file in dict.fromkeys(check.file for check in checks):
        click.echo(f"{output / file}: {(output / file).stat().st_size / 1e6:.1f} MB")


def _limits(default: Limits, flips: float | None, difference: float | None) -> Limits:
    given = {"int8_flips": flips, "int8_difference": difference}
    return replace(default, **{key: value for key, value in given.items() if value is not None})


def released_checkpoint() -> Path:
    """The checkpoint in the repository; raises `ModelError` outside of a clone, where there is none."""
    path = Path(__file__).parents[1] / "checkpoints" / "cxrs.keras"
    if not path.is_file():
        raise ModelError(
            "no MODEL named, and the released checkpoint is only in a clone of the repository; "
            "name one, for example: cxrs-edge export runs/first/model.keras"
        )
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes(), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: can't be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: got {type(values).__name__}; expected a JSON object")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
