"""Record anew what the bundled model files answer: `make golden`. Part of a release, see release_model.py.

python export/release_golden.py --tflite-runtime .venv-tflite-runtime/bin/python
"""

from __future__ import annotations

import click

from cxrs_edge.errors import CxrsError
from cxrs_export.golden import DRAWN, record_golden

TFLITE_RUNTIME = click.option(
    "--tflite-runtime",
    metavar="PYTHON",
    type=click.Path(exists=True, dir_okay=False),
    default=".venv-tflite-runtime/bin/python",
    show_default=True,
    help="A Python 3.11 that has tflite-runtime and numpy < 2; `make .venv-tflite-runtime/.done` makes one.",
)


@click.command()
@TFLITE_RUNTIME
@click.option(
    "--drawn", type=click.IntRange(6), default=DRAWN, show_default=True, help="Phantoms to choose from."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the phantoms drawn.")
def main(tflite_runtime: str, drawn: int, seed: int) -> None:
    """Draw phantoms, ask every engine's package, and write cxrs_edge/models/cxrs/golden."""
    try:
        record_golden({"tflite_runtime": tflite_runtime}, drawn=drawn, seed=seed, echo=click.echo)
    except CxrsError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
