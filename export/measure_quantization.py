"""What each step of the int8 quantization is worth: the table of docs/quantization.md.

    python export/measure_quantization.py export/checkpoints/cxrs.keras data/severity

Every row is a TFLite file, made with some of the steps and run by LiteRT, against the float32 file on the train
split's images of level 1 and 2; calibrated on CALIBRATION of them. The test split is left for what was chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
from numpy.typing import NDArray

from cxrs_bench.labelled import in_split, read_labelled, without_no_derivatives
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import Pixels, pixels_needed, prepare
from cxrs_export import quantize, ranges, rounding
from cxrs_export.convert import to_tflite
from cxrs_export.equalize import equalize
from cxrs_export.heads import fit_heads
from cxrs_export.int8_weights import ROUNDED_ON
from cxrs_export.keras_file import load_model
from cxrs_export.rewrites import for_inference

CALIBRATION = 60
STEPS = ("as trained", "equalized", "kernels fitted", "means put right", "heads fitted")
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("data", type=click.Path(path_type=Path, exists=True))
def main(model: Path, data: Path) -> None:
    """Quantize MODEL step by step, calibrated and compared on the train split of DATA."""
    _, provenance = load_model(model)
    rows = without_no_derivatives(in_split(read_labelled(data), "train", levels=(1, 2)))
    images = [
        prepare(
            read_image(read_file(row.path), name=row.image_id, at_least=pixels_needed(provenance.input)),
            provenance.input,
        )
        for row in rows
    ]
    chosen = np.random.default_rng(0).permutation(len(images))[:CALIBRATION]
    calibration = [images[number] for number in chosen]
    files = {step: to_tflite(for_inference(_weights(model, calibration, step))) for step in STEPS}
    wanted = margins(files["as trained"], images)
    click.echo(f"{len(images)} images, {CALIBRATION} of them for calibration\n")
    click.echo(
        "| weights | ranges | flips | mean difference of the margin | its mean sign | of the probability |"
    )
    click.echo("|---|---|---:|---:|---:|---:|")
    gray = [pixels[..., :1] for pixels in calibration]
    for step, words, made in _variants(files, gray):
        click.echo(_row(step, words, margins(made, images), wanted))


def _weights(path: Path, images: Sequence[Pixels], step: str) -> Any:
    """A fresh copy of the network after this step and those before it."""
    network, _ = load_model(path)
    number = STEPS.index(step)
    if number >= 1:
        equalize(network, images)
    if number == 2:
        with patch.object(rounding, "CORRECTIONS", 0):
            rounding.round_kernels(network, images[:ROUNDED_ON])
    if number >= 3:
        rounding.round_kernels(network, images[:ROUNDED_ON])
    if number == 4:
        fit_heads(network, images)
    return network


def _variants(files: Mapping[str, bytes], gray: Sequence[Pixels]) -> Iterator[tuple[str, str, bytes]]:
    plain, final = STEPS[0], STEPS[-1]
    for words, rule in (
        ("largest", 1.0),
        ("mean of the images' largest", None),
        ("0.9 quantile of the images' largest", 0.9),
        ("median of the images' largest", 0.5),
        ("0.75 quantile (typical)", ranges.TYPICAL),
    ):
        with _rules(rule, tied=False):
            yield plain, words, quantize.quantize_tflite(files[plain], gray)
    for step in STEPS:
        yield step, "typical, one for each sum", quantize.quantize_tflite(files[step], gray)
    for stage in STAGES:
        kept = re.sub(r"\^\(\?!", f"^(?!.*{stage}|", quantize.BEFORE_HEADS)
        with patch.object(quantize, "BEFORE_HEADS", kept):
            yield final, f"the same, {stage} in float", quantize.quantize_tflite(files[final], gray)


@contextmanager
def _rules(rule: float | None, *, tied: bool) -> Iterator[None]:
    """Other ways to choose ranges than the released ones."""
    with ExitStack() as stack:
        if rule is None:
            stack.enter_context(patch.object(quantize, "typical_ranges", _mean_ranges))
        else:
            stack.enter_context(patch.object(ranges, "TYPICAL", rule))
        if not tied:
            stack.enter_context(patch.object(quantize, "tie", lambda found, _: dict(found)))
        yield


def _mean_ranges(images: Iterator[Mapping[str, ranges.Range]]) -> dict[str, ranges.Range]:
    seen = list(images)
    return {
        name: (
            float(np.mean([image[name][0] for image in seen])),
            float(np.mean([image[name][1] for image in seen])),
        )
        for name in seen[0]
    }


def margins(model: bytes, images: Sequence[Pixels]) -> NDArray[np.float64]:
    """Logit of level 2 less that of level 1, before temperature, as LiteRT computes it, N."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=model).get_signature_runner()
    return np.array(
        [float(runner(image=pixels[..., :1].astype(np.float32))["evidence"].sum()) for pixels in images]
    )


def _row(step: str, words: str, found: NDArray[np.float64], wanted: NDArray[np.float64]) -> str:
    error = found - wanted
    moved = np.abs(1 / (1 + np.exp(-found)) - 1 / (1 + np.exp(-wanted)))
    flips = int(((found >= 0) != (wanted >= 0)).sum())
    return f"| {step} | {words} | {flips} | {np.abs(error).mean():.3f} | {error.mean():+.3f} | {moved.mean():.4f} |"


if __name__ == "__main__":
    main()
