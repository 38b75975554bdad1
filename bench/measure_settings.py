"""What an engine's settings and caches are worth: the levers of docs/performance.md that change no file.

    make measure-settings       # every installed engine on one and two threads, about six minutes; on a quiet machine
    python bench/measure_settings.py --engine onnx --threads 2 --rounds 9

Each setting opens the bundled model and infers in a process of its own; rounds are interleaved. Settings that keep a
cache are run once before, to fill it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from cxrs_bench.latency.apart import run_apart
from cxrs_bench.latency.intervals import ratio_interval
from cxrs_edge.card import ModelCard
from cxrs_edge.engines.onnx import session_options
from cxrs_edge.engines.openvino import SETTINGS
from cxrs_edge.engines.registry import available_engines, open_engine
from cxrs_edge.engines.telemetry import without_telemetry
from cxrs_edge.grader import bundled_path
from cxrs_edge.model_file import read_model_file

INFERENCES, WARM_UP = 40, 5
SHIPPED = "as shipped"

Infer = Callable[[NDArray[np.float32]], Any]
Open = Callable[[str, int, Path], Infer]
"""The model's path, threads, and a folder for caches -> a function of the pixels."""


class Round(NamedTuple):
    """Milliseconds to open the model, and of each inference."""

    open_ms: float
    infer_ms: list[float]


def litert_compiled(path: str, threads: int, cache: str = "") -> Infer:
    """LiteRT's newer interface, the one that has a weight cache."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.cpu_options import CpuOptions
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import Options

    cpu = CpuOptions(num_threads=threads, xnnpack_weight_cache_path=cache)
    options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)
    model = CompiledModel.from_file(path, options=options)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)

    def infer(pixels: NDArray[np.float32]) -> None:
        inputs[0].write(pixels)
        model.run_by_index(0, inputs, outputs)

    return infer


def onnx_session(path: str, threads: int, adjust: Callable[[Any, Any], None]) -> Infer:
    """With our options, adjusted; `adjust` is given the package and the options."""
    with without_telemetry():
        import onnxruntime
    options = session_options(onnxruntime, threads)
    adjust(onnxruntime, options)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return lambda pixels: session.run(None, {image.name: pixels})


def onnx_configured(**entries: str) -> Open:
    """Session configuration entries, their dots written as two underscores."""

    def adjust(_: Any, options: Any) -> None:
        for name, value in entries.items():
            options.add_session_config_entry(name.replace("__", "."), value)

    return lambda path, threads, _: onnx_session(path, threads, adjust)


def onnx_pinned(path: str, threads: int, _: Path) -> Infer:
    """Each further thread on a CPU of its own; the first is the caller's."""
    cpus = ";".join(str(number) for number in range(2, threads + 1))

    def adjust(_: Any, options: Any) -> None:
        if cpus:
            options.add_session_config_entry("session.intra_op_thread_affinities", cpus)

    return onnx_session(path, threads, adjust)


def onnx_serialized(path: str, threads: int, folder: Path) -> Infer:
    """The optimized graph written once, then read without optimizing again."""
    cached = folder / "optimized.onnx"

    def adjust(package: Any, options: Any) -> None:
        if cached.exists():
            options.graph_optimization_level = package.GraphOptimizationLevel.ORT_DISABLE_ALL
        else:
            options.optimized_model_filepath = str(cached)

    return onnx_session(str(cached) if cached.exists() else path, threads, adjust)


def openvino_configured(*, cached: bool = False, **changes: object) -> Open:
    """Our settings with changes; with `cached`, OpenVINO's own model cache."""

    def open_model(path: str, threads: int, folder: Path) -> Infer:
        with without_telemetry():
            import openvino
        settings = {**SETTINGS, "INFERENCE_NUM_THREADS": threads, **changes}
        if cached:
            settings["CACHE_DIR"] = str(folder / "openvino")
        request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
        return lambda pixels: request.infer([pixels])

    return open_model


def shipped(engine: str) -> Open:
    """Through `cxrs_edge.engines`, with the check of the file's hash."""

    def open_model(path: str, threads: int, _: Path) -> Infer:
        opened = open_engine(read_model_file(path), engine, threads)
        return lambda pixels: opened.infer(pixels.astype(np.uint8))

    return open_model


LEVERS: Mapping[str, Mapping[str, Open]] = {
    "tflite": {
        SHIPPED: shipped("tflite"),
        "CompiledModel": lambda path, threads, _: litert_compiled(path, threads),
        "CompiledModel, weight cache": lambda path, threads, folder: litert_compiled(
            path, threads, str(folder / "xnnpack.cache")
        ),
    },
    "onnx": {
        SHIPPED: shipped("onnx"),
        "no spinning": onnx_configured(session__intra_op__allow_spinning="0"),
        "spinning goes on after a run": onnx_configured(session__force_spinning_stop="0"),
        "threads pinned": onnx_pinned,
        "serialized optimized model": onnx_serialized,
    },
    "openvino": {
        SHIPPED: shipped("openvino"),
        "threads pinned": openvino_configured(ENABLE_CPU_PINNING=True),
        "model cache": openvino_configured(cached=True),
    },
}


def run_here(engine: str, lever: str, threads: int, folder: Path) -> Round:
    """One round in this process."""
    path = bundled_path(next(entry.kind for entry in available_engines() if entry.name == engine))
    card: ModelCard = read_model_file(path).card
    size, channels = card.input.size, card.input.channels
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, channels)).astype(np.float32)
    started = time.perf_counter()
    infer = LEVERS[engine][lever](str(path), threads, folder)
    opened = time.perf_counter()
    samples = []
    for _ in range(INFERENCES + WARM_UP):
        start = time.perf_counter()
        infer(pixels)
        samples.append(1000 * (time.perf_counter() - start))
    return Round(1000 * (opened - started), samples[WARM_UP:])


def run_child(engine: str, lever: str, threads: int, folder: Path) -> Round | None:
    """One round in a process of its own; None if it fails."""
    usage = run_apart([sys.executable, __file__, "--one", json.dumps([engine, lever, threads, str(folder)])])
    return None if usage.status else Round(*json.loads(usage.lines[-1]))


def measure(engine: str, threads: int, rounds: int, folder: Path) -> Mapping[str, list[Round]]:
    """Interleaved rounds of each setting; what fails is left out."""
    samples: dict[str, list[Round]] = {lever: [] for lever in LEVERS[engine]}
    for number in range(-1, rounds):
        for lever in list(samples):
            one = run_child(engine, lever, threads, folder)
            if one is None:
                click.echo(f"{engine}, {lever}: doesn't run here", err=True)
                del samples[lever]
            elif number >= 0:
                samples[lever].append(one)
    return samples


def rows(engine: str, threads: int, samples: Mapping[str, Sequence[Round]]) -> Iterator[str]:
    base = [one.infer_ms for one in samples[SHIPPED]]
    for lever, rounds in samples.items():
        opening = [one.open_ms for one in rounds]
        inferring = [one.infer_ms for one in rounds]
        faster = ratio_interval(base, inferring)
        cells = [
            f"{engine}, {threads}",
            lever,
            f"{statistics.median(opening):.0f} ({min(opening):.0f} to {max(opening):.0f})",
            f"{statistics.median(map(statistics.median, inferring)):.2f}",
            f"{faster.value:.3f} ({faster.low:.3f} to {faster.high:.3f})",
        ]
        yield f"| {' | '.join(cells)} |"


@click.command()
@click.option("--engine", "names", multiple=True, help="Of the installed ones; by default each.")
@click.option("--threads", type=click.IntRange(1), multiple=True, default=[1, 2], show_default=True)
@click.option("--rounds", type=click.IntRange(3), default=7, show_default=True)
@click.option("--one", hidden=True)
def main(names: tuple[str, ...], threads: tuple[int, ...], rounds: int, one: str | None) -> None:
    """Measure each setting alone against the shipped ones; prints a Markdown table."""
    if one is not None:
        engine, lever, number, folder = json.loads(one)
        click.echo(json.dumps(run_here(engine, lever, number, Path(folder))))
        return
    click.echo(f"load {os.getloadavg()[0]:.1f} before, {rounds} rounds\n")
    click.echo("| engine, threads | setting | open, ms | infer, ms | times faster |\n" + "|---" * 5 + "|")
    for entry in available_engines():
        if names and entry.name not in names:
            continue
        for number in threads:
            with tempfile.TemporaryDirectory() as folder:
                samples = measure(entry.name, number, rounds, Path(folder))
            click.echo("\n".join(rows(entry.name, number, samples)))


if __name__ == "__main__":
    main()
