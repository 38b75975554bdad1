"""Which inner widths of COVID-Net CXR-S fit both published figures, and which of them run fastest as int8?

The evidence of docs/adr/0001-widths.md. Enumerates the widths (multiples of 8) whose network rounds to 8.8 M
parameters and lies within 5.55 +- 0.05 G MACs, takes a spread of them, exports each untrained network to int8
and times all files in one process, interleaved, one thread, on LiteRT, ONNX Runtime and OpenVINO.

    python export/search_widths.py -o runs/widths              # a spread over all candidates
    python export/search_widths.py -o runs/widths 2:32,72,192,320 1:48,64,208,352 --rounds 100
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np

from cxrs_export.convert import to_onnx, to_tflite
from cxrs_export.network import STAGE_BLOCKS, STAGE_CHANNELS, STEM_CHANNELS, Widths, build_network
from cxrs_export.quantize import quantize_onnx, quantize_tflite

MAP_SIDES = (120, 60, 30, 15)
SPREAD = 16


def count(widths: Widths) -> tuple[int, int]:
    """Parameters (flatten head) and MACs at 480 x 480 x 3, by the closed formula."""
    parameters, macs = 49 * 3 * STEM_CHANNELS + 2 * STEM_CHANNELS, 240**2 * STEM_CHANNELS * 147
    before = STEM_CHANNELS
    for index, (after, side, p) in enumerate(zip(STAGE_CHANNELS, MAP_SIDES, widths.projections, strict=True)):
        side_before, wide = (side if index == 0 else 2 * side), p * widths.replication
        parameters += before * after + 2 * after
        macs += side**2 * before * after
        for block in range(STAGE_BLOCKS[index]):
            given, given_side = (before, side_before) if block == 0 else (after, side)
            parameters += given * p + 9 * wide + wide * p + p * after + 2 * (2 * p + wide + after)
            macs += given_side**2 * given * p + side**2 * (9 * wide + wide * p + p * after)
        before = after
    cells = MAP_SIDES[-1] ** 2 * STAGE_CHANNELS[-1]
    return parameters + 2 * cells, macs + 2 * cells


def candidates() -> Iterator[Widths]:
    grid = itertools.product(range(16, 81, 8), range(32, 161, 8), range(96, 321, 16), range(192, 449, 16))
    for replication, projections in itertools.product((1, 2, 3), list(grid)):
        widths = Widths(projections, replication)
        parameters, macs = count(widths)
        if round(parameters / 1e6, 1) == 8.8 and abs(macs - 5.55e9) <= 0.05e9:
            yield widths


def label(widths: Widths) -> str:
    return f"{widths.replication}:{','.join(map(str, widths.projections))}"


def parse(text: str) -> Widths:
    replication, projections = text.split(":")
    one, two, three, four = (int(part) for part in projections.split(","))
    return Widths((one, two, three, four), int(replication))


def export(widths: Widths, folder: Path) -> None:
    """Write the untrained network's int8 files, unless an earlier call has."""
    tflite, onnx = folder / f"{label(widths)}.tflite", folder / f"{label(widths)}.onnx"
    if onnx.exists():
        return
    rng = np.random.default_rng(0)
    representative = [rng.integers(0, 256, (1, 480, 480, 3), dtype=np.uint8) for _ in range(2)]
    network = build_network(widths=widths)
    tflite.write_bytes(quantize_tflite(to_tflite(network), representative))
    onnx.write_bytes(quantize_onnx(to_onnx(network), representative))


def load(widths: Widths, folder: Path) -> dict[str, Callable[[], object]]:
    """One zero-argument inference for each engine, on one thread."""
    import onnxruntime
    import openvino
    from ai_edge_litert.interpreter import Interpreter

    tflite, onnx = folder / f"{label(widths)}.tflite", folder / f"{label(widths)}.onnx"
    interpreter = Interpreter(str(tflite), num_threads=1)
    interpreter.allocate_tensors()
    image = np.zeros((1, 480, 480, 3), np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    request = openvino.Core().compile_model(onnx, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return {
        "litert": interpreter.invoke,
        "onnxruntime": lambda: session.run(None, {"image": image}),
        "openvino": lambda: request(image),
    }


def measure(
    loaded: dict[str, dict[str, Callable[[], object]]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {
        key: {engine: [] for engine in engines} for key, engines in loaded.items()
    }
    with click.progressbar(range(rounds + 3), label="rounds") as bar:
        for number in bar:
            for key, engines in loaded.items():
                for engine, infer in engines.items():
                    start = time.perf_counter()
                    infer()
                    if number >= 3:
                        samples[key][engine].append(1000 * (time.perf_counter() - start))
    return samples


@click.command()
@click.argument("only", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--rounds", default=30, show_default=True)
def main(only: tuple[str, ...], output: Path, rounds: int) -> None:
    """Measure candidate widths, written as REPLICATION:P1,P2,P3,P4."""
    output.mkdir(parents=True, exist_ok=True)
    everything = sorted(candidates(), key=lambda w: (w.replication, w.projections))
    chosen = [parse(text) for text in only] or [
        everything[i] for i in np.linspace(0, len(everything) - 1, SPREAD).astype(int)
    ]
    click.echo(f"{len(everything)} candidates, measuring {len(chosen)}")
    for widths in chosen:
        export(widths, output)
    samples = measure({label(w): load(w, output) for w in chosen}, rounds)
    (output / "samples.json").write_text(json.dumps(samples))
    rows = []
    for widths in chosen:
        medians = [statistics.median(s) for s in samples[label(widths)].values()]
        rows.append((statistics.geometric_mean(medians), label(widths), count(widths), medians))
    click.echo(
        "| widths | parameters | G MACs | LiteRT ms | ONNX Runtime ms | OpenVINO ms | geometric mean |"
    )
    click.echo("|---|---|---|---|---|---|---|")
    for mean, key, (parameters, macs), medians in sorted(rows):
        times = " | ".join(f"{value:.1f}" for value in medians)
        click.echo(f"| {key} | {parameters:,} | {macs / 1e9:.3f} | {times} | {mean:.1f} |")


if __name__ == "__main__":
    main()
