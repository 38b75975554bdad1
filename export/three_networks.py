"""Accuracy of CXR-S, ResNet-50 and CheXNet, trained alike; docs/three-networks.md says how and what came of it.

    python export/three_networks.py data/severity data/pretrain

Killed? The same command goes on after the last finished epoch; finished stages stay. On several cores, a process for
each --network is faster; the last command, without --network, finds all trained and writes the figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from cxrs_bench.findings import read_findings, without_patients
from cxrs_bench.labelled import in_split, read_labelled, without_no_derivatives
from cxrs_bench.progress import progress
from cxrs_edge.files import write_atomically
from cxrs_export.backbones import NETWORKS, NetworkName
from cxrs_export.run_folder import EpochResult
from cxrs_export.three_networks import Protocol, comparison, render_comparison, train_network
from cxrs_export.train_config import read_config

RECIPES = Path(__file__).parent / "recipes" / "three-networks"
FIGURES = Path(__file__).parents[1] / "docs" / "bench" / "three-networks.json"
FILE, NEW = click.Path(path_type=Path, exists=True), click.Path(path_type=Path)


@click.command()
@click.argument("data", type=FILE)
@click.argument("pretrain_data", type=FILE)
@click.option("-o", "--output", "run", type=NEW, default=Path("runs/three-networks"), show_default=True)
@click.option(
    "--json", "target", type=NEW, help="File of the figures.  [default: docs/bench/three-networks.json]"
)
@click.option("--recipes", type=FILE, default=RECIPES, help="Folder with pretrain.toml and tune.toml.")
@click.option(
    "--network",
    "only",
    type=click.Choice(NETWORKS),
    multiple=True,
    help="Train this one only, and write no figures without --json; may be repeated.",
)
def main(
    data: Path,
    pretrain_data: Path,
    run: Path,
    target: Path | None,
    recipes: Path,
    only: tuple[NetworkName, ...],
) -> None:
    """Train the three networks alike on PRETRAIN_DATA, then on folds of DATA, and compare what they grade."""
    labelled = read_labelled(data)
    protocol = Protocol(
        pretraining=read_config(recipes / "pretrain.toml"),
        tuning=read_config(recipes / "tune.toml"),
        findings=without_patients(read_findings(pretrain_data), labelled),
        rows=without_no_derivatives(in_split(labelled, "train")),
    )
    trained = {}
    with progress() as report:
        for network in only or NETWORKS:
            trained[network] = train_network(
                network, protocol, run / network, report=report, on_epoch=_tell(network)
            )
    if target is None and not only:
        target = FIGURES
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        found = comparison(trained, protocol)
        text = json.dumps(found, indent=1, allow_nan=False)
        write_atomically(target, f"{text}\n".encode())
        click.echo(f"{render_comparison(found)}\n\n{target}")


def _tell(network: str) -> Callable[[str, EpochResult], None]:
    def tell(stage: str, result: EpochResult) -> None:
        held_out = f"held out: loss {result.validation_loss:.4f}  accuracy {result.validation_accuracy:.3f}"
        click.echo(f"{network}  {stage}  epoch {result.epoch}  loss {result.loss:.4f}  {held_out}")

    return tell


if __name__ == "__main__":
    main()
