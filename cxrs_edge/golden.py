"""What the bundled model answered when it was released: drawn images, their prepared pixels, and the answers.

They live in ``golden/`` beside the model files and belong to these very files: their hashes are in it.
cxrs_export.golden records them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrs_edge.errors import ModelError
from cxrs_edge.grader import BUNDLED
from cxrs_edge.model_file import read_model_file
from cxrs_edge.prepare import Pixels

SCHEMA = "cxrs-edge/golden/1"
FOLDER = "golden"
INDEX = "golden.json"


@dataclass(frozen=True)
class PackageAnswers:
    """What one engine's package answered at the release.

    Attributes
    ----------
    version : of the package.
    model : name of the model file that it ran.
    level2 : image -> calibrated probability of level 2.
    """

    version: str
    model: str
    level2: Mapping[str, float]


@dataclass(frozen=True)
class Golden:
    """What a release answered.

    Attributes
    ----------
    models : folder of the model files; the images are in ``golden/`` below it.
    tolerance : largest difference of a probability that is still the same answer (docs/adr/0005).
    sha256 : model file's name -> hash in its card.
    pixels : image -> hash of its prepared pixels, 1 x H x W x C.
    packages : package as imported -> its answers.
    """

    models: Path
    tolerance: float
    sha256: Mapping[str, str]
    pixels: Mapping[str, str]
    packages: Mapping[str, PackageAnswers]

    def image_path(self, image: str) -> Path:
        """The drawn image, a PNG file."""
        return self.models / FOLDER / f"{image}.png"

    def read_pixels(self, image: str, channels: int) -> Pixels:
        """The image as it was prepared at the release, uint8, 1 x size x size x channels.

        A lossless file, so that no resizing of this machine is in it. Raises `ModelError` if it is damaged.
        """
        path = prepared_path(self.models, image)
        try:
            with Image.open(path) as file:
                plane = np.asarray(file)
        except (OSError, ValueError, SyntaxError) as error:
            raise ModelError(f"{path}: can't be read: {error}; install cxrs-edge again") from error
        pixels: Pixels = np.repeat(plane[np.newaxis, :, :, np.newaxis], channels, axis=3)
        if hash_pixels(pixels) != self.pixels[image]:
            raise ModelError(f"{path}: not the file of the release; install cxrs-edge again")
        return pixels


def prepared_path(models: Path, image: str) -> Path:
    """Where an image's prepared pixels are kept: one gray plane."""
    return models / FOLDER / f"{image}.prepared.png"


def hash_pixels(pixels: Pixels) -> str:
    """SHA-256 of the values, row by row."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def read_golden(models: Path = BUNDLED) -> Golden:
    """Read what a folder of model files was released with, and check that it belongs to them.

    Raises `ModelError` for what is missing or damaged, or belongs to other model files.
    """
    path = models / FOLDER / INDEX
    try:
        golden = _parse(models, json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: can't be read: {error!r}; install cxrs-edge again") from error
    for model, sha256 in golden.sha256.items():
        found = read_model_file(models / model).card.sha256
        if found != sha256:
            raise ModelError(
                f"{path}: its answers are those of {model} with sha256 {sha256}, but this file has {found}; "
                "install cxrs-edge again, or after a release: make golden"
            )
    return golden


def _parse(models: Path, values: Any) -> Golden:
    if values["schema"] != SCHEMA:
        raise ValueError(f"schema {values['schema']!r}, expected {SCHEMA!r}")
    golden = Golden(
        models=models,
        tolerance=float(values["tolerance"]),
        sha256={str(model): str(sha256) for model, sha256 in values["models"].items()},
        pixels={str(image): str(sha256) for image, sha256 in values["pixels"].items()},
        packages={str(name): _parse_answers(answers) for name, answers in values["packages"].items()},
    )
    if not (golden.sha256 and golden.pixels and golden.packages):
        raise ValueError("models, pixels or packages: empty")
    for name, answers in golden.packages.items():
        if answers.model not in golden.sha256 or answers.level2.keys() != golden.pixels.keys():
            raise ValueError(f"packages.{name}: another model or other images than listed")
    return golden


def _parse_answers(values: Any) -> PackageAnswers:
    level2 = {str(image): float(level2) for image, level2 in values["level2"].items()}
    return PackageAnswers(version=str(values["version"]), model=str(values["model"]), level2=level2)
