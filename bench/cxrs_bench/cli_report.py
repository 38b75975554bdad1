"""`cxrs-edge bench analyse` and `cxrs-edge bench report`."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(path_type=Path)
STAGES = ("operators", "roofline", "accuracy")


@click.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge bench analyse report.json\n"
    "  cxrs-edge bench analyse report.json --models networks --labels data/severity --stage accuracy"
)
@click.argument("record", metavar="RECORD.json", type=FILE)
@click.option(
    "--models",
    "folder",
    type=FILE,
    help="Folder with the files that were measured.  [default: the bundled model's]",
)
@click.option("--labels", type=FILE, help="Labelled set to judge accuracy on.  [default: latency only]")
@click.option("--images", type=FILE, help="Folder of its images, if not beside the list.")
@click.option("--split", default="test", show_default=True, help="Which split of it, or 'all'.")
@click.option(
    "--stage",
    "stages",
    type=click.Choice(STAGES),
    multiple=True,
    help="Only this one; may be repeated.  [default: all]",
)
@click.option("-o", "--output", type=FILE, help="Write here, not over RECORD.json.")
def analyse(
    record: Path,
    folder: Path | None,
    labels: Path | None,
    images: Path | None,
    split: str,
    stages: tuple[str, ...],
    output: Path | None,
) -> None:
    """Find out why the times of RECORD.json are what they are, and add it to the file.

    On the machine that was measured, and best while it does nothing else: time by operator from each engine's own
    profiler; the peaks of this machine, reached by the engines' own kernels; accuracy on a labelled set beside the
    times; and the paper's claims one by one. Takes some minutes; what a stage found is saved when it ends.
    """
    from cxrs_bench.analysing.analyse import analyse as fill
    from cxrs_bench.labelled import in_split, read_labelled
    from cxrs_bench.progress import progress
    from cxrs_bench.record import read_report, write_report
    from cxrs_edge.grader import BUNDLED

    if labels is None and "accuracy" in stages:
        raise click.UsageError("--stage accuracy needs --labels, the labelled set to judge on")
    report = read_report(record)
    labelled = () if labels is None else in_split(read_labelled(labels, images=images), split, levels=(1, 2))
    target = output or record
    with progress() as tell:
        report = fill(
            report,
            folder or BUNDLED,
            stages=stages or STAGES,
            labelled=labelled,
            data="" if labels is None else f"{labels.name}, split {split}",
            progress=tell,
            after_stage=lambda so_far: write_report(so_far, target),
        )
    write_report(report, target)
    click.echo(f"{target}: {_found(report.analyses)}")


def _found(analyses: object) -> str:
    from cxrs_bench.analyses import Analyses

    assert isinstance(analyses, Analyses)
    missing = [one for one in analyses.operators if one.reason]
    return (
        f"{len(analyses.operators) - len(missing)} operator profiles ({len(missing)} without), "
        f"{len(analyses.roofline.peaks)} peaks, {len(analyses.accuracy)} files judged, {len(analyses.claims)} claims"
    )


@click.command(epilog="\b\nExample:\n  cxrs-edge bench report report.json -o report.html")
@click.argument("record", metavar="RECORD.json", type=FILE)
@click.option(
    "-o", "--output", type=FILE, required=True, help="HTML file to write; its twins get .md and .csv."
)
@click.option(
    "--three-networks",
    "accuracy",
    type=FILE,
    help="JSON with the accuracy of the three networks, trained alike, to show beside.",
)
def report(record: Path, output: Path, accuracy: Path | None) -> None:
    """Show RECORD.json as a page: one HTML file that needs no network, for a desktop and for a phone.

    Beside it a Markdown and a CSV file with the same figures. Sections that `bench analyse` didn't fill are left out.
    """
    from cxrs_bench.record import read_report
    from cxrs_bench.reporting.page import render_page
    from cxrs_bench.reporting.texts import render_csv, render_markdown
    from cxrs_bench.reporting.three_networks import read_three_networks
    from cxrs_edge.errors import DataError
    from cxrs_edge.files import write_atomically

    if output.suffix in (".md", ".csv", ".json"):
        raise click.BadParameter(
            f"{output}: its twins end so; expected a name such as report.html", param_hint="-o"
        )
    found = read_report(record)
    texts = {
        output: render_page(found, None if accuracy is None else read_three_networks(accuracy)),
        output.with_suffix(".md"): render_markdown(found),
        output.with_suffix(".csv"): render_csv(found),
    }
    for path, text in texts.items():
        try:
            # What isn't Unicode, half a surrogate pair in a report from elsewhere, is shown as a question mark.
            write_atomically(path, text.encode("utf-8", "replace"))
        except OSError as error:
            raise DataError(f"{path}: can't be written: {error.strerror}; name a file that can") from error
    click.echo("\n".join(map(str, texts)))
