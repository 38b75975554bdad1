"""The model card: everything that belongs to a model, as typed values and as JSON.

`cxrs_edge.model_file` reads it from inside a model file and writes it there.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from cxrs_edge.errors import ModelError
from cxrs_edge.prepare import RESIZE_FILTERS, InputSpec

SCHEMA = "cxrs-edge/card/1"
LABELS = ("level1", "level2")
ZONES = ("a", "b", "c", "d", "e", "f")
"""Upper, middle and lower zone of the patient's right lung, which lies on a film's left, then of the left lung."""
PRECISIONS = ("float32", "float16", "int8")
FRONTAL_CHEST = "frontal-chest"
GATES = (FRONTAL_CHEST, "none")
RANDOM_WEIGHTS = {"weights": "random"}
"""What `training` holds of a network that was never trained."""
MAX_JSON_BYTES = 4_000_000

T = TypeVar("T")


@dataclass(frozen=True)
class Calibration:
    """How probabilities are made honest: the logit margin is divided by `temperature`."""

    temperature: float = 1.0
    fitted: str = "not fitted"


@dataclass(frozen=True)
class Conformal:
    """Class-conditional conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005).

    A level belongs to the prediction set when its calibrated probability reaches its threshold; images of each
    level are outside of their set at most at the error rate.

    Attributes
    ----------
    error_rate : share of the images of each level, 0..1.
    level1, level2 : thresholds, 0..1.
    """

    error_rate: float
    level1: float
    level2: float


@dataclass(frozen=True)
class DecisionRule:
    """When a model says level 0, and when it says that it can't tell.

    Attributes
    ----------
    level0 : level 0 when the probability of every zone is below it; None for never.
    uncertain : the outcome is ``uncertain`` unless its prediction set is the likelier level alone; None for never.
    fitted : how they were chosen.
    """

    level0: float | None
    uncertain: Conformal | None
    fitted: str


@dataclass(frozen=True)
class ModelCard:
    """Everything that belongs to a model.

    Attributes
    ----------
    name, version : of the model, for example ``cxrs`` and ``0.1.0``.
    network : what the graph is, in words and widths.
    precision : ``float32``, ``float16`` (weights only) or ``int8``.
    input : what `cxrs_edge.prepare` must make of an image.
    outputs : name of each output of the graph -> its meaning.
    labels : order of the columns of ``probabilities``.
    calibration : temperature and how it was fitted.
    decision : when to say level 0 or ``uncertain``; None for always level 1 or 2.
    training : provenance: data set digest, split, seed, recipe, package versions.
    quantization : how int8 was made, with the ids of the calibration images; empty for float32.
    accuracy : measured figures with their intervals, and on what.
    licence, intended_use : one sentence each.
    base_bytes, sha256 : length and hash of the bytes that the converter wrote, which the card follows.
    gate : what the quality gate must find before anything is graded: ``frontal-chest``, or ``none`` for a model of
        other images, such as cut-out lungs, that the gate would refuse.
    """

    name: str
    version: str
    network: str
    precision: str
    input: InputSpec
    outputs: Mapping[str, str]
    labels: tuple[str, ...]
    licence: str
    intended_use: str
    base_bytes: int
    sha256: str
    calibration: Calibration = field(default_factory=Calibration)
    decision: DecisionRule | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    quantization: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    gate: str = FRONTAL_CHEST

    @property
    def is_trained(self) -> bool:
        """False for random weights, whose answers mean nothing."""
        return not RANDOM_WEIGHTS.items() <= self.training.items()

    def to_json(self) -> str:
        """JSON text (sorted keys, so that equal cards are equal bytes); raises `ValueError` for NaN."""
        values = {"schema": SCHEMA, **asdict(self)}
        return json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False)


def parse_card(text: bytes, *, name: str) -> ModelCard:
    """Check a card's JSON field by field; raises `ModelError` naming the field that can't be honoured."""
    if len(text) > MAX_JSON_BYTES:
        raise ModelError(f"{name}: card of {len(text)} bytes; expected at most {MAX_JSON_BYTES}")
    try:
        values = json.loads(text, parse_constant=_refuse, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name}: its card is not JSON: {error}; export the model again") from error
    read = _Fields(values, name)
    schema = read.text("schema")
    if schema != SCHEMA:
        raise ModelError(
            f"{name}: card field schema: got {_shown(schema)}, expected {SCHEMA!r}; upgrade cxrs-edge"
        )
    return ModelCard(
        name=read.text("name"),
        version=read.text("version"),
        network=read.text("network"),
        precision=read.choice("precision", PRECISIONS),
        input=_parse_input(read.fields("input")),
        outputs=_parse_outputs(read),
        labels=_parse_labels(read),
        licence=read.text("licence"),
        intended_use=read.text("intended_use"),
        base_bytes=read.integer("base_bytes", 1, 2**40),
        sha256=read.text("sha256"),
        calibration=_parse_calibration(read.fields("calibration")),
        decision=_parse_decision(read),
        training=read.mapping("training"),
        quantization=read.mapping("quantization"),
        accuracy=read.mapping("accuracy"),
        # Cards written before there was a gate don't say.
        gate=read.choice("gate", GATES) if "gate" in values else FRONTAL_CHEST,
    )


def _parse_input(read: _Fields) -> InputSpec:
    channels = read.integer("channels", 1, 3)
    if channels == 2:
        raise read.wrong("channels", "1 or 3")
    resize = next(f for f in RESIZE_FILTERS if f == read.choice("resize", RESIZE_FILTERS))
    return InputSpec(
        size=read.integer("size", 32, 4096),
        channels=channels,
        crop_top=read.number("crop_top", 0.0, 0.5),
        resize=resize,
    )


def _parse_outputs(read: _Fields) -> Mapping[str, str]:
    outputs = read.mapping("outputs")
    lines = all(_is_line(text) for pair in outputs.items() for text in pair)
    if "probabilities" not in outputs or not lines:
        raise read.wrong("outputs", "names with their meaning, 'probabilities' among them")
    return outputs


def _parse_labels(read: _Fields) -> tuple[str, ...]:
    labels = read.value("labels")
    if not isinstance(labels, list) or sorted(map(str, labels)) != sorted(LABELS):
        raise read.wrong("labels", f"{list(LABELS)} in the order of the network's outputs")
    return tuple(labels)


def _parse_calibration(read: _Fields) -> Calibration:
    return Calibration(temperature=read.number("temperature", 1e-3, 1e3), fitted=read.text("fitted"))


def parse_decision(values: Any, *, name: str) -> DecisionRule:
    """Check a decision rule by itself, as a Keras model's provenance holds it; raises `ModelError`."""
    return _decision_rule(_Fields(values, name, "decision."))


def _parse_decision(read: _Fields) -> DecisionRule | None:
    if read.value("decision") is None:  # as in every card of before there was one
        return None
    rule = read.fields("decision")
    found = _decision_rule(rule)
    if found.level0 is not None and "zones" not in _parse_outputs(read):
        raise rule.wrong("level0", "null in the card of a model without the output zones")
    return found


def _decision_rule(rule: _Fields) -> DecisionRule:
    return DecisionRule(
        rule.nullable("level0", lambda key: rule.number(key, 0.0, 1.0)),
        rule.nullable("uncertain", lambda key: _parse_conformal(rule.fields(key))),
        rule.text("fitted"),
    )


def _parse_conformal(read: _Fields) -> Conformal:
    return Conformal(
        error_rate=read.number("error_rate", 0.0, 1.0),
        level1=read.number("level1", 0.0, 1.0),
        level2=read.number("level2", 0.0, 1.0),
    )


class _Fields:
    """Typed look-ups in a JSON object, with errors that name the field."""

    def __init__(self, values: Any, name: str, prefix: str = "") -> None:
        self._name, self._prefix = name, prefix
        if not isinstance(values, dict):
            where = f"card field {prefix.rstrip('.')}" if prefix else "its card"
            raise ModelError(f"{name}: {where}: got {_shown(values)}, expected a JSON object")
        self._values = values

    def wrong(self, key: str, expected: str) -> ModelError:
        got = _shown(self._values[key]) if key in self._values else "nothing"
        return ModelError(
            f"{self._name}: card field {self._prefix}{key}: got {got}, expected {expected}; "
            "export the model again"
        )

    def value(self, key: str) -> Any:
        return self._values.get(key)

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str) or not _is_line(value):
            raise self.wrong(key, "one line of printable text")
        return value

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.value(key)
        if value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return str(value)

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.value(key)
        ok = isinstance(value, int | float) and not isinstance(value, bool)
        if not ok or not low <= value <= high:
            raise self.wrong(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def nullable(self, key: str, read: Callable[[str], T]) -> T | None:
        """None for null; a missing field is wrong, as everywhere."""
        return None if key in self._values and self._values[key] is None else read(key)

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.value(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "a JSON object")
        return value

    def fields(self, key: str) -> _Fields:
        return _Fields(self.value(key), self._name, f"{self._prefix}{key}.")


def _is_line(value: Any) -> bool:
    """Whether it is text without control characters: terminals would obey them."""
    return isinstance(value, str) and value.isprintable()


def _shown(value: Any) -> str:
    """A short repr for messages: hostile cards may hold megabytes, or lists in lists in lists."""
    text = reprlib.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key appears twice in an object")
    return values
