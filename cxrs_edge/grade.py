"""Network outputs + card -> what is said of one image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cxrs_edge.card import LABELS, ModelCard
from cxrs_edge.engines import Outputs
from cxrs_edge.errors import CxrsError, EngineError
from cxrs_edge.grayscale import Grayscale
from cxrs_edge.image import GrayImage
from cxrs_edge.prepare import Frame, InputSpec, find_frame, nominal_bits

Outcome = Literal["graded", "uncertain", "rejected"]

SMALLEST = 1e-7
"""A softmax in 8 bits says 0 for what is merely small; its logarithm must exist."""
ROUNDING = 0.01
"""By how much 8 bit rounding may put a probability outside 0..1."""


@dataclass(frozen=True)
class Decision:
    """What a model says of an image.

    Attributes
    ----------
    outcome : ``graded``; ``uncertain`` (level is still the likelier one) or ``rejected`` (no level).
    level : 1 (opacities in 1 or 2 of six lung zones) or 2 (in 3 or more), None if rejected.
    probabilities : ``level1`` and ``level2``, calibrated, sum 1.
    notes : what a reader of the level should know.
    """

    outcome: Outcome
    level: int | None
    probabilities: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelInfo:
    """Which model said it: the card's name, version, precision and hash."""

    name: str
    version: str
    precision: str
    sha256: str


@dataclass(frozen=True)
class EngineInfo:
    """What ran the model."""

    name: str
    version: str
    threads: int


@dataclass(frozen=True)
class ImageInfo:
    """How the pixels that the network saw were made.

    Attributes
    ----------
    format : container format, for example ``PNG`` or ``DICOM``.
    width, height : of the upright picture in the file, in pixels.
    bits : of the range of values that became black to white.
    crop : the square that the network saw, in pixels of the upright picture.
    grayscale : how stored values became gray, for DICOM only.
    """

    format: str
    width: int
    height: int
    bits: int
    crop: Frame
    grayscale: Grayscale | None

    @classmethod
    def of(cls, image: GrayImage, spec: InputSpec) -> ImageInfo:
        """What is known of a decoded image that is prepared for this input."""
        width, height = image.size
        bits = nominal_bits(image.pixels) if image.grayscale is None else image.grayscale.bits_stored
        crop = find_frame(width, height, spec)
        return cls(image.format, width, height, bits, crop, image.grayscale)


@dataclass(frozen=True)
class Grade:
    """One graded image. The fields and their order are the JSON contract ``cxrs-edge/grade/1``.

    Attributes
    ----------
    source : what the image was called.
    outcome, level, probabilities, notes : see `Decision`; the notes begin with how the file was read.
    timing_ms : milliseconds in ``read`` (file and decoder), ``prepare`` and ``infer``.
    image : how the pixels were made; left out of the JSON when it isn't known.
    """

    source: str
    outcome: Outcome
    level: int | None
    probabilities: Mapping[str, float]
    notes: tuple[str, ...]
    model: ModelInfo
    engine: EngineInfo
    timing_ms: Mapping[str, float]
    image: ImageInfo | None = None


@dataclass(frozen=True)
class Failure:
    """One input that got no grade: the error's `kind` and message."""

    source: str
    kind: str
    message: str

    @classmethod
    def of(cls, source: str, error: CxrsError) -> Failure:
        """The failure that an error means for this input."""
        return cls(source=source, kind=error.kind, message=str(error))


def grade(outputs: Outputs, card: ModelCard) -> Decision:
    """Calibrate the probabilities and decide.

    The logit margin log(p2 / p1) is divided by the card's temperature (Guo et al., On Calibration of Modern
    Neural Networks, ICML 2017); level 2 iff p2 >= p1, which no temperature changes.
    Of a network that was never trained no level is told. Raises `EngineError` when the output is not two
    probabilities.
    """
    level1, level2 = _read_probabilities(outputs, card)
    margin = math.log(level2 / level1) / card.calibration.temperature
    # tanh is the logistic function that can't overflow.
    lean = math.tanh(margin / 2)
    probabilities = {"level1": (1 - lean) / 2, "level2": (1 + lean) / 2}
    if not card.is_trained:
        note = f"model {card.name} was never trained: its weights are random, for benchmarks only"
        return Decision("rejected", None, probabilities, (note,))
    return Decision("graded", 2 if level2 >= level1 else 1, probabilities)


def _read_probabilities(outputs: Outputs, card: ModelCard) -> tuple[float, float]:
    values = [float(value) for value in outputs["probabilities"].ravel()]
    # NaN fails every comparison, so this refuses it too.
    if len(values) != 2 or not all(-ROUNDING <= value <= 1 + ROUNDING for value in values):
        raise EngineError(
            f"model {card.name}: output probabilities: got {values}, expected two numbers from 0 to 1; "
            "the model or this engine on this machine is broken"
        )
    level1, level2 = (max(values[card.labels.index(label)], SMALLEST) for label in LABELS)
    return level1, level2
