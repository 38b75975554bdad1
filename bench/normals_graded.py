"""How many films without a finding a model calls level 0, and how many with pneumonia or COVID-19.

    python bench/normals_graded.py cxrs_edge/models/cxrs/cxrs-int8.tflite data/pretrain

By default the split that nothing was trained on, adults only. Its films come from the sources of the training's
normal films, so that part of what is recognised may be the source: read it beside the level-0 images of the
labelled set.
"""

from __future__ import annotations

from pathlib import Path

import click

from cxrs_bench.findings import read_findings
from cxrs_bench.gate.table import interval
from cxrs_bench.normals import PAEDIATRIC
from cxrs_bench.progress import progress
from cxrs_edge import Grader


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--split", default="val", show_default=True)
def main(model: Path, data: Path, split: str) -> None:
    """Grade the films of DATA, a set of findings, with MODEL, and count level 0 by source and finding."""
    films = [f for f in read_findings(data) if f.split == split and not f.population.startswith(PAEDIATRIC)]
    grader = Grader.open(model, gated=False)
    outcomes: dict[tuple[str, str], list[bool]] = {}
    with progress() as report:
        for number, film in enumerate(films, 1):
            level = grader.grade(film.path).level
            outcomes.setdefault((film.source, film.finding), []).append(level == 0)
            report("grading", number, len(films))
    click.echo("| source | finding | films | called level 0 | 95 % interval |\n|---|---|---:|---:|---|")
    for (source, finding), clear in sorted(outcomes.items()):
        low, high = interval(sum(clear), len(clear))
        click.echo(f"| {source} | {finding} | {len(clear)} | {sum(clear)} | {low:.2f} to {high:.2f} |")


if __name__ == "__main__":
    main()
