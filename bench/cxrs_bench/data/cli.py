"""`cxrs-edge data`: the group and its commands."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cxrs_bench.progress import progress
from cxrs_edge.errors import DataError
from cxrs_edge.extras import import_extra
from cxrs_edge.files import write_atomically

FILE = click.Path(path_type=Path)
FOUND_OVERLAP = 5
"""Exit status of `audit --fail-on-overlap`; 1 to 4 mean other things everywhere in cxrs-edge."""


@click.group()
def data() -> None:
    """Prepare, describe and audit data sets of labelled chest X-rays."""


@data.command(
    short_help="What lists share: images, patients, near-duplicates.",
    epilog="\b\nExamples:\n"
    "  cxrs-edge data audit test_COVIDxSev.txt train_COVIDx8B.txt\n"
    "  cxrs-edge data audit data/severity data/pretrain --pairs shared.csv --fail-on-overlap",
)
@click.argument("lists", metavar="LIST...", nargs=-1, required=True, type=FILE)
@click.option("--images", multiple=True, type=FILE, help="Folder where the lists' files are; repeatable.")
@click.option(
    "--near-duplicates/--no-near-duplicates",
    default=True,
    show_default=True,
    help="Compare the pixels of those images that are there.",
)
@click.option("--pairs", type=FILE, help="Write each shared image, patient and near-duplicate to this CSV.")
@click.option(
    "--fail-on-overlap", is_flag=True, help=f"End with exit status {FOUND_OVERLAP} if anything is shared."
)
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def audit(
    ctx: click.Context,
    lists: tuple[Path, ...],
    images: tuple[Path, ...],
    near_duplicates: bool,
    pairs: Path | None,
    fail_on_overlap: bool,
    style: str,
) -> None:
    """Tell which images, patients and near-duplicates two or more LISTs share.

    A LIST is a COVIDx text list (.txt or .txt.gz), a CSV with a column image_id, a folder with labels.csv, whose
    splits are lists of their own, or any folder of images.
    """
    from cxrs_bench.data.audit import find_overlaps, pairs_csv, render_overlap, to_json
    from cxrs_bench.data.listed import read_lists
    from cxrs_bench.data.near_duplicates import look_at_all

    read = [one for path in lists for one in read_lists(path, images)]
    if len(read) < 2:
        raise click.UsageError(f"{lists[0]}: one list; expected two or more, or a labels.csv with splits")
    entries = [entry for one in read for entry in one.entries]
    paths = sorted({entry.path for entry in entries if entry.path}) if near_duplicates else []
    with progress() as report:
        looks, errors = look_at_all(paths, report)
    overlaps = find_overlaps(read, looks)
    for error in errors.values():
        click.echo(f"{error}; not compared", err=True)
    if near_duplicates:
        compared = sum(entry.path in looks for entry in entries)
        where = "" if paths else "; --images names the folder where they are"
        click.echo(f"Pixels compared of {compared} of {len(entries)} images{where}.", err=True)
    for overlap in overlaps:
        click.echo(json.dumps(to_json(overlap)) if style == "json" else render_overlap(overlap))
    if pairs is not None:
        _write(pairs, pairs_csv(overlaps).encode())
    if fail_on_overlap and any(list(overlap) for overlap in overlaps):
        ctx.exit(FOUND_OVERLAP)


@data.command(
    short_help="Who is in a set: age, sex, view, level.",
    epilog="\b\nExamples:\n"
    "  cxrs-edge data describe data/severity\n"
    "  cxrs-edge data describe data/severity --by level --csv table1.csv --plot table1.svg",
)
@click.argument("labelled", metavar="DATA", type=FILE)
@click.option(
    "--by",
    type=click.Choice(["split", "level", "source", "none"]),
    default="split",
    show_default=True,
    help="One more column for each of these.",
)
@click.option("--csv", "table", type=FILE, help="Write every figure to this CSV.")
@click.option("--plot", "picture", type=FILE, help="Draw the shares: .png, .svg or .pdf.")
def describe(labelled: Path, by: str, table: Path | None, picture: Path | None) -> None:
    """Describe the people and films of DATA, as the paper's Table 1 does: age and sex of the patients, view and
    level of the images.

    DATA is a folder with labels.csv (columns age, sex, view where known) or a COVIDxSev .txt list.
    """
    from cxrs_bench.data.demographics import plot, render_table, summarize, to_csv
    from cxrs_bench.labelled import read_labelled

    summaries = summarize(read_labelled(labelled), by=None if by == "none" else by)
    if table is not None:
        _write(table, to_csv(summaries).encode())
    if picture is not None:
        _write(picture, plot(summaries, picture.suffix.lstrip(".")))
    click.echo(render_table(summaries))


@data.command(
    short_help="The paper's data set, of a RICORD-1C download.",
    epilog="\b\nExample:\n"
    "  cxrs-edge data ricord downloads/MIDRC-RICORD-1C -o data/ricord --lists COVID-Net \\\n"
    "    --clinical 'MIDRC-RICORD-1c Clinical Data Jan 13 2021 .xlsx' \\\n"
    "    --annotations 1c_mdai_rsna_project_annotations_labelgroup_all.json",
)
@click.argument("download", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the set.")
@click.option("--clinical", type=FILE, required=True, help="The collection's clinical spreadsheet, .xlsx.")
@click.option("--annotations", type=FILE, required=True, help="The collection's MD.ai annotations, .json.")
@click.option(
    "--lists",
    type=FILE,
    required=True,
    help="A clone of github lindawangg/COVID-Net, or a folder with its lists of usable and of test images.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def ricord(
    download: Path, output: Path, clinical: Path, annotations: Path, lists: Path, workers: int | None
) -> None:
    """Make the paper's data set of a RICORD-1C DOWNLOAD: images, labels.csv and COVIDxSev train and test lists.

    Interrupted? The same command goes on where it stopped. excluded.csv says of each other image why it was left
    out. Then: cxrs-edge train data/ricord -o runs/paper
    """
    import_extra("pydicom", "data")
    from cxrs_bench.data.ricord.annotations import read_gradings
    from cxrs_bench.data.ricord.build import build
    from cxrs_bench.data.ricord.clinical import read_studies
    from cxrs_bench.data.ricord.counts import render_counts
    from cxrs_bench.data.ricord.plan import make_plan
    from cxrs_bench.data.ricord.published import read_published

    plan = make_plan(download, read_studies(clinical), read_gradings(annotations), read_published(lists))
    with progress() as report:
        built = build(plan, output, report, workers)
    click.echo(render_counts(built))


@data.command(
    short_help="A set with severity levels, of public collections.",
    epilog="\b\nExample:\n"
    "  git clone https://github.com/BrixIA/Brixia-score-COVID-19 clones/Brixia-score-COVID-19\n"
    "  cxrs-edge data severity clones -o data/severity",
)
@click.argument("clones", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the set.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")
def severity(clones: Path, output: Path, seed: int) -> None:
    """Make a set with severity levels of the public collections in CLONES, a folder of git clones.

    Used are those that are there of: BrixIA/Brixia-score-COVID-19, lindawangg/COVID-Net (one of these two is
    needed: they hold the scores), ieee8023/covid-chestxray-dataset, ml-workgroup/covid-19-image-repository,
    agchung/Figure1-COVID-chestxray-dataset and agchung/Actualmed-COVID-chestxray-dataset.
    """
    from cxrs_bench.data.severity.build import build
    from cxrs_bench.data.severity.clones import missing
    from cxrs_bench.data.severity.films import read_films
    from cxrs_bench.data.severity.rows import render_counts

    films = read_films(clones)
    with progress() as report:
        built = build(films, output, report, seed)
    click.echo(render_counts(built.rows, built.exclusions, missing(clones)))


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise DataError(f"{path}: can't be written: {error.strerror or error}") from error
