"""`cxrs-edge export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxrs_bench.progress import progress
from cxrs_edge.card import LABELS
from cxrs_edge.errors import DataError, ModelError
from cxrs_export.exporting import LICENCE, ExportPlan, export_files
from cxrs_export.imported import INPUT_RANGES, PRESETS, Facts, Imported, import_checkpoint, import_model
from cxrs_export.keras_file import Provenance, load_model
from cxrs_export.representative import RepresentativeSet, labelled_sets, phantom_set
from cxrs_export.verify import PHANTOM_LIMITS, Limits, render_checks

if TYPE_CHECKING:
    from cxrs_edge.prepare import InputSpec

FILE = click.Path(path_type=Path)
NO_PRESET = "none"
DEFAULT_PRESET = "covidnet-cxr-s"


@click.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge export --quantize\n"
    "  cxrs-edge export runs/first/model.keras -o out --quantize --calibration data/severity\n"
    "  cxrs-edge export --checkpoint COVIDNet-CXR-S/model --quantize --calibration data/severity\n"
    "  cxrs-edge export model.h5 --input-range 0..1 --labels level1,level2"
)
@click.argument("model", type=FILE, required=False)
@click.option("-o", "folder", type=FILE, default=Path("exported"), show_default=True, help="Folder to write.")
@click.option("--quantize", is_flag=True, help="Write int8 files too.")
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
    loaded = _load(model, head, source)
    with progress() as report:
        calibrating, verifying = _representative(
            loaded.provenance.input,
            calibration,
            images,
            counts=(calibration_images if quantize else 0, verification_images),
            report=report,
        )
        plan = ExportPlan(
            name=loaded.name if name is None else name,
            verification=verifying,
            calibration=calibrating if quantize else None,
            limits=_limits(PHANTOM_LIMITS if calibration is None else Limits(), max_flips, max_difference),
            accuracy=None if accuracy is None else _read_json(accuracy),
            labels=loaded.labels,
            licence=loaded.licence,
            network=loaded.network,
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


@dataclass(frozen=True)
class _Loaded:
    """A Keras model and what its files and its card say of it."""

    model: Any
    provenance: Provenance
    name: str = "cxrs"
    labels: tuple[str, ...] = LABELS
    licence: str = LICENCE
    network: str | None = None


def _load(model: Path | None, head: str, source: dict[str, Any]) -> _Loaded:
    checkpoint = source.pop("checkpoint")
    if model is not None and checkpoint is not None:
        raise click.UsageError(f"MODEL {model} and --checkpoint {checkpoint}: name one of them")
    tensors = {option: source[option] for option in ("image", "output") if source[option] is not None}
    if tensors and checkpoint is None:
        raise click.UsageError(
            "--input and --output name tensors of a --checkpoint; the folder to write is -o"
        )
    if checkpoint is None and (model is None or not (model.is_dir() or model.suffix == ".h5")):
        return _load_keras(model, head, source)
    if head != "gap":
        raise click.UsageError(f"--head {head}: only a .keras model of `train` has two heads")
    return _load_imported(model or checkpoint, checkpoint is not None, source)


def _load_keras(model: Path | None, head: str, source: dict[str, Any]) -> _Loaded:
    from cxrs_export.network import has_gap_head, resize_network

    given = [f"--{option.replace('_', '-')}" for option, value in source.items() if value is not None]
    if given:
        raise click.UsageError(
            f"{', '.join(given)}: for a --checkpoint, a SavedModel folder or an .h5 file; a .keras model says it"
        )
    network, provenance = load_model(model or released_checkpoint())
    if head == "flatten" and has_gap_head(network):
        network = resize_network(network, provenance.input.size, head="flatten")
    return _Loaded(network, provenance)


def _load_imported(path: Path, is_checkpoint: bool, source: dict[str, Any]) -> _Loaded:
    chosen = source["preset"] or (DEFAULT_PRESET if is_checkpoint else NO_PRESET)
    facts = _facts(chosen, source)
    if is_checkpoint:
        imported = import_checkpoint(path, *_tensors(chosen, source), facts)
    else:
        imported = import_model(path, facts)
    click.echo(_described(imported, facts, chosen))
    return _Loaded(
        imported.model,
        imported.provenance,
        name=path.stem if chosen == NO_PRESET else chosen,
        labels=facts.labels,
        licence=facts.licence,
        network=imported.network,
    )


def _tensors(chosen: str, source: dict[str, Any]) -> tuple[str, str]:
    """Names of the image and of the probabilities in a checkpoint's graph."""
    preset = PRESETS.get(chosen)
    image = source["image"] or (None if preset is None else preset.image)
    output = source["output"] or (None if preset is None else preset.output)
    if image is None or output is None:
        raise click.UsageError(f"--checkpoint with --preset {NO_PRESET} needs --input and --output")
    return str(image), str(output)


def _facts(chosen: str, source: dict[str, Any]) -> Facts:
    given = {option: source[option] for option in ("input_range", "crop_top") if source[option] is not None}
    if source["labels"] is not None:
        given["labels"] = tuple(source["labels"].split(","))
    if chosen != NO_PRESET:
        return replace(PRESETS[chosen].facts, **given)
    if not {"input_range", "labels"} <= set(given):
        raise click.UsageError(
            "weights don't say what they were trained on: name --input-range and --labels, or a --preset"
        )
    return Facts(**given)


def _described(imported: Imported, facts: Facts, chosen: str) -> str:
    """What was assumed, in one line: the file can't contradict it."""
    spec, training = imported.provenance.input, imported.provenance.training
    return (
        f"{imported.network} (preset {chosen}): {training['input']} takes {spec.size} x {spec.size} x "
        f"{spec.channels}, {facts.input_range}, channel order {facts.channel_order}, without the top "
        f"{100 * spec.crop_top:g} %; {training['output']} gives {', '.join(facts.labels)}"
    )


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


def released_checkpoint() -> Path:
    """The checkpoint in the repository that this file, or the current folder, belongs to; else `ModelError`."""
    for clone in (Path(__file__).parents[2], Path.cwd()):
        path = clone / "export" / "checkpoints" / "cxrs.keras"
        if path.is_file():
            return path
    raise ModelError(
        "no MODEL named, and the released checkpoint is only in a clone of the repository; go there, or name "
        "one, for example: cxrs-edge export runs/first/model.keras"
    )


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
