"""Keras model -> verified, self-describing model files. A newcomer to the export starts here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrs_edge.card import LABELS, Calibration, ModelCard
from cxrs_edge.errors import CxrsError, ModelError
from cxrs_edge.files import write_atomically
from cxrs_edge.model_file import Kind, with_card
from cxrs_edge.version import __version__
from cxrs_export.convert import to_onnx, to_tflite
from cxrs_export.int8_weights import int8_weights
from cxrs_export.keras_file import Provenance
from cxrs_export.network import OUTPUTS
from cxrs_export.quantize import quantize_onnx, quantize_tflite
from cxrs_export.representative import RepresentativeSet
from cxrs_export.rewrites import for_inference
from cxrs_export.verify import FileCheck, Limits, check_files, keras_answers, require_within

if TYPE_CHECKING:
    import keras

INTENDED_USE = (
    "Research: grades the airspace severity of a SARS-CoV-2 patient from one frontal chest X-ray. "
    "Not a medical device, not for patient care."
)
LICENCE = "CC BY-NC-SA 4.0 (weights; trained on labels under that licence)"
QUANTIZATION: Mapping[Kind, str] = {
    "tflite": "static, equalized, weights per channel and fitted, head in float32",
    "onnx": "static QDQ, equalized, weights per channel and fitted, head in float32",
}
REPORT = "export.json"


@dataclass(frozen=True)
class ExportPlan:
    """What to write and how it is judged.

    Attributes
    ----------
    name : of the model; files are called ``{name}-{precision}.{tflite,onnx}``.
    calibration : images that int8 is calibrated on; None writes float32 files only.
    verification : images that every file is compared on with the Keras model.
    limits : how far a file may be from it.
    accuracy : figures for the card, as `cxrs-edge evaluate --format json` writes them.
    labels : order of the columns of the model's ``probabilities``.
    licence : of the weights, for the card.
    network : what it is, for the card; None says it is ours.
    intended_use : for the card.
    half : whether to write a float16 TFLite file too.
    report : name of the file that tells how it was verified.
    """

    name: str
    verification: RepresentativeSet
    calibration: RepresentativeSet | None = None
    limits: Limits = field(default_factory=Limits)
    accuracy: Mapping[str, Any] | None = None
    labels: tuple[str, ...] = LABELS
    licence: str = LICENCE
    network: str | None = None
    intended_use: str = INTENDED_USE
    half: bool = False
    report: str = REPORT

    def __post_init__(self) -> None:
        if not self.name or self.name != Path(self.name).name:
            raise ModelError(f"model name {self.name!r}; expected a word that can begin a file's name")


def export_files(
    model: keras.Model,
    provenance: Provenance,
    plan: ExportPlan,
    folder: Path,
    *,
    report: Callable[[str, int, int], None] = lambda *_: None,
    on_checks: Callable[[list[FileCheck]], None] = lambda _: None,
) -> list[FileCheck]:
    """Rewrite, convert, quantize, verify and write; all files get their final names, or none does.

    Files take one channel where the network takes three equal ones (`cxrs_export.rewrites`); they are compared with
    `model` as it is.
    `on_checks` is told what was measured before it is judged.
    Raises `VerificationError` when a file misses the limits, `CxrsError` when a converter fails or the folder
    can't be written.
    """
    expected, others = keras_answers(model, plan.verification.pixels, plan.labels)
    fast = for_inference(model)
    provenance, plan = _with_channels(provenance, plan, fast.input_shape[-1])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unverified-", dir=folder) as hidden:
            paths = _write_unverified(model, fast, provenance, plan, Path(hidden), report)
            checks = check_files(paths, expected, plan.verification.pixels, others=others, report=report)
            on_checks(checks)
            require_within(checks, plan.limits)
            for path in paths:
                write_atomically(folder / path.name, path.read_bytes())
        write_atomically(folder / plan.report, _report(plan, checks))
    except OSError as error:
        raise CxrsError(f"{folder}: can't be written: {error}") from error
    return checks


def _with_channels(provenance: Provenance, plan: ExportPlan, channels: int) -> tuple[Provenance, ExportPlan]:
    """The same for files that take so many of the image's equal channels."""
    calibration = None if plan.calibration is None else plan.calibration.with_channels(channels)
    return (
        replace(provenance, input=replace(provenance.input, channels=channels)),
        replace(plan, verification=plan.verification.with_channels(channels), calibration=calibration),
    )


def _write_unverified(
    model: keras.Model,
    fast: keras.Model,
    provenance: Provenance,
    plan: ExportPlan,
    folder: Path,
    report: Callable[[str, int, int], None],
) -> list[Path]:
    steps = 2 + plan.half + 2 * (plan.calibration is not None)
    paths = []
    for number, (kind, precision, base) in enumerate(_convert(model, fast, plan, report), 1):
        report(f"converted to {kind} {precision}", number, steps)
        card = _card(model, provenance, plan, precision, QUANTIZATION[kind])
        paths.append(folder / f"{plan.name}-{precision}.{kind}")
        paths[-1].write_bytes(with_card(base, card, kind))
    return paths


def _convert(
    model: keras.Model, fast: keras.Model, plan: ExportPlan, report: Callable[[str, int, int], None]
) -> Iterator[tuple[Kind, str, bytes]]:
    """The converters' bytes, one file after the other."""
    try:
        yield "tflite", "float32", to_tflite(fast)
        yield "onnx", "float32", to_onnx(fast)
        if plan.half:
            yield "tflite", "float16", to_tflite(fast, half=True)
        if plan.calibration is not None:
            rounded = for_inference(int8_weights(model, plan.calibration.pixels, report))
            yield "tflite", "int8", quantize_tflite(to_tflite(rounded), plan.calibration.pixels)
            yield "onnx", "int8", quantize_onnx(to_onnx(rounded), plan.calibration.pixels)
    except Exception as error:  # Each converter has exception classes of its own, some of no module.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CxrsError(f"{plan.name}: the converter failed: {reason}") from error


def _card(
    model: keras.Model, provenance: Provenance, plan: ExportPlan, precision: str, method: str
) -> ModelCard:
    quantization: dict[str, Any] = {}
    if precision == "int8" and plan.calibration is not None:
        quantization = {
            "method": method,
            "calibration_source": plan.calibration.source,
            "calibration_ids": list(plan.calibration.ids),
        }
    ours = f"COVID-Net CXR-S ({model.name}), {model.count_params():,} parameters"
    return ModelCard(
        name=plan.name,
        version=__version__,
        network=plan.network or ours,
        precision=precision,
        input=provenance.input,
        outputs={name: OUTPUTS[name] for name in sorted(model.output_names)},
        labels=plan.labels,
        licence=plan.licence,
        intended_use=plan.intended_use,
        base_bytes=0,
        sha256="",
        calibration=Calibration(provenance.temperature, provenance.temperature_fitted),
        decision=provenance.decision,
        training=provenance.training,
        quantization=quantization,
        accuracy=plan.accuracy or {},
    )


def _report(plan: ExportPlan, checks: list[FileCheck]) -> bytes:
    calibration = plan.calibration
    report = {
        "schema": "cxrs-edge/export/1",
        "verified_on": plan.verification.source,
        "calibrated_on": None if calibration is None else calibration.source,
        "calibration_ids": [] if calibration is None else list(calibration.ids),
        "checks": [check.to_json() for check in checks],
    }
    return (json.dumps(report, indent=1) + "\n").encode()
