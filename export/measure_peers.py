"""Is CXR-S as released faster than the plain way to run it? "Against plain exports" in docs/performance.md.

    python export/measure_peers.py -o runs/peers                       # minutes for the files, then about five
    python export/measure_peers.py -o runs/peers --nncf PYTHON         # one with `pip install nncf openvino`

Plain: the released checkpoint through the makers' own converters and quantizers, as their documentation has it, with
none of `cxrs_export.rewrites` and `cxrs_export.quantize`. TensorFlow's converter for LiteRT; tf2onnx and
`quantize_static` (QDQ, per channel) for ONNX Runtime and OpenVINO; NNCF for OpenVINO. Calibrated on drawn phantoms:
ranges don't change how long an inference takes. All files run in the same bare program, bench/bare_minimum.py, each
in processes of its own, interleaved.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import numpy as np
from PIL import Image

from cxrs_bench.latency.apart import run_apart
from cxrs_bench.latency.intervals import ratio_interval
from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_edge.engines.telemetry import without_telemetry
from cxrs_edge.files import write_atomically
from cxrs_edge.grader import bundled_path
from cxrs_export.convert import saved_model, to_onnx, to_tflite
from cxrs_export.keras_file import load_model
from cxrs_export.representative import phantom_set

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "export" / "checkpoints" / "cxrs.keras"
BARE = ROOT / "bench" / "bare_minimum.py"
PHANTOMS = 4
WARM_UP = 5
NNCF = """
import sys
sys.modules["openvino_telemetry"] = None  # nothing is reported
import nncf, numpy, openvino
float_onnx, images, target = sys.argv[1:]
model = openvino.Core().read_model(float_onnx)
quantized = nncf.quantize(model, nncf.Dataset(list(numpy.load(images))))
openvino.save_model(quantized, target, compress_to_fp16=False)
"""


class Candidate(NamedTuple):
    """A file on an engine."""

    whose: str
    engine: str
    path: Path


def plain_int8_tflite(model: keras.Model, images: NDArray[np.float32]) -> bytes:
    """As TensorFlow's guide to post-training quantization has it; input and output stay float32."""
    import tensorflow as tf

    with saved_model(model) as folder:
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in images)
        return bytes(converter.convert())


def quantize_plainly(source: Path, images: NDArray[np.float32]) -> bytes:
    """As ONNX Runtime's guide has it: preprocessed, QDQ, per channel."""
    with without_telemetry():
        from onnxruntime.quantization import QuantFormat, quantize_static
        from onnxruntime.quantization.calibrate import CalibrationDataReader
        from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image}

    prepared, target = source.with_suffix(".prepared"), source.with_suffix(".quantized")
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(str(prepared), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
        return target.read_bytes()
    finally:
        prepared.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


def make_files(folder: Path, nncf: Path | None) -> list[Candidate]:
    """Those that are not there yet, and all candidates."""
    floats, integers = folder / "plain.onnx", folder / "plain-int8.onnx"
    lite, by_nncf = folder / "plain-int8.tflite", folder / "plain-nncf.xml"
    if not all(path.exists() for path in (folder / "plain.tflite", integers, lite)):
        model, provenance = load_model(CHECKPOINT)
        images = np.stack(phantom_set(provenance.input, PHANTOMS).pixels).astype(np.float32)
        np.save(folder / "images.npy", images)
        write_atomically(lite, plain_int8_tflite(model, images))
        write_atomically(floats, to_onnx(model))
        write_atomically(integers, quantize_plainly(floats, images))
        write_atomically(folder / "plain.tflite", to_tflite(model))
    if nncf is not None and not by_nncf.exists():
        command = [str(nncf), "-c", NNCF, str(floats), str(folder / "images.npy"), str(by_nncf)]
        subprocess.run(command, check=True)
    plain = [
        Candidate("plain, TensorFlow's converter", "tflite", lite),
        Candidate("plain, QDQ", "onnx", integers),
        Candidate("plain, QDQ", "openvino", integers),
        Candidate("plain, NNCF", "openvino", by_nncf),
        Candidate("plain, float32", "tflite", folder / "plain.tflite"),
        Candidate("plain, float32", "onnx", floats),
        Candidate("plain, float32", "openvino", floats),
    ]
    ours = [Candidate("released", "tflite", bundled_path("tflite"))]
    ours += [Candidate("released", engine, bundled_path("onnx")) for engine in ("onnx", "openvino")]
    return [*ours, *(one for one in plain if one.path.exists())]


def take_rounds(
    candidates: Sequence[Candidate], threads: int, rounds: int, inferences: int, folder: Path
) -> Mapping[Candidate, list[list[float]]]:
    """Milliseconds of each inference, round by round."""
    jpeg = folder / "phantom.jpg"
    Image.fromarray(draw_phantom(next(varied_phantoms(1)))).save(jpeg)
    samples: dict[Candidate, list[list[float]]] = {one: [] for one in candidates}
    for _ in range(rounds):
        for one in candidates:
            arguments = (one.engine, str(one.path), str(jpeg), str(inferences + WARM_UP), str(threads))
            usage = run_apart([sys.executable, str(BARE), *arguments])
            if usage.status:
                raise click.ClickException(f"{one.path} on {one.engine}: ended with status {usage.status}")
            samples[one].append([float(line) for line in usage.lines[WARM_UP:]])
    return samples


def table(samples: Mapping[Candidate, list[list[float]]], threads: int) -> Iterator[str]:
    """Slowest last; against the fastest of ours."""
    middle = {one: statistics.median(map(statistics.median, rounds)) for one, rounds in samples.items()}
    fastest = min((one for one in samples if one.whose == "released"), key=lambda one: middle[one])
    yield f"| {threads} thread{'s' * (threads > 1)} | engine | median ms | / our fastest |"
    yield "|---|---|---:|---:|"
    for one in sorted(samples, key=lambda one: middle[one]):
        ratio = ratio_interval(samples[one], samples[fastest])
        shown = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if one != fastest else "1"
        yield f"| {one.whose} | {one.engine} | {middle[one]:.1f} | {shown} |"


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--nncf", type=click.Path(path_type=Path, exists=True), help="A Python with nncf and openvino.")
@click.option("--threads", type=click.IntRange(1), multiple=True, default=[1, 2], show_default=True)
@click.option("--rounds", type=click.IntRange(3), default=5, show_default=True)
@click.option("--inferences", type=click.IntRange(1), default=30, show_default=True, help="In each process.")
def main(output: Path, nncf: Path | None, threads: tuple[int, ...], rounds: int, inferences: int) -> None:
    """Time the released int8 files against plain exports of the same checkpoint."""
    output.mkdir(parents=True, exist_ok=True)
    candidates = make_files(output, nncf)
    for number in threads:
        click.echo("\n".join(table(take_rounds(candidates, number, rounds, inferences, output), number)))
        click.echo()


if __name__ == "__main__":
    main()
