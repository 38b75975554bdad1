"""A trained Keras model with its provenance inside: one more JSON file in the ``.keras`` zip."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.card import DecisionRule, parse_decision
from cxrs_edge.errors import ModelError
from cxrs_edge.extras import import_extra
from cxrs_edge.prepare import RESIZE_FILTERS, InputSpec, Pixels

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
    decision: DecisionRule | None = None


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
    """Read a ``.keras`` file of a network that grades, as `load_network` does.

    Raises `ModelError` for anything that isn't a Keras model from an image to two probabilities.
    """
    model, provenance = load_network(path)
    made = dict(zip(model.output_names, (tuple(tensor.shape) for tensor in model.outputs), strict=True))
    if made.get("probabilities") != (None, 2):
        raise ModelError(f"{path}: outputs {made}; expected 'probabilities' (None, 2)")
    return model, provenance


def infer(model: keras.Model, pixels: Pixels) -> dict[str, NDArray[np.float32]]:
    """What the network says of prepared pixels (uint8, 1 x H x W x C), by the names of its outputs."""
    outputs = model.predict_on_batch(pixels.astype(np.float32))
    named = outputs if isinstance(outputs, dict) else {model.output_names[0]: outputs}
    return {name: np.asarray(output) for name, output in named.items()}


def load_network(path: Path) -> tuple[keras.Model, Provenance]:
    """Read a ``.keras`` file as float32; without provenance inside, the defaults for its input size hold.

    Raises `ModelError` for anything that isn't a Keras model that takes one square image.
    """
    keras = import_extra("keras", "export")
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected a .keras model written by: cxrs-edge train")
    try:
        import cxrs_export.severity_network  # noqa: F401  Registers its layers.

        # First, because it takes nothing but a zip, and Keras would try its older formats.
        provenance = _read_provenance(path)
        # safe_mode refuses files that carry code to run.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        _check_input(model, path)
    except ModelError:
        raise
    except Exception as error:  # Keras raises nearly anything on hostile bytes.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable Keras model: {reason}") from error
    height, channels = int(model.input_shape[1]), int(model.input_shape[-1])
    if provenance is None:
        provenance = Provenance(input=InputSpec(size=height, channels=channels))
    elif (provenance.input.size, provenance.input.channels) != (height, channels):
        raise ModelError(
            f"{path}: its provenance says {provenance.input.size} px, {provenance.input.channels} channels, "
            f"the network takes {height} px, {channels} channels"
        )
    halved = any(weight.dtype == "float16" for weight in model.weights)
    return (_cast(model, "float32") if halved else model), provenance


def _read_provenance(path: Path) -> Provenance | None:
    with zipfile.ZipFile(path) as archive:
        if PROVENANCE not in archive.namelist():
            return None
        values = json.loads(archive.read(PROVENANCE))
    decision = values.get("decision")
    provenance = Provenance(
        **{
            **values,
            "input": InputSpec(**values["input"]),
            "decision": None if decision is None else parse_decision(decision, name=PROVENANCE),
        }
    )
    if not _plausible(provenance):
        raise ValueError(f"{PROVENANCE} inside holds values out of range")
    return provenance


def _plausible(provenance: Provenance) -> bool:
    spec = provenance.input
    return (
        0 <= spec.crop_top <= 0.5
        and spec.resize in RESIZE_FILTERS
        and 1e-3 <= provenance.temperature <= 1e3
        and isinstance(provenance.training, dict)
        and isinstance(provenance.temperature_fitted, str)
    )


def _check_input(model: keras.Model, path: Path) -> None:
    given = model.input_shape
    square = isinstance(given, tuple) and len(given) == 4 and given[1] is not None and given[1] == given[2]
    if not square or given[3] not in (1, 3):
        raise ModelError(f"{path}: input {given}; expected one square image, (None, size, size, 1 or 3)")


def _cast(model: keras.Model, dtype: str) -> keras.Model:
    """The same network with its weights in another precision."""
    import keras

    # Every layer's configuration names its precision.
    twin = keras.models.model_from_json(re.sub('"float(16|32)"', f'"{dtype}"', model.to_json()))
    with np.errstate(over="ignore"):
        weights = [weight.astype(dtype) for weight in model.get_weights()]
    if not all(np.isfinite(weight).all() for weight in weights):
        raise ModelError(
            f"{model.name}: has weights that {dtype} can't hold; expected finite numbers in its range"
        )
    twin.set_weights(weights)
    return twin
