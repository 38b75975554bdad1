"""`cxrs-edge gate`: the group and its commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from cxrs_bench.progress import progress
from cxrs_edge.errors import DataError
from cxrs_edge.files import write_atomically

FILE = click.Path(path_type=Path)
HELD_OUT = ("val", "test")


@click.group()
def gate() -> None:
    """Measure or fit the quality gate, which tells whether an image is an upright frontal chest X-ray."""


@gate.command(
    short_help="How often the gate is right.",
    epilog="\b\nExample:\n  cxrs-edge gate measure data/pretrain data/severity",
)
@click.argument("data", nargs=-1, type=FILE)
@click.option("--most", type=click.IntRange(1), help="Films of each set and split, at most.  [default: all]")
@click.option("--spoiled", type=click.IntRange(1), help="Held-out films to spoil, at most.  [default: all]")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def measure(
    data: tuple[Path, ...], most: int | None, spoiled: int | None, workers: int | None, style: str
) -> None:
    """Count what the bundled gate rejects: the table of docs/gate.md.

    DATA are folders with labels.csv (image_id, patient_id, split) and images/. All of their films are judged as they
    are; those of the splits val and test also turned, inverted, cut, faded and made small. Judged without any DATA
    are drawn phantoms, made images and the pictures that scikit-image, scikit-learn, matplotlib, PyWavelets and
    pydicom ship, as far as these packages are installed.
    """
    from cxrs_bench.gate.films import at_most, read_films
    from cxrs_bench.gate.measure import measure_films, measure_others, measure_spoiled
    from cxrs_bench.gate.packaged import missing_packages
    from cxrs_bench.gate.table import render_table, to_json
    from cxrs_edge.gate.data import BUNDLED, read_gate

    if missing := missing_packages():
        click.echo(f"Without the pictures of {', '.join(missing)}: not installed.", err=True)
    films = [film for folder in data for film in read_films(folder)]
    held_out = [replace(film, group="held out") for film in films if film.split in HELD_OUT]
    with progress() as report:
        tallies = measure_films(at_most(most, films), report, workers) if films else []
        tallies += measure_spoiled(at_most(spoiled, held_out), report, workers) if held_out else []
        tallies += measure_others(report)
    if style == "json":
        click.echo(json.dumps(to_json(tallies, read_gate(BUNDLED).version), indent=1))
    else:
        click.echo(render_table(tallies))


@gate.command(
    short_help="Fit the gate anew.",
    epilog="\b\nExample:\n"
    "  cxrs-edge gate fit data/pretrain data/severity --pictures photographs -o cxrs_edge/gate/gate.npz",
)
@click.argument("data", nargs=-1, required=True, type=FILE)
@click.option(
    "--pictures", multiple=True, required=True, type=FILE, help="Folder of pictures, no X-rays; repeatable."
)
@click.option("-o", "--output", type=FILE, required=True, help="File to write, .npz.")
def fit(data: tuple[Path, ...], pictures: tuple[Path, ...], output: Path) -> None:
    """Fit the gate's network and limits on the films of the split train in DATA, folders with labels.csv and images/.

    Films of other splits are left for `cxrs-edge gate measure`. Some ten minutes on two cores.
    """
    from cxrs_bench.gate.films import read_films
    from cxrs_edge.gate.data import pack_gate
    from cxrs_export.gate_fitting import Shares, find_pictures, fit_gate
    from cxrs_export.gate_network import GateRecipe

    films = [film for folder in data for film in read_films(folder)]
    with progress() as report:
        fitted = fit_gate(films, find_pictures(pictures), GateRecipe(), Shares(), report)
    content = pack_gate(fitted)
    try:
        write_atomically(output, content)
    except OSError as error:
        raise DataError(f"{output}: can't be written: {error.strerror or error}") from error
    click.echo(f"{output}: {len(content)} bytes, {fitted.limits}")
