"""``gate.npz``: weights, classes, limits and how they were fitted, in one small file without pickles."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cxrs_edge.errors import ModelError
from cxrs_edge.gate.network import Floats, Layer

SCHEMA = "cxrs-edge/gate/1"
BUNDLED = Path(__file__).parent / "gate.npz"


@dataclass(frozen=True)
class Limits:
    """Below these, an image is rejected, or doubtful.

    Attributes
    ----------
    reject_side, doubt_side : pixels of the file's shorter side.
    reject_contrast : standard deviation of the thumbnail's gray levels, of 255.
    reject_margin, doubt_margin : log odds of an upright frontal chest.
    """

    reject_side: int
    doubt_side: int
    reject_contrast: float
    reject_margin: float
    doubt_margin: float


@dataclass(frozen=True, eq=False)
class GateData:
    """All that the gate knows.

    Attributes
    ----------
    version : of the fit.
    side : pixels of the thumbnail.
    classes : names of the logits.
    layers : kernels and biases, the dense layer last.
    limits : what is rejected or doubtful.
    fitted : provenance.
    """

    version: str
    side: int
    classes: tuple[str, ...]
    layers: tuple[Layer, ...]
    limits: Limits
    fitted: Mapping[str, Any] = field(default_factory=dict)


def read_gate(path: Path) -> GateData:
    """Read a gate's file; raises `ModelError` for what is missing, damaged or of another schema."""
    try:
        with np.load(path, allow_pickle=False) as file:
            values = json.loads(str(file["card"]))
            if values["schema"] != SCHEMA:
                raise ValueError(f"schema {values['schema']!r}, expected {SCHEMA!r}")
            layers = tuple(
                (_floats(file[f"kernel{number}"]), _floats(file[f"bias{number}"]))
                for number in range(values["layers"])
            )
        return GateData(
            version=values["version"],
            side=values["side"],
            classes=tuple(values["classes"]),
            layers=layers,
            limits=Limits(**values["limits"]),
            fitted=values["fitted"],
        )
    except Exception as error:  # zipfile, zlib, numpy and json raise nearly anything on damaged bytes.
        raise ModelError(
            f"{path}: the quality gate can't be read: {error!r}; install cxrs-edge again"
        ) from error


def pack_gate(data: GateData) -> bytes:
    """The file's bytes; weights are kept in 16 bit."""
    values = {
        "schema": SCHEMA,
        "version": data.version,
        "side": data.side,
        "classes": data.classes,
        "layers": len(data.layers),
        "limits": asdict(data.limits),
        "fitted": data.fitted,
    }
    arrays: dict[str, Any] = {
        f"{name}{number}": array.astype(np.float16)
        for number, layer in enumerate(data.layers)
        for name, array in zip(("kernel", "bias"), layer, strict=True)
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, card=np.array(json.dumps(values, sort_keys=True)), **arrays)
    return buffer.getvalue()


def _floats(array: Any) -> Floats:
    return np.asarray(array, np.float32)
