"""`cxrs-edge selftest`."""

from __future__ import annotations

import json
from typing import Literal

import click

from cxrs_edge.engines.registry import ENGINES
from cxrs_edge.engines.threads import MAX_THREADS


@click.command()
@click.option(
    "--engine",
    type=click.Choice([entry.name for entry in ENGINES]),
    help="Check this one only; by default every installed one.",
)
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1, MAX_THREADS),
    help="Threads to compute with; by default one for each physical core.",
)
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

    Grades a few drawn phantoms on each installed engine and compares: levels that flip, the largest difference
    of a probability, and the time of an inference (median). Exit status 3 if an engine answers otherwise.

    \b
    Examples:
      cxrs-edge selftest
      cxrs-edge selftest --engine openvino --threads 1 --format json
    """
    from cxrs_edge.selftest import (
        check_engines,
        entries_to_check,
        read_golden,
        render_check,
        require_ok,
        to_json,
    )

    golden = read_golden()
    checks = []
    for check in check_engines(golden, entries_to_check(engine), threads):
        checks.append(check)
        if style == "text":
            click.echo(render_check(check))
    if style == "json":
        click.echo(json.dumps(to_json(checks, golden), allow_nan=False))
    require_ok(checks)
