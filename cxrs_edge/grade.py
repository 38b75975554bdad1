"""Network outputs + card -> what is said of one image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cxrs_edge.card import Conformal, DecisionRule, ModelCard
from cxrs_edge.engines import Outputs
from cxrs_edge.errors import CxrsError
from cxrs_edge.grayscale import Grayscale
from cxrs_edge.image import GrayImage
from cxrs_edge.outputs import read_outputs
from cxrs_edge.prepare import Frame, InputSpec, find_frame, nominal_bits

Outcome = Literal["graded", "uncertain", "rejected"]


@dataclass(frozen=True)
class Decision:
    """What a model says of an image.

    Attributes
    ----------
    outcome : ``graded``; ``uncertain`` (level is still the likelier one) or ``rejected`` (no level).
    level : 1 (opacities in 1 or 2 of six lung zones) or 2 (in 3 or more), 0 (in none), None if rejected.
    probabilities : ``level1`` and ``level2``, calibrated, sum 1, also for level 0; empty if rejected.
    notes : what a reader of the level should know.
    zones, geographic, opacity : see `cxrs_edge.outputs.Findings`; None if the model has no such outputs.
    """

    outcome: Outcome
    level: int | None
    probabilities: Mapping[str, float]
    notes: tuple[str, ...] = ()
    zones: Mapping[str, float] | None = None
    geographic: float | None = None
    opacity: float | None = None


REJECTED = Decision(outcome="rejected", level=None, probabilities={})
"""Of an image that the quality gate refuses: no model has seen it."""


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
    timing_ms : milliseconds in ``read`` (file and decoder), ``prepare``, ``gate`` (where it is on) and ``infer``,
        about 0 if rejected.
    image : how the pixels were made.
    zones, geographic, opacity : see `Decision`.

    The JSON leaves out which of the last four are None.
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
    zones: Mapping[str, float] | None = None
    geographic: float | None = None
    opacity: float | None = None


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
    """Calibrate the probabilities and decide by the card's rule.

    The logit margin log(p2 / p1) is divided by the card's temperature (Guo et al., On Calibration of Modern
    Neural Networks, ICML 2017); level 2 is the likelier one iff p2 >= p1, which no temperature changes.
    Of a network that was never trained no level is told. Raises `EngineError` naming the output whose numbers can't
    be its meaning.
    """
    found = read_outputs(outputs, card)
    margin = math.log(found.level2 / found.level1) / card.calibration.temperature
    # tanh is the logistic function that can't overflow.
    lean = math.tanh(margin / 2)
    likelier = Decision(
        outcome="graded",
        level=2 if found.level2 >= found.level1 else 1,
        probabilities={"level1": (1 - lean) / 2, "level2": (1 + lean) / 2},
        zones=found.zones,
        geographic=found.geographic,
        opacity=found.opacity,
    )
    if not card.is_trained:
        note = f"model {card.name} was never trained: its weights are random, for benchmarks only"
        return replace(likelier, outcome="rejected", level=None, notes=(note,))
    return likelier if card.decision is None else _apply(card.decision, likelier)


def _apply(rule: DecisionRule, likelier: Decision) -> Decision:
    """Level 0 comes first: whether level 1 or 2 is no question then."""
    zones = likelier.zones
    if rule.level0 is not None and zones is not None and max(zones.values()) < rule.level0:
        note = (
            f"no zone reaches {_percent(rule.level0)}: below the two levels, whose probabilities stand here"
        )
        return replace(likelier, level=0, notes=(note,))
    return likelier if rule.uncertain is None else _apply_conformal(rule.uncertain, likelier)


def _apply_conformal(rule: Conformal, likelier: Decision) -> Decision:
    thresholds = {1: rule.level1, 2: rule.level2}
    held = [level for level, least in thresholds.items() if likelier.probabilities[f"level{level}"] >= least]
    if held == [likelier.level]:
        return likelier
    note = f"can't tell level 1 from level 2 at an error rate of {_percent(rule.error_rate)}"
    return replace(likelier, outcome="uncertain", notes=(note,))


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
