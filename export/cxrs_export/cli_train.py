"""`cxrs-edge pretrain` and `train`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from cxrs_bench.findings import read_findings, without_patients
from cxrs_bench.labelled import LabelledSet, in_split, read_labelled, without_no_derivatives
from cxrs_bench.normals import normals
from cxrs_bench.progress import progress
from cxrs_edge.errors import DataError
from cxrs_edge.extras import import_extra
from cxrs_export.augment import Augmentation
from cxrs_export.backbones import NETWORKS
from cxrs_export.disguise import Disguise
from cxrs_export.run_folder import EpochResult, read_history
from cxrs_export.train_config import SCHEDULES, TrainConfig, read_config

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
RECIPE_OPTIONS = (
    click.option("-o", "--output", "run", type=FILE, required=True, help="Folder of the run."),
    click.option("--images", type=FILE, help="Folder of the images, if not beside the list."),
    click.option("--config", "config_file", type=FILE, help="TOML file; options override it."),
    click.option("--init", type=FILE, help="Keras model whose weights the run starts from."),
    click.option("--network", type=click.Choice(NETWORKS), help="[default: cxrs]"),
    click.option("--size", type=int, help="Input pixels a side.  [default: 480]"),
    click.option("--channels", type=int, help="Input channels, 1 or 3.  [default: 3]"),
    click.option("--crop-top", type=float, help="Share cut off at the top.  [default: 0.08]"),
    click.option("--epochs", type=int, help="[default: 137]"),
    click.option("--batch", type=int, help="Images a step.  [default: 50]"),
    click.option("--learning-rate", type=float, help="Adam's.  [default: 0.0001]"),
    click.option("--schedule", type=click.Choice(SCHEDULES), help="[default: constant]"),
    click.option("--seed", type=int, help="[default: 0]"),
    click.option("--translate", type=float, help="Largest shift, share of the side.  [default: 0.1]"),
    click.option("--rotate", type=float, help="Largest rotation, degrees.  [default: 10]"),
    click.option("--flip/--no-flip", default=None, help="Mirror half of the images.  [default: flip]"),
    click.option("--zoom", type=float, help="Largest change of scale.  [default: 0.15]"),
    click.option("--intensity", type=float, help="Largest change of gray values.  [default: 0.1]"),
    click.option("--stretch", type=float, help="Largest change of width against height.  [default: 0]"),
    click.option("--gamma", type=float, help="Largest change of the tone curve.  [default: 0]"),
    click.option("--contrast", type=float, help="Largest change of contrast.  [default: 0]"),
    click.option("--border", type=float, help="Largest masked border, share of the side.  [default: 0]"),
    click.option("--blur", type=float, help="Largest loss of resolution.  [default: 0]"),
)


def recipe_options(command: F) -> F:
    """The options that `pretrain` and `train` share."""
    for option in reversed(RECIPE_OPTIONS):
        command = option(command)
    return command


@click.command(
    epilog="\b\nExample:\n"
    "  cxrs-edge pretrain data/pretrain -o runs/p128 --config export/recipes/pretrain-128.toml "
    "--without data/severity"
)
@click.argument("data", type=FILE)
@click.option(
    "--without",
    type=FILE,
    multiple=True,
    help="Labelled set whose patients are left out: those whom the network is trained for and judged on.",
)
@recipe_options
def pretrain(
    data: Path,
    without: tuple[Path, ...],
    run: Path,
    images: Path | None,
    config_file: Path | None,
    init: Path | None,
    **options: Any,
) -> None:
    """Pretrain the network on the findings of DATA; `cxrs-edge train --init` goes on from there.

    DATA is a folder with labels.csv (image_id, source, patient_id, label, split: train or val) and images/.
    An image's finding is told only from those that occur in its source. Resolution is raised by a second run
    with another --size and --init. Killed? The same command goes on after the last finished epoch.
    """
    from cxrs_export.pretraining import pretrain as pretrain_network

    config = configure(config_file, options)
    everything = read_findings(data, images=images)
    rows = without_patients(everything, [row for other in without for row in read_labelled(other)])
    if len(rows) < len(everything):
        click.echo(f"{len(everything) - len(rows)} images left out: their patients are in another set")
    # Before the progress bar, whose extra alone would not do.
    import_extra("keras", "export")
    with progress() as report:
        model = pretrain_network(
            rows, config, run, init=init, report=report, on_epoch=_tell(run, config, "mean recall")
        )
    click.echo(f"{model}: pretrained on {sum(row.split == 'train' for row in rows)} images")


@click.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge train data/severity -o runs/first --size 320 --epochs 60\n"
    "  cxrs-edge train data/ricord -o runs/paper --preset paper"
)
@click.argument("data", type=FILE)
@click.option("--split", default="train", show_default=True, help="Which split to train on.")
@click.option(
    "--preset",
    type=click.Choice(["paper"]),
    help="Exactly the published protocol: no recipe option may change it.",
)
@click.option("--fold", type=int, help="Fold held out for validation, -1 for none.  [default: -1]")
@click.option(
    "--normals",
    "normals_set",
    type=FILE,
    help="Set of findings, as for pretrain, whose normal films teach what no opacity is; wanted by a recipe with "
    "normals in [tasks].",
)
@recipe_options
def train(
    data: Path,
    split: str,
    preset: str | None,
    normals_set: Path | None,
    run: Path,
    images: Path | None,
    config_file: Path | None,
    init: Path | None,
    **options: Any,
) -> None:
    """Train COVID-Net CXR-S on DATA, by the paper's protocol unless told otherwise.

    DATA is a folder with labels.csv and images/, or a COVIDxSev .txt list or a folder of them (with --images if
    they are elsewhere). Only levels 1 and 2 are used, equally many in a batch; with the table [tasks] in --config
    zones and extents are learned too, where DATA has them, and level 0 is used. Killed or interrupted? The same
    command goes on after the last finished epoch.
    """
    from cxrs_export.training import train as train_network

    if preset is not None:
        _refuse_changes({**options, "config": config_file, "normals": normals_set})
    config = configure(config_file, options)
    levels = (0, 1, 2) if config.several_tasks else (1, 2)
    everything = read_labelled(data, images=images)
    labelled = in_split(everything, split, levels=levels)
    rows = without_no_derivatives(labelled)
    if len(rows) < len(labelled):
        click.echo(f"{len(labelled) - len(rows)} images left out: their licence forbids derivatives")
    without_finding = read_normals(normals_set, everything)
    import_extra("keras", "export")
    with progress() as report:
        model = train_network(
            rows,
            config,
            run,
            normals=without_finding,
            init=init,
            report=report,
            on_epoch=_tell(run, config, "accuracy"),
        )
    held_out = sum(0 <= config.fold == row.fold for row in rows)
    done = f"{model}: trained on {len(rows) - held_out} images of split {split}, {held_out} held out"
    click.echo(done + (f", and {len(without_finding)} normal ones" if without_finding else ""))


def read_normals(findings: Path | None, labelled: LabelledSet) -> LabelledSet:
    """The normal films to train on beside a labelled set, none of them of its patients, whatever their split."""
    if findings is None:
        return ()
    films = read_findings(findings)
    found = normals(without_patients(films, labelled), "train")
    if not found:
        raise DataError(
            f"{findings}: of {len(films)} films, {len(normals(films, 'train'))} are normal ones of grown-ups in "
            "split train, and none of these is of a patient who isn't in the labelled set too; expected at least one"
        )
    return found


def configure(config_file: Path | None, options: dict[str, Any]) -> TrainConfig:
    """The recipe of a file, or the defaults, with the options that were given."""
    config = read_config(config_file) if config_file else TrainConfig()
    given = {key: value for key, value in options.items() if value is not None}
    tables: dict[str, Any] = {}
    for table, kind in (("augmentation", Augmentation), ("disguise", Disguise)):
        ranges = {field.name: given.pop(field.name) for field in fields(kind) if field.name in given}
        tables[table] = replace(getattr(config, table), **ranges)
    return replace(config, **given, **tables)


def _refuse_changes(options: dict[str, Any]) -> None:
    """The paper says nothing of the seed and of folds; everything else would be another protocol."""
    changed = [key for key, value in options.items() if value is not None and key not in ("seed", "fold")]
    if changed:
        names = ", ".join(f"--{key.replace('_', '-')}" for key in changed)
        raise click.UsageError(f"--preset paper with {names}: leave out the preset to change its protocol")


def _tell(run: Path, config: TrainConfig, figure: str) -> Callable[[EpochResult], None]:
    from cxrs_export.learning_curves import plot_history

    def on_epoch(result: EpochResult) -> None:
        plot_history(read_history(run), run / "curves.png")
        click.echo(_epoch_line(result, config.epochs, figure))

    return on_epoch


def _epoch_line(result: EpochResult, epochs: int, figure: str) -> str:
    line = f"epoch {result.epoch}/{epochs}  loss {result.loss:.4f}"
    if not math.isnan(result.accuracy):
        line += f"  accuracy {result.accuracy:.3f}"
    if not math.isnan(result.validation_loss):
        line += f"  held out: loss {result.validation_loss:.4f}  {figure} {result.validation_accuracy:.3f}"
    if not math.isnan(result.validation_auc):
        line += f"  AUC {result.validation_auc:.3f}"
    return line
