"""`cxrs-edge train` and `evaluate`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from cxrs_bench.labelled import LabelledSet, in_split, read_labelled, without_no_derivatives
from cxrs_bench.progress import progress
from cxrs_edge.errors import DataError
from cxrs_export.train_config import SCHEDULES, TrainConfig, read_config

FILE = click.Path(path_type=Path)
AUGMENTATION_OPTIONS = ("translate", "rotate", "flip", "zoom", "intensity")


@click.command(epilog="\b\nExample:\n  cxrs-edge train data/severity -o runs/first --size 320 --epochs 60")
@click.argument("data", type=FILE)
@click.option("-o", "--output", "run", type=FILE, required=True, help="Folder of the run.")
@click.option("--images", type=FILE, help="Folder of the images, if not beside the list.")
@click.option("--split", default="train", show_default=True, help="Which split to train on.")
@click.option("--config", "config_file", type=FILE, help="TOML file; options override it.")
@click.option("--init", type=FILE, help="Keras model whose weights the run starts from.")
@click.option("--size", type=int, help="Input pixels a side.  [default: 480]")
@click.option("--channels", type=int, help="Input channels, 1 or 3.  [default: 3]")
@click.option("--crop-top", type=float, help="Share cut off at the top.  [default: 0.08]")
@click.option("--epochs", type=int, help="[default: 137]")
@click.option("--batch", type=int, help="Images a step, half of each level.  [default: 50]")
@click.option("--learning-rate", type=float, help="Adam's.  [default: 0.0001]")
@click.option("--schedule", type=click.Choice(SCHEDULES), help="[default: constant]")
@click.option("--seed", type=int, help="[default: 0]")
@click.option("--fold", type=int, help="Fold held out for validation, -1 for none.  [default: -1]")
@click.option("--translate", type=float, help="Largest shift, share of the side.  [default: 0.1]")
@click.option("--rotate", type=float, help="Largest rotation, degrees.  [default: 10]")
@click.option("--flip/--no-flip", default=None, help="Mirror half of the images.  [default: flip]")
@click.option("--zoom", type=float, help="Largest change of scale.  [default: 0.15]")
@click.option("--intensity", type=float, help="Largest change of gray values.  [default: 0.1]")
def train(
    data: Path,
    run: Path,
    images: Path | None,
    split: str,
    config_file: Path | None,
    init: Path | None,
    **options: Any,
) -> None:
    """Train COVID-Net CXR-S on DATA, by the paper's protocol unless told otherwise.

    DATA is a folder with labels.csv and images/, or a COVIDxSev .txt list (with --images). Only levels 1 and 2
    are used. Killed or interrupted? The same command goes on after the last finished epoch.
    """
    from cxrs_export.learning_curves import plot_history
    from cxrs_export.run_folder import EpochResult, read_history
    from cxrs_export.training import train as train_network

    config = _configure(config_file, options)
    labelled = in_split(read_labelled(data, images=images), split, levels=(1, 2))
    rows = without_no_derivatives(labelled)
    if len(rows) < len(labelled):
        click.echo(f"{len(labelled) - len(rows)} images left out: their licence forbids derivatives")
    with progress() as report:

        def on_epoch(result: EpochResult) -> None:
            plot_history(read_history(run), run / "curves.png")
            click.echo(_epoch_line(result, config.epochs))

        model = train_network(rows, config, run, init=init, report=report, on_epoch=on_epoch)
    click.echo(f"{model}: trained on {len(rows)} images of split {split}")


def _configure(config_file: Path | None, options: dict[str, Any]) -> TrainConfig:
    config = read_config(config_file) if config_file else TrainConfig()
    given = {key: value for key, value in options.items() if value is not None}
    ranges = {key: given.pop(key) for key in AUGMENTATION_OPTIONS if key in given}
    return replace(config, **given, augmentation=replace(config.augmentation, **ranges))


def _epoch_line(result: Any, epochs: int) -> str:
    line = f"epoch {result.epoch}/{epochs}  loss {result.loss:.4f}  accuracy {result.accuracy:.3f}"
    if result.validation_loss == result.validation_loss:
        line += (
            f"  held out: loss {result.validation_loss:.4f}  accuracy {result.validation_accuracy:.3f}"
            f"  AUC {result.validation_auc:.3f}"
        )
    return line


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
