"""`cxrs-edge phantom`."""

from __future__ import annotations

import io
from pathlib import Path

import click


@click.command(epilog="\b\nExample:\n  cxrs-edge phantom -o phantom.png --zones 0,2,3,0,1,2")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="PNG to write.")
@click.option(
    "--zones",
    default="0,2,3,0,1,2",
    show_default=True,
    help="Opacity 0 to 3 of the right lung's upper, middle, lower zone, then the left lung's.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the anatomy.")
@click.option("--size", type=click.IntRange(64, 4096), default=1024, show_default=True, help="Pixels.")
def phantom(output: Path, zones: str, seed: int, size: int) -> None:
    """Draw a chest phantom: a picture to try things with, no patient's image, and it says so."""
    from PIL import Image

    from cxrs_bench.phantom import Phantom, draw_phantom, phantom_level
    from cxrs_edge.errors import DataError
    from cxrs_edge.files import write_atomically

    try:
        grades = tuple(int(grade) for grade in zones.split(","))
        drawn = Phantom(zones=grades, seed=seed, width=size, height=size)
    except ValueError as error:
        raise click.BadParameter(f"{zones}: {error}", param_hint="--zones") from error
    png = io.BytesIO()
    Image.fromarray(draw_phantom(drawn)).save(png, "PNG", optimize=True)
    try:
        write_atomically(output, png.getvalue())
    except OSError as error:
        raise DataError(f"{output}: can't be written: {error.strerror}; name a file that can") from error
    click.echo(
        f"{output}: drawn with {sum(g > 0 for g in grades)} zones of opacity, level {phantom_level(drawn)}"
    )
