"""`ModelCard` to JSON and back, and everything that a card may get wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrs_edge.card import (
    LABELS,
    MAX_JSON_BYTES,
    SCHEMA,
    Calibration,
    Conformal,
    DecisionRule,
    ModelCard,
    parse_card,
)
from cxrs_edge.errors import ModelError
from cxrs_edge.prepare import RESIZE_FILTERS, InputSpec

CARD = ModelCard(
    name="cxrs",
    version="0.1.0",
    network="COVID-Net CXR-S, projections 32-72-192-320",
    precision="int8",
    input=InputSpec(size=480, channels=3, crop_top=0.08, resize="bilinear"),
    outputs={"probabilities": "level 1 and level 2", "zones": "opacity in each of six lung zones"},
    labels=("level1", "level2"),
    licence="CC-BY-NC-SA-4.0",
    intended_use="Research on edge inference; not for patient care.",
    base_bytes=9_000_000,
    sha256="ab" * 32,
    calibration=Calibration(temperature=1.7, fitted="validation split, 120 images"),
    decision=DecisionRule(
        level0=0.3,
        uncertain=Conformal(error_rate=0.1, level1=0.4, level2=0.35),
        fitted="out of fold, 271 images",
    ),
    training={"seed": 3, "split": {"train": 1, "test": [1, 2, None, True, 0.5]}},
    quantization={"calibration_images": ["a.png", "ä.png"]},
    accuracy={"level2": {"sensitivity": 0.92, "interval": [0.85, 0.96]}},
)


def values() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(CARD.to_json())
    return loaded


def parse(card: object) -> ModelCard:
    return parse_card(json.dumps(card).encode(), name="m.tflite")


def refusal(text: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        parse_card(text, name="m.tflite")
    message = str(caught.value)
    assert message.startswith("m.tflite: ")
    assert message.isprintable()
    assert len(message) < 400
    return message


# -- there and back -------------------------------------------------------------------------------


def test_round_trip() -> None:
    assert parse_card(CARD.to_json().encode(), name="m") == CARD


def test_equal_cards_are_equal_text() -> None:
    mixed = replace(CARD, outputs=dict(reversed(CARD.outputs.items())))
    assert mixed.to_json() == CARD.to_json()
    assert json.loads(CARD.to_json())["schema"] == SCHEMA == "cxrs-edge/card/1"


ONE_LINE = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" "), max_size=30)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ONE_LINE, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(ONE_LINE, JSON_VALUES, max_size=3)
SHARE = st.floats(0, 1)
CONFORMALS = st.builds(Conformal, error_rate=SHARE, level1=SHARE, level2=SHARE)
CARDS = st.builds(
    ModelCard,
    name=ONE_LINE,
    version=ONE_LINE,
    network=ONE_LINE,
    precision=st.sampled_from(["float32", "int8"]),
    input=st.builds(
        InputSpec,
        size=st.integers(32, 4096),
        channels=st.sampled_from([1, 3]),
        crop_top=st.floats(0, 0.5),
        resize=st.sampled_from(RESIZE_FILTERS),
    ),
    outputs=st.dictionaries(ONE_LINE, ONE_LINE, max_size=3).map(lambda d: {**d, "probabilities": "p"}),
    labels=st.sampled_from([LABELS, LABELS[::-1]]),
    licence=ONE_LINE,
    intended_use=ONE_LINE,
    base_bytes=st.integers(1, 2**40),
    sha256=ONE_LINE,
    calibration=st.builds(Calibration, temperature=st.floats(1e-3, 1e3), fitted=ONE_LINE),
    decision=st.none()
    | st.builds(DecisionRule, level0=st.none(), uncertain=st.none() | CONFORMALS, fitted=ONE_LINE),
    training=OBJECTS,
    quantization=OBJECTS,
    accuracy=OBJECTS,
)


@settings(max_examples=50, deadline=None)
@given(st.builds(DecisionRule, level0=st.none() | SHARE, uncertain=st.none() | CONFORMALS, fitted=ONE_LINE))
def test_every_rule_survives_the_round_trip(rule: DecisionRule) -> None:
    card = replace(CARD, decision=rule)
    assert parse_card(card.to_json().encode(), name="m") == card


@settings(max_examples=100, deadline=None)
@given(CARDS)
def test_every_card_survives_the_round_trip(card: ModelCard) -> None:
    assert parse_card(card.to_json().encode(), name="m") == card


def test_nan_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        replace(CARD, accuracy={"sensitivity": math.nan}).to_json()


def test_unknown_keys_are_ignored_so_that_schemas_can_grow() -> None:
    assert parse({**values(), "thresholds": [0.4, 0.6]}) == CARD


def test_whole_numbers_are_numbers() -> None:
    card = values()
    card["calibration"]["temperature"] = 2
    card["input"]["crop_top"] = 0
    parsed = parse(card)
    assert (parsed.calibration.temperature, parsed.input.crop_top) == (2.0, 0.0)
    assert isinstance(parsed.calibration.temperature, float)


def test_a_card_of_before_there_were_rules_has_none() -> None:
    card = values()
    del card["decision"]
    assert parse(card) == parse({**card, "decision": None}) == replace(CARD, decision=None)


def test_a_card_of_before_there_was_a_gate_has_it() -> None:
    card = values()
    del card["gate"]
    assert parse(card).gate == "frontal-chest"
    assert parse({**card, "gate": "none"}).gate == "none"


@pytest.mark.parametrize("value", ["knee", None, 1, True])
def test_an_unknown_gate_is_refused(value: object) -> None:
    message = refusal(json.dumps({**values(), "gate": value}).encode())
    assert "card field gate: got " in message
    assert "expected one of frontal-chest, none" in message


def test_each_part_of_a_rule_may_be_null() -> None:
    card = values()
    card["decision"] |= {"level0": None, "uncertain": None}
    assert parse(card).decision == DecisionRule(None, None, "out of fold, 271 images")


def test_level_0_needs_zones() -> None:
    card = values()
    card["outputs"] = {"probabilities": "level 1 and level 2"}
    message = refusal(json.dumps(card).encode())
    assert "card field decision.level0: got 0.3, expected null in the card of a model without" in message
    card["decision"]["level0"] = None
    assert parse(card).decision == DecisionRule(None, CARD.decision.uncertain, CARD.decision.fitted)


# -- one field wrong ------------------------------------------------------------------------------

TEXTS = ("schema", "name", "version", "network", "precision", "licence", "intended_use", "sha256")
OBJECT_FIELDS = ("input", "calibration", "outputs", "training", "quantization", "accuracy")
NESTED = ("input.size", "input.channels", "input.crop_top", "input.resize", "calibration.temperature",
          "calibration.fitted")  # fmt: skip
NULLABLE = ("decision.level0", "decision.uncertain")
RULE = ("decision.fitted", *(f"decision.uncertain.{key}" for key in ("error_rate", "level1", "level2")))
REQUIRED = (*TEXTS, *OBJECT_FIELDS, *NESTED, *RULE, "labels", "base_bytes")
EVERY_FIELD = (*REQUIRED, *NULLABLE, "decision", "gate")


def changed(field: str, change: Callable[[dict[str, Any], str], None]) -> bytes:
    card = values()
    target = card
    *outer, key = field.split(".")
    for name in outer:
        target = target[name]
    change(target, key)
    return json.dumps(card).encode()


def assigned(value: object) -> Callable[[dict[str, Any], str], None]:
    return lambda target, key: target.__setitem__(key, value)


def test_the_table_below_names_every_field_there_is() -> None:
    flat = set(values())
    for path in ("input", "calibration", "decision"):
        flat |= {f"{path}.{key}" for key in values()[path]}
    flat |= {f"decision.uncertain.{key}" for key in values()["decision"]["uncertain"]}
    assert set(EVERY_FIELD) == flat


@pytest.mark.parametrize("field", [*REQUIRED, *NULLABLE])
def test_missing_field_is_named(field: str) -> None:
    message = refusal(changed(field, lambda target, key: target.pop(key)))
    assert f"card field {field}: got " in message


@pytest.mark.parametrize("field", REQUIRED)
def test_null_is_named(field: str) -> None:
    assert f"card field {field}: got " in refusal(changed(field, assigned(None)))


@pytest.mark.parametrize("field", EVERY_FIELD)
@pytest.mark.parametrize("value", [True, [1], [["level1"]], -1e300, "x\x1b[31m"], ids=repr)
def test_wrong_type_is_named(field: str, value: object) -> None:
    assert f"card field {field}: got " in refusal(changed(field, assigned(value)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "cxrs-edge/card/2"),
        ("schema", "s" * 10_000),
        ("precision", "int4"),
        ("input.size", 31),
        ("input.size", 4097),
        ("input.size", 480.0),
        ("input.size", "480"),
        ("input.size", 10**400),
        ("input.channels", 0),
        ("input.channels", 2),
        ("input.channels", 4),
        ("input.crop_top", -0.01),
        ("input.crop_top", 0.51),
        ("input.crop_top", "0.08"),
        ("input.crop_top", 10**400),
        ("input.resize", "nearest"),
        ("input.resize", ""),
        ("input.resize", {}),
        ("outputs", {}),
        ("outputs", {"probs": "p"}),
        ("outputs", {"probabilities": 1}),
        ("outputs", {"probabilities": "p", "zones": None}),
        ("outputs", {"probabilities": "\x1b]0;title\x07"}),
        ("outputs", {"probabilities": "p", "a\nb": "newline"}),
        ("labels", []),
        ("labels", ["level1"]),
        ("labels", ["level1", "level1"]),
        ("labels", ["level1", "level2", "level2"]),
        ("labels", ["level0", "level2"]),
        ("labels", {"level1": 0, "level2": 1}),
        ("labels", "level1level2"),
        ("base_bytes", 0),
        ("base_bytes", -5),
        ("base_bytes", 2**40 + 1),
        ("base_bytes", 1.0),
        ("calibration.temperature", 0),
        ("calibration.temperature", -1),
        ("calibration.temperature", 1001),
        ("calibration.temperature", -(10**400)),
        ("calibration.fitted", "\ud800"),
        ("decision", []),
        ("decision", "level0"),
        ("decision.level0", -0.01),
        ("decision.level0", 1.01),
        ("decision.level0", "0.3"),
        ("decision.level0", 10**400),
        ("decision.uncertain", 0.1),
        ("decision.uncertain", ["error_rate"]),
        ("decision.uncertain.error_rate", 10),
        ("decision.uncertain.error_rate", "10 %"),
        ("decision.uncertain.level1", -1e-9),
        ("decision.uncertain.level2", 1.5),
        ("decision.fitted", "two\nlines"),
        ("name", "two\nlines"),
        ("name", ["n"] * 100_000),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_value_out_of_range_is_named(field: str, value: object) -> None:
    assert f"card field {field}: got " in refusal(changed(field, assigned(value)))


# -- not JSON -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["calibration.temperature", "decision.level0", "accuracy", "base_bytes"])
def test_what_json_has_no_number_for_is_refused(field: str, number: str) -> None:
    text = changed(field, assigned("HERE")).replace(b'"HERE"', number.encode())
    assert number.encode() in text
    assert f"{number} is no JSON number" in refusal(text)


def test_a_float_too_large_is_refused() -> None:
    for field in ("calibration.temperature", "decision.level0", "decision.uncertain.level2"):
        assert field in refusal(changed(field, assigned("HERE")).replace(b'"HERE"', b"1e999"))


def test_a_key_twice_is_refused() -> None:
    twice = CARD.to_json().replace('"size": 480', '"size": 480, "size": 512')
    assert "appears twice" in refusal(twice.encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe\xfd",
        b'{"name": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 100_000,
        CARD.to_json().encode() + b"x",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_not_json_is_refused(text: bytes) -> None:
    assert "its card is not JSON" in refusal(text)


@pytest.mark.parametrize("text", [b"[]", b"1", b'"card"', b"null", b"true"])
def test_json_that_is_no_object_is_refused(text: bytes) -> None:
    assert "expected a JSON object" in refusal(text)


def test_any_depth_of_nesting_is_an_error_of_ours() -> None:
    for depth in (10, 100, *range(800, 1000, 10), 2000):
        nested = (b"[" * depth) + (b"]" * depth)
        message = refusal(CARD.to_json().encode().replace(b'"cxrs"', nested))
        assert "card field name: got [" in message or "not JSON" in message


def test_a_huge_card_is_refused_unread() -> None:
    assert "expected at most" in refusal(b" " * (MAX_JSON_BYTES + 1))


@settings(max_examples=200, deadline=None)
@given(field=st.sampled_from(EVERY_FIELD), value=JSON_VALUES)
def test_any_json_in_any_field_is_taken_or_refused(field: str, value: object) -> None:
    try:
        card = parse_card(changed(field, assigned(value)), name="m")
    except ModelError:
        assert f"card field {field}" in refusal(changed(field, assigned(value)))
    else:
        assert parse_card(card.to_json().encode(), name="m") == card
