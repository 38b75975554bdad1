"""`cxrs-edge export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import click

from cxrs_bench.progress import progress
from cxrs_edge.errors import DataError
from cxrs_edge.prepare import InputSpec
from cxrs_export.cli_export_sources import DEFAULT_PRESET, NO_PRESET, load_networks, load_source
from cxrs_export.exporting import REPORT, ExportPlan, export_files
from cxrs_export.imported import INPUT_RANGES, PRESETS
from cxrs_export.representative import RepresentativeSet, labelled_sets, phantom_set
from cxrs_export.verify import PHANTOM_LIMITS, Limits, render_checks

FILE = click.Path(path_type=Path)


@click.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge export --quantize\n"
    "  cxrs-edge export runs/first/model.keras -o out --quantize --calibration data/severity\n"
    "  cxrs-edge export --checkpoint COVIDNet-CXR-S/model --quantize --calibration data/severity\n"
    "  cxrs-edge export export/checkpoints/cxrs.keras --baselines -o networks\n"
    "  cxrs-edge export model.h5 --input-range 0..1 --labels level1,level2"
)
@click.argument("model", type=FILE, required=False)
@click.option("-o", "folder", type=FILE, default=Path("exported"), show_default=True, help="Folder to write.")
@click.option("--quantize", is_flag=True, help="Write int8 files too.")
@click.option(
    "--baselines",
    is_flag=True,
    help="Write what bench run --models takes: CXR-S, ResNet-50 and CheXNet in each precision. The last two, and "
    "without MODEL the first, have random weights, and say so.",
)
@click.option("--calibration", type=FILE, help="Labelled set whose training split calibrates int8.")
@click.option("--images", type=FILE, help="Folder of its images, if not beside the list.")
@click.option("--calibration-images", type=click.IntRange(1), default=100, show_default=True)
@click.option("--verification-images", type=click.IntRange(1), default=100, show_default=True)
@click.option(
    "--name", help="Of the model; begins the files' names.  [default: cxrs; else the preset or the file]"
)
@click.option(
    "--head",
    type=click.Choice(["gap", "flatten"]),
    default="gap",
    show_default=True,
    help="Of a .keras model; flatten is the published graph: the same function, larger.",
)
@click.option("--accuracy", type=FILE, help="JSON from `evaluate --format json`, for the card.")
@click.option(
    "--max-flips",
    type=click.FloatRange(0, 1),
    help="Share of verification images whose level int8 may change."
    f"  [default: {Limits().int8_flips:g}, on phantoms {PHANTOM_LIMITS.int8_flips:g}]",
)
@click.option(
    "--max-difference",
    type=click.FloatRange(0, 1),
    help="Of any int8 probability."
    f"  [default: {Limits().int8_difference:g}, on phantoms {PHANTOM_LIMITS.int8_difference:g}]",
)
@click.option(
    "--checkpoint",
    metavar="PREFIX",
    type=FILE,
    help="TensorFlow 1 checkpoint in place of MODEL: what PREFIX.meta, .index and .data-* have in common.",
)
@click.option("--input", "image", metavar="TENSOR", help="Of the checkpoint: the image, input_1:0.")
@click.option(
    "--output", metavar="TENSOR", help="Of the checkpoint: the probabilities, norm_dense_2/Softmax:0."
)
@click.option(
    "--preset",
    type=click.Choice([*PRESETS, NO_PRESET]),
    help=f"Facts of a published model that the options below may change.  "
    f"[default: {DEFAULT_PRESET} for --checkpoint, {NO_PRESET} for MODEL]",
)
@click.option("--input-range", type=click.Choice(list(INPUT_RANGES)), help="Pixel values that it takes.")
@click.option("--labels", metavar="LABEL,LABEL", help="Order of its output's columns: level1,level2.")
@click.option("--crop-top", type=click.FloatRange(0, 0.5), help="Share cut off at the top.  [default: 0.08]")
def export(
    model: Path | None,
    folder: Path,
    quantize: bool,
    baselines: bool,
    calibration: Path | None,
    images: Path | None,
    calibration_images: int,
    verification_images: int,
    name: str | None,
    head: str,
    accuracy: Path | None,
    max_flips: float | None,
    max_difference: float | None,
    **source: Any,
) -> None:
    """Convert a model to TFLite and ONNX files that carry their card, and verify them.

    MODEL is a .keras file of `train`, or somebody else's SavedModel folder or .h5 file. Without MODEL: the
    checkpoint released in the repository, or a TensorFlow 1 --checkpoint. Models of others need --preset, or
    --input-range and --labels.

    Without --calibration, int8 is calibrated and all files are verified on drawn phantoms, which only tell
    broken files. Every file is compared with the model on each installed engine; if one misses the limits,
    nothing is written and the exit status is 3.
    """
    quantize = quantize or baselines
    if baselines and (name is not None or head != "gap"):
        raise click.UsageError(
            "--baselines: its files have names and heads of their own; leave --name and --head out"
        )
    networks = load_networks(model, source) if baselines else iter([load_source(model, head, source)])
    first = next(networks)
    with progress() as report:
        calibrating, verifying = _representative(
            first.provenance.input,
            calibration,
            images,
            counts=(calibration_images if quantize else 0, verification_images),
            report=report,
        )
        for loaded in chain([first], networks):
            limits = _limits(PHANTOM_LIMITS if calibration is None else Limits(), max_flips, max_difference)
            if loaded.is_random:
                # Which side of the middle it answers is chance.
                limits = replace(limits, int8_flips=1.0)
            plan = ExportPlan(
                name=loaded.name if name is None else name,
                verification=verifying,
                calibration=calibrating if quantize else None,
                limits=limits,
                accuracy=None if accuracy is None or loaded.is_random else _read_json(accuracy),
                labels=loaded.labels,
                licence=loaded.licence,
                network=loaded.network,
                intended_use=loaded.intended_use,
                half=baselines,
                report=f"{loaded.name}-{REPORT}" if baselines else REPORT,
            )
            checks = export_files(
                loaded.model,
                loaded.provenance,
                plan,
                folder,
                report=report,
                on_checks=lambda checks: click.echo(render_checks(checks)),
            )
            for file in dict.fromkeys(check.file for check in checks):
                click.echo(f"{folder / file}: {(folder / file).stat().st_size / 1e6:.1f} MB")


def _representative(
    spec: InputSpec,
    labelled: Path | None,
    images: Path | None,
    *,
    counts: tuple[int, int],
    report: Callable[[str, int, int], None],
) -> tuple[RepresentativeSet, RepresentativeSet]:
    """The images to calibrate and to verify on, as many as `counts` says."""
    calibration, verification = counts
    if labelled is not None:
        return labelled_sets(
            labelled,
            spec,
            images=images,
            calibration=calibration,
            verification=verification,
            report=report,
        )
    work = "calibrating and verifying" if calibration else "verifying"
    click.echo(f"{work} on drawn phantoms, which only tell broken files; for a release name --calibration")
    return phantom_set(spec, calibration), phantom_set(spec, verification, seed=1)


def _limits(default: Limits, flips: float | None, difference: float | None) -> Limits:
    given = {"int8_flips": flips, "int8_difference": difference}
    return replace(default, **{key: value for key, value in given.items() if value is not None})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes(), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: can't be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: got {type(values).__name__}; expected a JSON object")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
