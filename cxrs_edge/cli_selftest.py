"""`cxrs-edge selftest`."""

from __future__ import annotations

import json
from typing import Literal

import click

from cxrs_edge.cli_options import threads_option
from cxrs_edge.engines.registry import ENGINES


@click.command()
@click.option(
    "--engine",
    type=click.Choice([entry.name for entry in ENGINES]),
    help="Check this one only; by default every installed one.",
)
@threads_option
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is one object, with every answer.",
)
def selftest(engine: str | None, threads: int | None, style: Literal["text", "json"]) -> None:
    """Does this machine give the answers that the bundled model was released with?

    Compares, on drawn phantoms that travel with the model: the pixels that reading and resizing make of them, and
    each installed engine's probabilities (levels that flip, the largest difference, the median time). Exit status 4
    if something is not as released.

    \b
    Examples:
      cxrs-edge selftest
      cxrs-edge selftest --engine openvino --threads 1 --format json
    """
    from cxrs_edge.golden import read_golden
    from cxrs_edge.selftest import check_preparation, entries_to_check
    from cxrs_edge.selftest_apart import check_engine_apart
    from cxrs_edge.selftest_report import render_engine, render_preparation, require_ok, to_json

    golden = read_golden()
    entries = entries_to_check(engine)
    preparation = check_preparation(golden)
    if style == "text":
        click.echo(render_preparation(preparation))
    checks = []
    for entry in entries:
        checks.append(check_engine_apart(golden, entry, threads))
        if style == "text":
            click.echo(render_engine(checks[-1]))
    if style == "json":
        click.echo(json.dumps(to_json(golden, preparation, checks), allow_nan=False))
    require_ok(golden, preparation, checks)
