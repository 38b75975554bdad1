"""A trained Keras model with its provenance inside: one more JSON file in the ``.keras`` zip."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrs_edge.errors import ModelError
from cxrs_edge.extras import import_extra
from cxrs_edge.prepare import InputSpec
from cxrs_export.network import build_network, has_gap_head, network_widths

if TYPE_CHECKING:
    import keras

PROVENANCE = "cxrs-provenance.json"
PACKAGES = ("tensorflow", "keras", "numpy", "pillow")


@dataclass(frozen=True)
class Provenance:
    """What a Keras model can't say itself: its input, its calibration and where its weights come from."""

    input: InputSpec
    training: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    temperature_fitted: str = "not fitted"


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide what training does."""
    return {package: version(package) for package in PACKAGES}


def save_model(model: keras.Model, path: Path, provenance: Provenance, *, half: bool = False) -> None:
    """Write a ``.keras`` file, atomically; `half` stores the weights as float16 (half the size)."""
    partial = path.with_name(f"unfinished-{path.name}")
    (_cast(model, "float16") if half else model).save(partial)
    with zipfile.ZipFile(partial, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(PROVENANCE, json.dumps(asdict(provenance), indent=1))
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load_model(path: Path) -> tuple[keras.Model, Provenance]:
    """Read a ``.keras`` file as float32; without provenance inside, the defaults for its input size hold.

    Raises `ModelError` for anything that isn't a Keras model from an image to two probabilities.
    """
    keras = import_extra("keras", "export")
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected a .keras model written by: cxrs-edge train")
    try:
        # safe_mode refuses files that carry code to run.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        provenance = _read_provenance(path)
    except Exception as error:  # Keras raises nearly anything on hostile bytes.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable Keras model: {reason}") from error
    _check_shapes(model, path)
    height, channels = int(model.input_shape[1]), int(model.input_shape[-1])
    if provenance is None:
        provenance = Provenance(input=InputSpec(size=height, channels=channels))
    elif (provenance.input.size, provenance.input.channels) != (height, channels):
        raise ModelError(
            f"{path}: its provenance says {provenance.input.size} px, {provenance.input.channels} channels, "
            f"the network takes {height} px, {channels} channels"
        )
    return (model if model.weights[0].dtype == "float32" else _cast(model, "float32")), provenance


def _read_provenance(path: Path) -> Provenance | None:
    with zipfile.ZipFile(path) as archive:
        if PROVENANCE not in archive.namelist():
            return None
        values = json.loads(archive.read(PROVENANCE))
    return Provenance(**{**values, "input": InputSpec(**values["input"])})


def _check_shapes(model: keras.Model, path: Path) -> None:
    given, made = model.input_shape, model.output_shape
    if not isinstance(given, tuple) or len(given) != 4 or given[1] is None or given[1] != given[2]:
        raise ModelError(f"{path}: input {given}; expected one square image, (None, size, size, channels)")
    if made != (None, 2) or model.output_names != ["probabilities"]:
        raise ModelError(f"{path}: outputs {model.output_names} {made}; expected 'probabilities' (None, 2)")


def _cast(model: keras.Model, dtype: str) -> keras.Model:
    """The same network with its weights in another precision."""
    import keras

    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(dtype)
        twin = build_network(
            size=int(model.input_shape[1]),
            channels=int(model.input_shape[-1]),
            head="gap" if has_gap_head(model) else "flatten",
            widths=network_widths(model),
            name=model.name,
        )
    finally:
        keras.config.set_dtype_policy(before)
    twin.set_weights([weight.astype(dtype) for weight in model.get_weights()])
    return twin
