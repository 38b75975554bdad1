"""What `cxrs-edge predict` takes beside the inference itself: the table of docs/performance.md, "The command".

    make measure-command                       # every installed engine, about ten minutes; on a quiet machine
    python bench/measure_command.py --engine tflite --rounds 5 --images 500

Three figures for each engine, its processes interleaved: one 3000 x 3000 JPEG against bench/bare_minimum.py (whole
processes, one thread); images per second over 200 such JPEGs, times the seconds of an inference on one thread; peak
memory over an interpreter with numpy and the engine, and how much of it 10,000 small images add to 100.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import click
from PIL import Image

from cxrs_bench.latency.apart import Usage, run_apart
from cxrs_bench.latency.intervals import Interval, ratio_interval
from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_bench.progress import Report, progress
from cxrs_edge.engines.registry import EngineEntry, available_engines
from cxrs_edge.engines.threads import count_cores
from cxrs_edge.grader import bundled_path

BARE = Path(__file__).with_name("bare_minimum.py")
SIDE, SMALL_SIDE = 3000, 600
DRAWN = 4
"""Different pictures, which the files repeat."""
QUALITY = 92
LARGE, FEW = 200, 100
INFERENCES = 30


class Sample(NamedTuple):
    """One round of one engine: milliseconds, and images per second from start to end and between first and last.

    `cpu` is the CPU time that each further image takes, with as many threads as cores.
    """

    bare: float
    command: float
    infer: float
    images_per_second: float
    steady_per_second: float
    cpu: float


def write_images(folder: Path, side: int, suffix: str, count: int) -> Path:
    """A folder of so many links to `DRAWN` phantoms; with 8 bit gray and the noise of film at that size."""
    drawn = folder / f"drawn-{side}"
    drawn.mkdir()
    for number, phantom in enumerate(varied_phantoms(DRAWN)):
        image = Image.fromarray(draw_phantom(replace(phantom, width=side, height=side)))
        image.save(drawn / f"{number}.{suffix}", quality=QUALITY)
    links = folder / f"{count}-{side}"
    links.mkdir()
    for number, path in enumerate(islice(cycle(sorted(drawn.iterdir())), count)):
        (links / f"{number:05}.{suffix}").symlink_to(path)
    return links


def environment(folder: Path) -> Mapping[str, str]:
    """This one with compiled modules, as an installation has them, also where a clone must not be written to."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


class Measuring:
    """Runs the processes of one engine."""

    def __init__(self, entry: EngineEntry, images: Path, small: Path, variables: Mapping[str, str]) -> None:
        self.entry, self._images, self._small, self._variables = entry, images, small, variables
        self._one = str(next(iter(sorted(images.iterdir()))))

    def bare(self, *arguments: str) -> Usage:
        return self._run(str(BARE), self.entry.name, *arguments)

    def predict(self, *arguments: str) -> Usage:
        options = ("--engine", self.entry.name, "--format", "csv")
        return self._run("-m", "cxrs_edge", "predict", *arguments, *options)

    def sample(self) -> Sample:
        model = str(bundled_path(self.entry.kind))
        bare = self.bare(model, self._one)
        one = self.predict(self._one, "--threads", "1")
        infer = self.bare(model, self._one, str(INFERENCES))
        many = self.predict(str(self._images))
        _, first, *_, last = many.line_seconds
        return Sample(
            bare=1000 * bare.seconds,
            command=1000 * one.seconds,
            infer=statistics.median(map(float, infer.lines)),
            images_per_second=(len(many.lines) - 1) / many.seconds,
            steady_per_second=(len(many.lines) - 2) / (last - first),
            cpu=1000 * (many.cpu_seconds - one.cpu_seconds) / (LARGE - 1),
        )

    def memory(self) -> tuple[float, float, float]:
        """Peak MB over the bare engine: of one large JPEG, of few small images and of all small images."""
        bare = self.bare().peak_bytes
        few = [str(path) for path in islice(sorted(self._small.iterdir()), FEW)]
        runs = (self.predict(self._one), self.predict(*few), self.predict(str(self._small)))
        one, some, all_of_them = ((run.peak_bytes - bare) / 1e6 for run in runs)
        return one, some, all_of_them

    def _run(self, *arguments: str) -> Usage:
        usage = run_apart((sys.executable, *arguments), self._variables)
        if usage.status:
            raise click.ClickException(f"{' '.join(arguments[:4])}: ended with status {usage.status}")
        return usage


def ratio(new: Sequence[float], old: Sequence[float]) -> Interval:
    return ratio_interval([[value] for value in new], [[value] for value in old])


def shown(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def spread(values: Sequence[float], digits: int = 0) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def time_rows(samples: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    yield (
        "| engine | bare minimum, ms | command, ms | ratio | infer, ms | images/s | x infer | steady, x infer "
        "| CPU ms an image | x infer at most |"
    )
    yield "|---" * 10 + "|"
    for name, rows in samples.items():
        bare, command, infer, rate, steady, cpu = zip(*rows, strict=True)
        # A rate times seconds is a ratio of two times: what an inference takes, over what an image takes.
        whole, between = ([1000 / value for value in values] for values in (rate, steady))
        cells = [
            name,
            spread(bare),
            spread(command),
            shown(ratio(command, bare)),
            spread(infer, 1),
            spread(rate, 1),
            shown(ratio(infer, whole)),
            shown(ratio(infer, between)),
            spread(cpu, 1),
            f"{count_cores() * statistics.median(infer) / statistics.median(cpu):.2f}",
        ]
        yield f"| {' | '.join(cells)} |"


def memory_rows(peaks: Mapping[str, tuple[float, float, float]], images: int) -> Iterator[str]:
    yield f"| engine | one large JPEG, MB | {FEW} small images | {images} small images |"
    yield "|---" * 4 + "|"
    for name, values in peaks.items():
        yield f"| {name} | {' | '.join(f'{value:.0f}' for value in values)} |"


def take_samples(engines: Sequence[Measuring], rounds: int, report: Report) -> Mapping[str, Sequence[Sample]]:
    samples: dict[str, list[Sample]] = {one.entry.name: [] for one in engines}
    for number in range(-1, rounds):
        for one in engines:
            sample = one.sample()
            # The first round compiles modules and fills the page cache.
            if number >= 0:
                samples[one.entry.name].append(sample)
        report("timing", number + 1, rounds)
    return samples


@click.command()
@click.option("--engine", "names", multiple=True, help="Of the installed ones; by default each.")
@click.option("--rounds", type=click.IntRange(3), default=9, show_default=True)
@click.option("--images", type=click.IntRange(FEW), default=10_000, show_default=True, help="Small ones.")
@click.option("--no-memory", is_flag=True, help="Times only.")
def main(names: tuple[str, ...], rounds: int, images: int, no_memory: bool) -> None:
    """Measure start-up, throughput and memory of `cxrs-edge predict`; prints Markdown tables."""
    with tempfile.TemporaryDirectory() as name, progress() as report:
        folder = Path(name)
        variables = environment(folder)
        large = write_images(folder, SIDE, "jpg", LARGE)
        small = write_images(folder, SMALL_SIDE, "png", images)
        entries = [entry for entry in available_engines() if not names or entry.name in names]
        engines = [Measuring(entry, large, small, variables) for entry in entries]
        load = os.getloadavg()[0]
        click.echo(f"{count_cores()} cores, load {load:.1f} before, {rounds} rounds\n")
        for line in time_rows(take_samples(engines, rounds, report)):
            click.echo(line)
        if not no_memory:
            click.echo()
            peaks = {one.entry.name: one.memory() for one in engines}
            for line in memory_rows(peaks, images):
                click.echo(line)


if __name__ == "__main__":
    main()
