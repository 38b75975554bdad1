"""`cxrs-edge explain`."""

from __future__ import annotations

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
    from cxrs_edge.render import Style


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=ANY_PATH)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=ANY_PATH,
    required=True,
    help="Folder for the pictures and pages; made if missing.",
)
@model_option
@engine_option
@threads_option
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is JSON Lines: the grade, with the regions' polygons in pixels of the original image.",
)
@click.pass_context
def explain(
    ctx: click.Context,
    images: tuple[str, ...],
    output: str,
    model: str | None,
    engine: str,
    threads: int | None,
    style: Style,
) -> None:
    """Show what an X-ray's level comes from, checked by taking it away.

    The regions that speak most for the level, at most three, are each removed from the X-ray in two ways (local blur;
    mean of the ring around it) and the network is asked again. A region is a critical factor if under both the
    level changes or its probability falls to half or less. Each IMAGE, also those in folders, gets a picture, a page
    that opens offline and a JSON file in DIR: NAME.evidence.png, .html, .json. Nothing is overwritten: a used name
    gets a number. What is rejected or has level 0 gets none, and the reason is told.

    \b
    Examples:
      cxrs-edge explain scan.png -o explained
      cxrs-edge explain ward3/ -o explained --format json > explained.jsonl
    """
    from cxrs_edge.evidence.answer import answering
    from cxrs_edge.evidence.folder import ENCODERS
    from cxrs_edge.grade import Failure
    from cxrs_edge.inputs import find_images
    from cxrs_edge.memory_limit import limit_memory
    from cxrs_edge.predicting import attempt_path
    from cxrs_edge.render import RESEARCH_USE, printable, render

    limit_memory()
    grader = open_grader(model, engine, threads)
    answer = answering(grader, style, output, tuple(ENCODERS))
    click.echo(f"{printable(description(grader))}\n{RESEARCH_USE}", err=True)
    inputs, failed = list(find_images(images)), 0
    for item in inputs:
        result = item if isinstance(item, Failure) else attempt_path(answer, item)
        failed += isinstance(result, Failure)
        text = render(result, style) if isinstance(result, Failure) else result
        click.echo(text, err=style == "text" and isinstance(result, Failure))
    if failed:
        click.echo(f"{failed} of {len(inputs)} inputs got no answer.", err=True)
        ctx.exit(1)
