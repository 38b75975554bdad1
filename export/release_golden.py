"""Record what the bundled model files answer, for `cxrs-edge selftest`: run it when a model is released.

Draws phantoms, grades them with both files and writes cxrs_edge/models/cxrs/golden/: the images and golden.json. The
reference of each file is the first engine of the registry that runs it, on one thread; every other installed
engine, and two threads, must agree within the tolerance, or nothing is written.

\b
    python export/release_golden.py             # new answers to the images that are there
    python export/release_golden.py --redraw    # other weights: draw and choose the images anew

Of the phantoms drawn, the six are taken whose level is least certain without being a tie: there a
fault of an engine shows most, and rounding alone flips no level.
"""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL
from PIL import Image

from cxrs_bench.phantom import Phantom, draw_phantom, varied_phantoms
from cxrs_edge import Grader, __version__
from cxrs_edge.engines.registry import ENGINES, choose_engine
from cxrs_edge.files import write_atomically
from cxrs_edge.grader import BUNDLED, bundled_path
from cxrs_edge.model_file import Kind
from cxrs_edge.selftest import FOLDER, GOLDEN_SCHEMA, TIE

KINDS: tuple[Kind, ...] = ("tflite", "onnx")
SHORT_SIDE = 256
DRAWN, TAKEN = 24, 6
LEAST_MARGIN = 2
"""Tolerances between a probability and the tie."""

Images = Mapping[str, bytes]
Probabilities = Mapping[str, Mapping[str, float]]


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--redraw", is_flag=True, help="Draw the images anew, instead of keeping those that are there.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the phantoms drawn.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 0.25),
    default=0.02,
    show_default=True,
    help="Largest difference of a probability that is still the same answer.",
)
def main(redraw: bool, seed: int, tolerance: float) -> None:
    folder = BUNDLED / FOLDER
    kept = {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    images = kept if kept and not redraw else choose(draw(seed), LEAST_MARGIN * tolerance)
    models = {bundled_path(kind).name: record(kind, images, tolerance) for kind in KINDS}
    folder.mkdir(exist_ok=True)
    for name in set(kept) - set(images):
        (folder / name).unlink()
    for name, png in images.items():
        write_atomically(folder / name, png)
    golden = {
        "schema": GOLDEN_SCHEMA,
        "tolerance": tolerance,
        "recorded_on": machine(),
        "models": models,
    }
    write_atomically(folder / "golden.json", (json.dumps(golden, indent=1) + "\n").encode())
    click.echo(f"{len(images)} images, {sum(map(len, images.values())):,} bytes, tolerance {tolerance:g}")


def draw(seed: int) -> Images:
    """Small phantoms as PNG files."""
    return {
        f"phantom-{number:02}.png": png(shrink(phantom))
        for number, phantom in enumerate(varied_phantoms(DRAWN, seed))
    }


def shrink(phantom: Phantom) -> Phantom:
    """The same proportions with a short side of `SHORT_SIDE`: the files travel in the wheel."""
    scale = SHORT_SIDE / min(phantom.width, phantom.height)
    return replace(phantom, width=round(phantom.width * scale), height=round(phantom.height * scale))


def png(phantom: Phantom) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_phantom(phantom)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def choose(images: Images, margin: float) -> Images:
    """The least certain ones of each level, as many of both as there are, none nearer to a tie than `margin`."""
    found = [grade_all(kind, images) for kind in KINDS]
    level2 = {name: [answers[name]["level2"] for answers in found] for name in images}
    clear = [name for name, ps in level2.items() if min(abs(p - TIE) for p in ps) > margin]
    clear.sort(key=lambda name: abs(level2[name][0] - TIE))
    higher = [name for name in clear if level2[name][0] >= TIE]
    lower = [name for name in clear if level2[name][0] < TIE]
    best = [*higher[: TAKEN // 2], *lower[: TAKEN // 2]]
    best += [name for name in clear if name not in best][: TAKEN - len(best)]
    if len(best) < TAKEN:
        raise click.ClickException(
            f"{len(best)} phantoms clear of a tie, expected {TAKEN}; try another --seed"
        )
    return {name: images[name] for name in sorted(best)}


def record(kind: Kind, images: Images, tolerance: float) -> dict[str, Any]:
    """The reference's answers, after every other engine and number of threads has agreed with them."""
    reference = next(entry for entry in ENGINES if entry.kind == kind).name
    grader = Grader.open(bundled_path(kind), reference, threads=1)
    expected = grade_all(kind, images)
    for name, answer in expected.items():
        click.echo(f"{bundled_path(kind).name} {name}: level 2 {answer['level2']:.4f}")
        if abs(answer["level2"] - TIE) <= tolerance:
            raise click.ClickException(f"{name}: a tie; draw others: --redraw")
    others = {}
    for entry in ENGINES:
        if entry.kind == kind and entry.package():
            for threads in (1, 2):
                found = grade_all(kind, images, entry.name, threads)
                others[f"{entry.name}, threads {threads}"] = differs_by(expected, found)
    for setup, difference in others.items():
        click.echo(f"{bundled_path(kind).name} on {setup}: largest difference {difference:.4f}")
        if difference > tolerance:
            raise click.ClickException(f"{setup} differs by {difference:.4f}, tolerance {tolerance:g}")
    return {
        "sha256": grader.card.sha256,
        "engine": asdict(grader.engine_info),
        "largest_differences": others,
        "probabilities": expected,
    }


def grade_all(kind: Kind, images: Images, engine: str | None = None, threads: int = 1) -> Probabilities:
    """Calibrated probabilities of each image; `engine` is by default the reference."""
    engine = engine or next(entry for entry in ENGINES if entry.kind == kind).name
    choose_engine(engine, kind).require_package()
    grader = Grader.open(bundled_path(kind), engine, threads)
    return {name: grader.grade(data, name=name).probabilities for name, data in images.items()}


def differs_by(expected: Probabilities, found: Probabilities) -> float:
    return max(abs(found[name]["level2"] - answer["level2"]) for name, answer in expected.items())


def machine() -> dict[str, str]:
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "cxrs_edge": __version__,
    }


def cpu_name() -> str:
    """As the kernel tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
