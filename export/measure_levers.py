"""What each lever of docs/performance.md is worth on each engine.

Exports networks without and with the rewrites of `cxrs_export.rewrites`, calibrated on a few drawn phantoms (ranges
don't change how long an inference takes), and times all files of one engine interleaved. Killed? The same command
goes on: files and times that are in the folder stay.

    python export/measure_levers.py -o runs/levers      # about five minutes, most of it exporting
    python export/measure_levers.py -o runs/levers --network resnet50 --network chexnet --rounds 60
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np

from cxrs_bench.latency.intervals import ratio_interval
from cxrs_edge.card import ModelCard
from cxrs_edge.engines import Engine
from cxrs_edge.engines import onnx as onnx_engine
from cxrs_edge.engines.registry import EngineEntry, available_engines, open_engine
from cxrs_edge.files import write_atomically
from cxrs_edge.model_file import Kind, read_model_file, with_card
from cxrs_edge.prepare import InputSpec
from cxrs_export.baselines import random_networks
from cxrs_export.convert import to_onnx, to_tflite
from cxrs_export.quantize import quantize_onnx, quantize_tflite
from cxrs_export.representative import RepresentativeSet, phantom_set
from cxrs_export.rewrites import find_stem, for_inference

Samples = dict[str, list[float]]
"""Milliseconds of each inference, by lever."""

PHANTOMS = 4
WARM_UP = 2


def with_gray_stem(model: keras.Model) -> keras.Model:
    """The stem's channels summed up and its scaling folded in, but as wide as it was: half of the rewrite."""
    stem = find_stem(model)
    if stem is None:
        raise click.ClickException(f"{model.name}: has no stem that is rewritten")
    old = stem.convolution
    config = {**old.get_config(), "name": "stem_gray"}
    gray = keras.layers.Conv2D.from_config(config)
    gray.build((None, None, None, 1))
    kernel, *bias = old.get_weights()
    gray.set_weights([kernel.sum(axis=2, keepdims=True) * stem.scale, *bias])

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.Rescaling) and layer in stem.before:
            return args[0]
        return gray(args[0]) if layer is old else layer(*args, **kwargs)

    image = keras.Input((*model.input_shape[1:3], 1), name="image")
    return keras.models.clone_model(
        model, input_tensors=image, clone_function=lambda layer: layer, call_function=call
    )


LEVERS = {"plain": lambda model: model, "gray stem": with_gray_stem, "gray stem in blocks": for_inference}
PRECISE = "without VNNI's kernels"
"""As ONNX Runtime was run before: `session.x64quantprecision` on a CPU that doesn't need it."""


def export(model: keras.Model, path: Path, phantoms: RepresentativeSet) -> None:
    """Write ``{path}-{precision}.{kind}`` files."""
    channels = model.input_shape[-1]
    pixels = phantoms.with_channels(channels).pixels
    tflite, onnx = to_tflite(model), to_onnx(model)
    bases: dict[tuple[str, Kind], bytes] = {
        ("float32", "tflite"): tflite,
        ("float32", "onnx"): onnx,
        ("int8", "tflite"): quantize_tflite(tflite, pixels),
        ("int8", "onnx"): quantize_onnx(onnx, pixels),
    }
    for (precision, kind), base in bases.items():
        card = ModelCard(
            name=path.name,
            version="0",
            network=model.name,
            precision=precision,
            input=InputSpec(size=model.input_shape[1], channels=channels),
            outputs={"probabilities": "levels"},
            labels=("level1", "level2"),
            licence="none",
            intended_use="measuring",
            base_bytes=0,
            sha256="",
        )
        write_atomically(path.with_name(f"{path.name}-{precision}.{kind}"), with_card(base, card, kind))


def is_exported(path: Path) -> bool:
    """Whether an earlier call has; the file that is written last tells."""
    return path.with_name(f"{path.name}-int8.onnx").exists()


def load(
    folder: Path, name: str, precision: str, entry: EngineEntry, threads: int
) -> Iterator[tuple[str, Engine]]:
    """An engine for each lever, the plain export first."""
    engine, kind = entry.name, entry.kind
    for lever in LEVERS:
        file = read_model_file(folder / f"{name}-{lever.replace(' ', '_')}-{precision}.{kind}")
        if engine == "onnx" and precision == "int8" and lever == "plain" and onnx_engine.has_vnni():
            known, onnx_engine.has_vnni = onnx_engine.has_vnni, lambda: False
            yield PRECISE, open_engine(file, engine, threads)
            onnx_engine.has_vnni = known
        yield lever, open_engine(file, engine, threads)


def measure(engines: dict[str, Engine], channels: dict[str, int], rounds: int) -> Samples:
    """Milliseconds of so many interleaved inferences of each."""
    size = InputSpec().size
    plane = np.random.default_rng(0).integers(0, 256, (1, size, size, 1), dtype=np.uint8)
    samples: Samples = {name: [] for name in engines}
    for number in range(rounds + WARM_UP):
        for name, engine in engines.items():
            pixels = np.repeat(plane, channels[name], axis=3)
            start = time.perf_counter()
            engine.infer(pixels)
            if number >= WARM_UP:
                samples[name].append(1000 * (time.perf_counter() - start))
    return samples


def measured(path: Path, opening: Callable[[], Iterable[tuple[str, Engine]]], rounds: int) -> Samples:
    """What the file holds; if it isn't there, measured and written."""
    if not path.exists():
        engines = dict(opening())
        channels = {lever: 3 if lever in ("plain", PRECISE) else 1 for lever in engines}
        write_atomically(path, json.dumps(measure(engines, channels, rounds)).encode())
    samples: Samples = json.loads(path.read_bytes())
    return samples


def show(what: str, samples: Samples) -> None:
    first = next(iter(samples.values()))
    for lever, values in samples.items():
        ratio = ratio_interval([[value] for value in first], [[value] for value in values])
        click.echo(
            f"| {what} | {lever} | {min(values):.2f} | {statistics.median(values):.2f} | "
            f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) |"
        )


def export_all(folder: Path, networks: tuple[str, ...]) -> None:
    """The files of each network and lever that are not there yet."""
    spec = InputSpec()
    paths = {
        (name, lever): folder / f"{name}-{lever.replace(' ', '_')}" for name in networks for lever in LEVERS
    }
    if all(is_exported(path) for path in paths.values()):
        return
    phantoms = phantom_set(spec, PHANTOMS)
    for one in random_networks(spec, *networks):
        for lever, rewrite in LEVERS.items():
            if not is_exported(paths[one.name, lever]):
                export(rewrite(one.model), paths[one.name, lever], phantoms)


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--network", "networks", multiple=True, default=["cxrs"], show_default=True)
@click.option("--threads", "counts", type=click.IntRange(1), multiple=True, default=[1, 2], show_default=True)
@click.option("--rounds", type=click.IntRange(3), default=30, show_default=True)
def main(output: Path, networks: tuple[str, ...], counts: tuple[int, ...], rounds: int) -> None:
    """Measure the rewrites on networks of random weights: cxrs, resnet50, chexnet."""
    output.mkdir(parents=True, exist_ok=True)
    export_all(output, networks)
    click.echo(
        "| network, engine, threads | lever | least ms | median ms | times faster |\n" + "|---" * 5 + "|"
    )
    for name, precision, entry, threads in product(
        networks, ("int8", "float32"), available_engines(), counts
    ):
        path = output / f"{name}-{precision}-{entry.name}-{threads}.json"
        opening = partial(load, output, name, precision, entry, threads)
        show(f"{name}, {entry.name} {precision}, {threads}", measured(path, opening, rounds))


if __name__ == "__main__":
    main()
