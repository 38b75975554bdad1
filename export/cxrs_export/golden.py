"""Record what the released model files answer, for `cxrs-edge selftest`.

The images are drawn phantoms, so no patient's travels in the package. Of those drawn, the ones are taken whose level
is least certain without being a tie: there a fault shows most, and a level that flips means something.
"""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from cxrs_bench.phantom import Phantom, draw_phantom, varied_phantoms
from cxrs_edge.engines.registry import ENGINES, EngineEntry
from cxrs_edge.errors import VerificationError
from cxrs_edge.files import write_atomically
from cxrs_edge.golden import FOLDER, INDEX, SCHEMA, hash_pixels, prepared_path
from cxrs_edge.grader import BUNDLED, bundled_path
from cxrs_edge.image import read_image
from cxrs_edge.model_file import read_model_file
from cxrs_edge.prepare import InputSpec, Pixels, pixels_needed, prepare

SHORT_SIDE = 256
DRAWN, TAKEN = 64, 6
TOLERANCE = 0.01
"""Largest difference of a probability that is still the same answer; docs/adr/0005 has the reasons."""
LEAST_MARGIN = 2 * TOLERANCE
"""Between a released probability and the tie: a level that flips is then never rounding."""
TIE = 0.5
THREADS = (1, 2)

ANSWER = """
import json, sys
import numpy as np
from cxrs_edge.engines.registry import choose_engine, open_package
from cxrs_edge.grade import grade
from cxrs_edge.model_file import read_model_file

name, package, threads, model, pixels = sys.argv[1:]
file = read_model_file(model)
engine = open_package(file, choose_engine(name), package, int(threads))
level2 = [grade(engine.infer(one), file.card).probabilities["level2"] for one in np.load(pixels)]
print(json.dumps([engine.version, level2]))
"""
"""In a process of its own: packages needn't share one interpreter, and some can't."""

Interpreters = Mapping[str, str]
"""Package -> the Python that has it, where that isn't this one."""


@dataclass(frozen=True)
class Recorded:
    """What one package answered to every drawn image.

    Attributes
    ----------
    level2 : calibrated probabilities of level 2 on one thread, one for each image.
    spread : largest difference of a probability on another number of threads.
    """

    version: str
    model: str
    level2: NDArray[np.float64]
    spread: float


def record_golden(
    interpreters: Interpreters,
    models: Path = BUNDLED,
    *,
    drawn: int = DRAWN,
    seed: int = 0,
    echo: Callable[[str], object] = print,
) -> None:
    """Draw images, ask every package of the registry, and write ``golden/`` beside the model files.

    Raises `VerificationError`, and writes nothing, if a package is missing or fails, its answers depend on the
    number of threads, or too few images are clear of a tie on every package.
    """
    spec = read_model_file(models / bundled_path("tflite").name).card.input
    images = [draw_png(phantom) for phantom in varied_phantoms(drawn, seed)]
    pixels = [prepare_png(png, spec) for png in images]
    recorded = {}
    for entry in ENGINES:
        for package in entry.packages:
            python = interpreters.get(package, sys.executable)
            recorded[package] = record_package(entry, package, python, models, pixels)
            echo(_line(package, recorded[package]))
    best = choose([one.level2 for one in recorded.values()])
    # Numbered anew, so that a release has the file names of the one before.
    taken = {f"phantom-{number}": index for number, index in enumerate(best, start=1)}
    _write(models, taken, images, pixels, recorded)


def draw_png(phantom: Phantom) -> bytes:
    """A phantom as a PNG file, of the same proportions with a short side of `SHORT_SIDE`: it travels in the wheel."""
    scale = SHORT_SIDE / min(phantom.width, phantom.height)
    small = replace(phantom, width=round(phantom.width * scale), height=round(phantom.height * scale))
    return _png(draw_phantom(small))


def prepare_png(png: bytes, spec: InputSpec) -> Pixels:
    """What the network sees of it."""
    return prepare(read_image(png, name="phantom", at_least=pixels_needed(spec)), spec)


def record_package(
    entry: EngineEntry, package: str, python: str, models: Path, pixels: Sequence[Pixels]
) -> Recorded:
    """Ask one package on each of `THREADS`; raises `VerificationError`."""
    model = bundled_path(entry.kind).name
    answers = [_answer(python, entry.name, package, threads, models / model, pixels) for threads in THREADS]
    (version, first), *others = answers
    spread = max(float(np.abs(other - first).max()) for _, other in others)
    if spread > TOLERANCE:
        raise VerificationError(
            f"{package} {version}: its probabilities differ by {spread:.4f} between {THREADS} threads, expected "
            f"at most {TOLERANCE:g}"
        )
    return Recorded(version=version, model=model, level2=first, spread=spread)


def choose(level2: Sequence[NDArray[np.float64]]) -> list[int]:
    """The images of least margin above `LEAST_MARGIN` on every package, as many of both levels; indices, sorted.

    Raises `VerificationError` if there are too few.
    """
    answers = np.stack(level2)
    margins = np.abs(answers - TIE).min(axis=0)
    best: list[int] = []
    for level in (1, 2):
        agree = np.all((answers >= TIE) == (level == 2), axis=0)
        fit = np.flatnonzero(agree & (margins > LEAST_MARGIN))
        best += [int(index) for index in fit[np.argsort(margins[fit], kind="stable")][: TAKEN // 2]]
        if len(best) < level * TAKEN // 2:
            raise VerificationError(
                f"golden images: {len(fit)} of {answers.shape[1]} drawn phantoms get level {level} on every package "
                f"by more than {LEAST_MARGIN:g}, expected at least {TAKEN // 2}; draw more, or with another seed"
            )
    return sorted(best)


def _answer(
    python: str, engine: str, package: str, threads: int, model: Path, pixels: Sequence[Pixels]
) -> tuple[str, NDArray[np.float64]]:
    with tempfile.TemporaryDirectory() as folder:
        array = Path(folder) / "pixels.npy"
        np.save(array, np.stack(pixels))
        command = [python, "-c", ANSWER, engine, package, str(threads), str(model), str(array)]
        environment = {**os.environ, "PYTHONPATH": str(BUNDLED.parents[2])}
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        except OSError as error:
            raise VerificationError(f"{package}: no answers from {python}: {error}") from error
    if run.returncode != 0:
        reason = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise VerificationError(f"{package}: no answers from {python}, status {run.returncode}: {reason}")
    version, level2 = json.loads(run.stdout.splitlines()[-1])
    return version, np.array(level2)


def _line(package: str, recorded: Recorded) -> str:
    return (
        f"{package} {recorded.version} on {recorded.model}: level 2 at {recorded.level2.min():.3f} to "
        f"{recorded.level2.max():.3f}, between threads {recorded.spread:.4f}"
    )


def _write(
    models: Path,
    taken: Mapping[str, int],
    images: Sequence[bytes],
    pixels: Sequence[Pixels],
    recorded: Mapping[str, Recorded],
) -> None:
    """The index last: without it, or with an older one, the self-test refuses."""
    folder = models / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for name, index in taken.items():
        write_atomically(folder / f"{name}.png", images[index])
        write_atomically(prepared_path(models, name), _png(pixels[index][0, :, :, 0]))
    values = {
        "schema": SCHEMA,
        "tolerance": TOLERANCE,
        "recorded_on": _machine(),
        "models": {
            model: read_model_file(models / model).card.sha256
            for model in sorted({one.model for one in recorded.values()})
        },
        "pixels": {name: hash_pixels(pixels[index]) for name, index in taken.items()},
        "packages": {package: _answers(one, taken) for package, one in recorded.items()},
    }
    write_atomically(folder / INDEX, (json.dumps(values, indent=1) + "\n").encode())


def _answers(recorded: Recorded, taken: Mapping[str, int]) -> dict[str, Any]:
    return {
        "version": recorded.version,
        "model": recorded.model,
        "largest_difference_between_threads": recorded.spread,
        "level2": {name: float(recorded.level2[index]) for name, index in taken.items()},
    }


def _png(gray: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _machine() -> dict[str, str]:
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": _cpu_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def _cpu_name() -> str:
    """As the kernel tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
