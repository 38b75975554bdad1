"""`cxrs-edge review`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrs_edge.cli_options import (
    ANY_PATH,
    description,
    engine_option,
    model_option,
    open_grader,
    threads_option,
)

if TYPE_CHECKING:
    from cxrs_edge.review.case import Case

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("paths", metavar="FOLDER...|CSV...", nargs=-1, required=True, type=ANY_PATH)
@click.option(
    "-o", "--output", metavar="HTML", type=FILE, help="Booklet to write, and its .answers.json beside it."
)
@click.option("--names", is_flag=True, help="Show file names in the booklet, else cases only have numbers.")
@model_option
@engine_option
@threads_option
@click.option(
    "--score", "scoring", is_flag=True, help="Compare the readers' CSVs with each other and the network."
)
@click.option("--answers", metavar="JSON", type=FILE, help="With --score: the booklet's .answers.json.")
@click.option(
    "--patients",
    metavar="CSV",
    type=FILE,
    help="With --score: image_id and patient_id of the images, as in labels.csv, to resample patients.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="With --score: Markdown tables, or one object that holds each case's answers too.",
)
@click.option("--resamples", type=click.IntRange(1), default=1000, show_default=True, help="With --score.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="With --score.")
@click.pass_context
def review(
    ctx: click.Context,
    paths: tuple[str, ...],
    output: Path | None,
    names: bool,
    model: str | None,
    engine: str,
    threads: int | None,
    scoring: bool,
    answers: Path | None,
    patients: Path | None,
    style: str,
    resamples: int,
    seed: int,
) -> None:
    """Let radiologists read X-rays blind, then judge the regions that the network went by.

    Makes a booklet: one HTML file that works offline and prints a case a page. A reader marks the affected zones of
    each X-ray; only when these are fixed are the regions shown, and the reader says whether they agree. The reader
    exports a CSV. What the network said is not in the booklet but in a file beside it, to be kept from readers and
    given to --score, which tells Cohen's kappa of readers and network. Cases are in a drawn order, and the
    booklet names no file; text that is burnt into an X-ray may still be seen. Nothing is overwritten.

    \b
    Examples:
      cxrs-edge review xrays/ -o booklet.html
      cxrs-edge review --score anna.csv ben.csv --answers booklet.answers.json
    """
    if scoring:
        if answers is None or output is not None:
            raise click.UsageError(
                "--score needs --answers, the booklet's .answers.json, and takes no --output"
            )
        _score(paths, answers, patients, style, resamples, seed)
        return
    if output is None:
        raise click.UsageError(
            "needs -o, the booklet to write, or --score with CSVs that were exported from one"
        )
    if output.suffix.lower() not in (".html", ".htm"):
        raise click.BadParameter(f"{output}: expected a name such as booklet.html", param_hint="-o")
    ctx.exit(_make(paths, output, names, model, engine, threads))


def _make(
    paths: tuple[str, ...], output: Path, names: bool, model: str | None, engine: str, threads: int | None
) -> int:
    """The exit status: 1 if a file is missing in the booklet."""
    from cxrs_edge.cli_progress import with_progress
    from cxrs_edge.errors import CxrsError, InputError
    from cxrs_edge.evidence.factors import check_model
    from cxrs_edge.grade import Failure
    from cxrs_edge.inputs import find_images
    from cxrs_edge.memory_limit import limit_memory
    from cxrs_edge.render import RESEARCH_USE, printable, render
    from cxrs_edge.review.case import make_case
    from cxrs_edge.review.folder import check_count, open_target

    limit_memory()
    target, inputs = open_target(output), list(find_images(paths))
    check_count(len(inputs))
    grader = open_grader(model, engine, threads)
    check_model(grader)
    click.echo(f"{printable(description(grader))}\n{RESEARCH_USE}", err=True)
    cases: list[Case] = []
    failures = []
    for item in with_progress(inputs, len(inputs)):
        if isinstance(item, Failure):
            failures.append(item)
            continue
        try:
            cases.append(make_case(grader, item))
        except CxrsError as error:
            failures.append(Failure.of(item, error))
    for failure in failures:
        click.echo(render(failure, "text"), err=True)
    if not cases:
        raise InputError(f"{output}: not written: none of {len(inputs)} inputs can be shown")
    booklet = target.save(cases, names=names)
    click.echo(printable(f"{target.booklet}: booklet {booklet}, {len(cases)} cases; give it to readers"))
    click.echo(printable(f"{target.answers}: what the network said; keep it from readers, and for --score"))
    if failures:
        click.echo(f"{len(failures)} of {len(inputs)} inputs are not in it.", err=True)
    return 1 if failures else 0


def _score(
    paths: tuple[str, ...], answers: Path, patients: Path | None, style: str, resamples: int, seed: int
) -> None:
    import json

    from cxrs_bench.review.answers import read_answers
    from cxrs_bench.review.readings import read_readers
    from cxrs_bench.review.report import render_report, report_json, score

    told = read_answers(answers)
    readers = read_readers([Path(path) for path in paths], told)
    report = score(readers, told, patients, resamples=resamples, seed=seed)
    text = json.dumps(report_json(report), allow_nan=False) if style == "json" else render_report(report)
    click.echo(text, nl=style == "json")
