"""`cxrs-edge crossval`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from cxrs_bench.labelled import in_split, read_labelled, without_no_derivatives
from cxrs_bench.progress import progress
from cxrs_edge.extras import import_extra
from cxrs_edge.files import write_atomically
from cxrs_export.cli_train import read_normals
from cxrs_export.run_folder import EpochResult
from cxrs_export.train_config import read_config

FILE = click.Path(path_type=Path)


@click.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge crossval data/severity -o runs/cv-320 --config export/recipes/cxrs-320.toml --normals data/pretrain "
    "--init runs/pretrain-192/model.keras\n"
    "  cxrs-edge crossval data/severity -o runs/cv-480 --config export/recipes/cxrs-480.toml --normals data/pretrain "
    "--init runs/cv-320"
)
@click.argument("data", type=FILE)
@click.option("-o", "--output", "run", type=FILE, required=True, help="Folder of the run.")
@click.option("--config", "config_file", type=FILE, required=True, help="TOML file, the recipe.")
@click.option(
    "--init", type=FILE, help="Keras model, or folder of a cross-validation, that folds start from."
)
@click.option("--images", type=FILE, help="Folder of the images, if not beside the list.")
@click.option("--normals", "normals_set", type=FILE, help="As for train.")
@click.option("--masked", is_flag=True, help="Also judge with the borders masked.")
@click.option("--resamples", type=click.IntRange(100), default=1000, show_default=True)
def crossval(
    data: Path,
    run: Path,
    config_file: Path,
    init: Path | None,
    images: Path | None,
    normals_set: Path | None,
    masked: bool,
    resamples: int,
) -> None:
    """Train the recipe once without each fold of DATA's train split, and judge all on what they did not see.

    Prints the figures as a Markdown table and writes RUN/figures.json, and the numbers that a card gets from them,
    RUN/decision.json, and a picture of how certain it is, RUN/certainty.png. Killed? The same command goes on;
    finished folds stay.
    """
    from cxrs_bench.out_of_fold import cross_fitted, fit_decision
    from cxrs_bench.severity_figures import render_figures, severity_figures
    from cxrs_bench.severity_plots import plot_certainty
    from cxrs_bench.shortcuts import shortcut_margins

    config = read_config(config_file)
    labelled = read_labelled(data, images=images)
    rows = without_no_derivatives(in_split(labelled, "train"))
    normals = read_normals(normals_set, labelled)
    import_extra("keras", "export")
    from cxrs_export.crossval import cross_validate, margins_with_masked_borders

    with progress() as report:
        found = cross_validate(rows, config, run, normals=normals, init=init, report=report, on_epoch=_tell)
    others = {"by source, view and shape alone": shortcut_margins(found.rows)}
    if masked:
        others["by the network with borders masked"] = margins_with_masked_borders(found, run, config)
    printed = cross_fitted(found)
    figures = severity_figures(found, printed, others=others, resamples=resamples)
    click.echo(render_figures(figures))
    write_atomically(run / "figures.json", _json([figure.to_json() for figure in figures]))
    plot_certainty(found, printed, run / "certainty.png")
    write_atomically(run / "decision.json", _json(asdict(fit_decision(found))))


def _tell(fold: int, result: EpochResult) -> None:
    auc = f"  held out: loss {result.validation_loss:.4f}  AUC {result.validation_auc:.3f}"
    click.echo(f"fold {fold}  epoch {result.epoch}  loss {result.loss:.4f}{auc}")


def _json(values: object) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()
