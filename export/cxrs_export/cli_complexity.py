"""`cxrs-edge complexity`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cxrs_edge.extras import import_extra


@click.command(epilog="\b\nExamples:\n  cxrs-edge complexity\n  cxrs-edge complexity cxrs-int8.tflite --each")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--each", is_flag=True, help="A row for each operator, not for each kind of operator.")
def complexity(files: tuple[Path, ...], each: bool) -> None:
    """Count parameters and MACs of model FILES (.tflite, .onnx), or compare the networks.

    Without FILES: CXR-S, ResNet-50 and CheXNet at 480 x 480 x 3, each counted on its Keras graph and again on
    its exported TFLite and ONNX files. MACs are those of convolutions and dense layers; 1 MAC = 2 FLOPs.
    """
    from cxrs_bench.complexity import count_file, render_complexity

    for file in files:
        click.echo(f"{file}\n\n{render_complexity(count_file(file), each=each)}\n")
    if not files:
        _compare_networks()


def _compare_networks() -> None:
    import_extra("keras", "export")
    from cxrs_export.baselines import chexnet, resnet50
    from cxrs_export.network import build_network

    networks: dict[str, Callable[[], Any]] = {
        "COVID-Net CXR-S": lambda: build_network(head="flatten"),
        "ResNet-50": resnet50,
        "CheXNet (DenseNet-121)": chexnet,
    }
    click.echo(
        "| network | parameters, trainable | with batch-norm statistics | G MACs | GFLOPs | counted alike on |"
    )
    click.echo("|---|---:|---:|---:|---:|---|")
    for name, build in networks.items():
        click.echo(_row(name, build()))


def _row(name: str, model: Any) -> str:
    """One network's row; says so if a file's count differs from the Keras graph's."""
    from cxrs_bench.complexity import count_file
    from cxrs_export.convert import to_onnx, to_tflite
    from cxrs_export.keras_complexity import count_keras

    keras = count_keras(model)
    agreeing = ["Keras"]
    with tempfile.TemporaryDirectory() as folder:
        for kind, convert in (("TFLite", to_tflite), ("ONNX", to_onnx)):
            path = Path(folder) / "model"
            path.write_bytes(convert(model))
            counted = count_file(path)
            same = (counted.macs, counted.kernel_parameters) == (keras.macs, keras.kernel_parameters)
            agreeing.append(kind if same else f"not {kind}: {counted.macs:,} MACs")
    return (
        f"| {name} | {keras.parameters:,} | {keras.total_parameters:,} | {keras.macs / 1e9:.3f} "
        f"| {keras.flops / 1e9:.2f} | {', '.join(agreeing)} |"
    )
