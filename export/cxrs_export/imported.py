"""Models of other makers, as what the export takes: a Keras model from pixel values 0..255 to probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrs_edge.card import LABELS
from cxrs_edge.errors import ModelError
from cxrs_edge.prepare import InputSpec
from cxrs_export.frozen_graph import FrozenGraph, Shape, model_errors
from cxrs_export.keras_file import Provenance
from cxrs_export.keras_h5 import read_h5
from cxrs_export.saved_model import read_saved_model
from cxrs_export.tf1_checkpoint import checkpoint_files, read_checkpoint

if TYPE_CHECKING:
    import keras

INPUT_RANGES: Mapping[str, tuple[float, float]] = {
    "0..255": (1.0, 0.0),
    "0..1": (1 / 255, 0.0),
    "-1..1": (2 / 255, -1.0),
}
"""What pixel values 0..255 are multiplied by, and what is added, before such a network sees them."""
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Facts:
    """What a file of weights can't say itself.

    Attributes
    ----------
    input_range : one of `INPUT_RANGES`.
    labels : order of the output's columns.
    crop_top : share of the image's height that was cut off in training.
    size : of the square input in pixels; None takes the graph's.
    channel_order : in training. The runtime feeds three times the same gray values, so it changes nothing.
    licence : of the weights, one line.
    network : what it is, one line; None says where it was read from.
    """

    input_range: str
    labels: tuple[str, ...]
    crop_top: float = InputSpec.crop_top
    size: int | None = None
    channel_order: str = "not stated"
    licence: str = "that of the weights it was converted from, not stated"
    network: str | None = None

    def __post_init__(self) -> None:
        if sorted(self.labels) != sorted(LABELS):
            raise ModelError(
                f"labels {','.join(self.labels)!r}; expected {','.join(LABELS)} in the order of the output's columns"
            )


@dataclass(frozen=True)
class Preset:
    """A published model: its tensors and its facts."""

    image: str
    output: str
    facts: Facts


PRESETS: Mapping[str, Preset] = {
    # github lindawangg/COVID-Net: docs/covidnet_severity.md names the tensors, inference.py and eval.py the
    # mapping of --is_severity_model, cv2.imread (BGR), the crop and the division by 255.
    "covidnet-cxr-s": Preset(
        image="input_1:0",
        output="norm_dense_2/Softmax:0",
        facts=Facts(
            input_range="0..1",
            labels=("level2", "level1"),
            crop_top=0.08,
            size=480,
            channel_order="BGR",
            licence="the authors', github lindawangg/COVID-Net (GNU AGPL 3.0)",
            network="COVIDNet-CXR-S, weights released by its authors",
        ),
    ),
}


@dataclass(frozen=True)
class Imported:
    """What the export needs of such a model.

    Attributes
    ----------
    model : from ``image`` (float32, N x size x size x channels, 0..255) to ``probabilities`` (float32, N x 2).
    provenance : its input, and which files and tensors it came from.
    network : what it is, for the card.
    """

    model: keras.Model
    provenance: Provenance
    network: str


def import_checkpoint(prefix: Path, image: str, output: str, facts: Facts) -> Imported:
    """Read a TensorFlow 1 checkpoint; `image` and `output` are tensors. Raises `ModelError`."""
    frozen = read_checkpoint(prefix, image, output)
    return _import(frozen, facts, "TensorFlow 1 checkpoint", prefix, checkpoint_files(prefix))


def import_model(path: Path, facts: Facts) -> Imported:
    """Read a SavedModel folder or an ``.h5`` file that Keras wrote. Raises `ModelError`."""
    if path.suffix == ".h5":
        return _import(read_h5(path), facts, "Keras .h5 file", path, [path])
    files = [path / "saved_model.pb", *sorted((path / "variables").glob("variables.*"))]
    return _import(read_saved_model(path), facts, "SavedModel", path, files)


def _import(frozen: FrozenGraph, facts: Facts, kind: str, source: Path, files: Iterable[Path]) -> Imported:
    spec = _input_spec(frozen.shape, facts, f"{source}: input {frozen.image}")
    with model_errors(source, "run on one image"):
        model = _from_pixels(frozen, spec, facts.input_range)
        _require_probabilities(model, spec, f"{source}: output {frozen.output}")
    training = {
        "source": kind,
        "files": {path.name: _sha256(path) for path in files},
        "input": frozen.image,
        "output": frozen.output,
        "input_range": facts.input_range,
        "channel_order": f"{facts.channel_order}; fed gray, so that RGB and BGR are the same",
    }
    what = facts.network or f"{kind} {source.name}"
    network = f"{what}, {frozen.parameters:,} parameters"
    return Imported(model, Provenance(input=spec, training=training), network)


def _input_spec(shape: Shape, facts: Facts, subject: str) -> InputSpec:
    _, size, _, channels = (int(length or 1) for length in shape)
    if facts.size not in (None, size):
        raise ModelError(f"{subject}: {shape}; the preset's network takes {facts.size} x {facts.size} pixels")
    return InputSpec(size=size, channels=channels, crop_top=facts.crop_top)


def _from_pixels(frozen: FrozenGraph, spec: InputSpec, input_range: str) -> keras.Model:
    """Scaling, the network, and the names of the model file's contract."""
    import keras

    scale, offset = INPUT_RANGES[input_range]
    image = keras.Input((spec.size, spec.size, spec.channels), name="image")
    scaled = keras.layers.Rescaling(scale, offset, name="scale")(image)
    answer = keras.layers.Lambda(frozen.function, output_shape=(2,), name="probabilities")
    return keras.Model(image, answer(scaled), name="imported")


def _require_probabilities(model: keras.Model, spec: InputSpec, subject: str) -> None:
    """Raise `ModelError` unless black, gray and white images get two probabilities each."""
    for value in (0, 128, 255):
        pixels = np.full((1, spec.size, spec.size, spec.channels), value, np.float32)
        found = np.asarray(model.predict_on_batch(pixels))
        if found.shape != (1, 2):
            raise ModelError(f"{subject}: {found.shape} for one image; expected (1, 2), one number a level")
        # NaN fails every comparison, so this refuses it too.
        if not (found.min() >= 0 and abs(float(found.sum()) - 1) <= SUM_TOLERANCE):
            raise ModelError(
                f"{subject}: {found[0].tolist()} for an image of {value}; expected probabilities that "
                "add up to 1, as Softmax gives"
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
