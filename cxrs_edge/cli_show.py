"""`cxrs-edge show`."""

from __future__ import annotations

from pathlib import Path

import click

WRITABLE = "expected a file in a folder that exists and may be written to; name another --output"


@click.command()
@click.argument("image", type=click.Path())
@click.option(
    "-o", "--output", metavar="PNG", type=click.Path(path_type=Path), required=True, help="File to write."
)
@click.option(
    "--model",
    metavar="FILE",
    type=click.Path(),
    help="The model whose input to show, instead of the bundled one.",
)
def show(image: str, output: Path, model: str | None) -> None:
    """Write what the network sees of an X-ray, to check a new X-ray machine's files.

    The picture holds the square that the network gets, at its resolution, and how it was made: crop, window,
    lookup tables, inversion, bit depth, notes. It holds no name and no other text of the file; text that is
    burnt into the X-ray may still be seen. Nothing is graded.

    \b
    Examples:
      cxrs-edge show scan.dcm -o seen.png
      cxrs-edge show scan.png -o seen.png --model my-model.tflite
    """
    from cxrs_edge.errors import InputError
    from cxrs_edge.files import write_atomically
    from cxrs_edge.grader import bundled_path
    from cxrs_edge.image import read_file, read_image
    from cxrs_edge.intake import enough_memory
    from cxrs_edge.model_file import read_model_file
    from cxrs_edge.prepare import pixels_needed
    from cxrs_edge.show import describe, draw_shown

    if output.exists() and Path(image).exists() and output.samefile(image):
        raise click.BadParameter("would replace the X-ray itself; name another file", param_hint="--output")
    card = read_model_file(model or bundled_path("tflite")).card
    with enough_memory(image):
        xray = read_image(read_file(image), name=image, at_least=pixels_needed(card.input))
        png = draw_shown(xray, card)
    try:
        write_atomically(output, png)
    except OSError as error:
        raise InputError(f"{output}: can't be written: {error.strerror}; {WRITABLE}") from error
    click.echo("\n".join(describe(xray, card)))
