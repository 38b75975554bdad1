"""What is said of an image that shows no opacity, and when it can't be told; and outputs that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrs_edge.card import LABELS, Calibration, Conformal, DecisionRule, ModelCard
from cxrs_edge.errors import EngineError
from cxrs_edge.grade import grade
from cxrs_edge.prepare import InputSpec

CAN_NOT_TELL = "can't tell level 1 from level 2 at an error rate of 10 %"
NO_ZONE = "no zone reaches 30 %: below the two levels, whose probabilities stand here"


def card_of(decision=None, size=64, labels=LABELS, temperature=1.0, without=()):
    names = {"probabilities", "zones", "extents", "evidence"} - set(without)
    return ModelCard(
        name="hand",
        version="1",
        network="",
        precision="float32",
        input=InputSpec(size=size),
        outputs=dict.fromkeys(names, ""),
        labels=labels,
        licence="",
        intended_use="",
        base_bytes=1,
        sha256="",
        calibration=Calibration(temperature=temperature),
        decision=decision,
    )


def outputs_of(level2=0.75, zones=(0.5,) * 6, extents=(4.0, 2.0), evidence=((0.25, 0.25), (0.5, 0.1))):
    values = {
        "probabilities": [[1 - level2, level2]],
        "zones": [zones],
        "extents": [extents],
        "evidence": [evidence],
    }
    return {name: np.array(value, np.float32) for name, value in values.items()}


def rule(level0=None, thresholds=None, error_rate=0.1):
    uncertain = None if thresholds is None else Conformal(error_rate, *thresholds)
    return DecisionRule(level0=level0, uncertain=uncertain, fitted="by hand")


def said(decision):
    return (decision.outcome, decision.level, *decision.notes)


def test_zones_and_extents_are_named():
    decision = grade(outputs_of(zones=(0.5, 0.25, 0.0, 1.0, 0.75, 0.125)), card_of())
    assert decision.zones == {"a": 0.5, "b": 0.25, "c": 0.0, "d": 1.0, "e": 0.75, "f": 0.125}
    assert (decision.geographic, decision.opacity) == (4.0, 2.0)


def test_a_model_without_them_says_none():
    decision = grade(outputs_of(), card_of(without=("zones", "extents", "evidence")))
    assert (decision.zones, decision.geographic, decision.opacity) == (None, None, None)


# -- level 0 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (0.0, ("graded", 0, NO_ZONE)),
        (0.25, ("graded", 0, NO_ZONE)),
        (float(np.nextafter(np.float32(0.3), np.float32(0))), ("graded", 0, NO_ZONE)),
        (0.5, ("graded", 2)),
        (1.0, ("graded", 2)),
    ],
)
@pytest.mark.parametrize("zone", range(6))
def test_level_0_is_said_when_every_zone_is_below(zone, largest, expected):
    zones = [0.0] * 6
    zones[zone] = largest
    decision = grade(outputs_of(zones=zones), card_of(rule(level0=0.3)))
    assert said(decision) == expected
    assert decision.probabilities == pytest.approx({"level1": 0.25, "level2": 0.75})


def test_a_zone_at_the_threshold_is_not_below_it():
    # A half is the same number in both widths.
    assert grade(outputs_of(zones=[0.5] * 6), card_of(rule(level0=0.5))).level == 2


def test_level_0_comes_before_uncertain():
    decision = grade(outputs_of(level2=0.5, zones=[0.1] * 6), card_of(rule(0.3, thresholds=(0.6, 0.6))))
    assert said(decision) == ("graded", 0, NO_ZONE)
    cloudy = grade(outputs_of(level2=0.5), card_of(rule(0.3, thresholds=(0.6, 0.6))))
    assert said(cloudy) == ("uncertain", 2, CAN_NOT_TELL)


def test_without_a_threshold_there_is_no_level_0():
    for decision in (None, rule(), rule(thresholds=(0.1, 0.9))):
        assert grade(outputs_of(level2=0.25, zones=[0.0] * 6), card_of(decision)).level == 1


# -- uncertain ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level2", "thresholds", "expected"),
    [
        (0.75, (0.3, 0.3), ("graded", 2)),
        (0.25, (0.3, 0.3), ("graded", 1)),
        # Both reach their thresholds.
        (0.625, (0.3, 0.3), ("uncertain", 2, CAN_NOT_TELL)),
        (0.375, (0.3, 0.3), ("uncertain", 1, CAN_NOT_TELL)),
        # Neither does.
        (0.625, (0.7, 0.7), ("uncertain", 2, CAN_NOT_TELL)),
        (0.375, (0.7, 0.7), ("uncertain", 1, CAN_NOT_TELL)),
        # Never both, never neither.
        (0.625, (0.5, 0.5), ("graded", 2)),
        # All or nothing.
        (1.0, (0.0, 0.0), ("uncertain", 2, CAN_NOT_TELL)),
        (0.75, (1.0, 1.0), ("uncertain", 2, CAN_NOT_TELL)),
    ],
)
def test_uncertain_unless_exactly_one_level_is_held(level2, thresholds, expected):
    decision = grade(outputs_of(level2), card_of(rule(thresholds=thresholds)))
    assert said(decision) == expected
    assert decision.probabilities["level2"] == pytest.approx(level2)


def test_a_level_at_its_threshold_is_held():
    # Exact: the margin of equal probabilities is 0.
    assert grade(outputs_of(0.5), card_of(rule(thresholds=(0.6, 0.5)))).outcome == "graded"
    assert grade(outputs_of(0.5), card_of(rule(thresholds=(0.5, 0.5)))).outcome == "uncertain"


def test_if_only_the_less_likely_level_is_held_it_is_uncertain():
    decision = grade(outputs_of(0.375), card_of(rule(thresholds=(0.7, 0.3))))
    assert said(decision) == ("uncertain", 1, CAN_NOT_TELL)


def test_the_thresholds_are_of_calibrated_probabilities():
    # 0.9 : 0.1 cools to 0.75 : 0.25, see test_grader.
    decision = grade(outputs_of(0.1), card_of(rule(thresholds=(0.8, 0.3)), temperature=2.0))
    assert said(decision) == ("uncertain", 1, CAN_NOT_TELL)
    assert grade(outputs_of(0.1), card_of(rule(thresholds=(0.8, 0.3)))).outcome == "graded"


def test_the_thresholds_go_by_level_not_by_column():
    outputs = outputs_of(0.25)  # column 1, so of level 1 here
    decision = grade(outputs, card_of(rule(thresholds=(0.4, 0.6)), labels=("level2", "level1")))
    assert said(decision) == ("graded", 2)


@pytest.mark.parametrize(("error_rate", "text"), [(0.07, "7 %"), (0.125, "12.5 %"), (0.05, "5 %")])
def test_the_error_rate_in_words(error_rate, text):
    decision = grade(outputs_of(0.5), card_of(rule(thresholds=(0.0, 0.0), error_rate=error_rate)))
    assert decision.notes == (f"can't tell level 1 from level 2 at an error rate of {text}",)


share = st.floats(0, 1)
rules = st.builds(
    DecisionRule,
    level0=st.none() | share,
    uncertain=st.none() | st.builds(Conformal, error_rate=share, level1=share, level2=share),
    fitted=st.just(""),
)


@given(
    level2=st.floats(0, 1, width=32),
    zones=st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6),
    rule=rules,
)
def test_a_rule_changes_outcome_level_and_notes_alone(level2, zones, rule):
    outputs = outputs_of(level2, zones)
    plain, ruled = grade(outputs, card_of()), grade(outputs, card_of(rule))
    assert (ruled.probabilities, ruled.zones, ruled.geographic) == (plain.probabilities, plain.zones, 4.0)
    empty = rule.level0 is not None and all(zone < rule.level0 for zone in zones)
    assert (ruled.level == 0) == empty
    if ruled.outcome == "uncertain":
        assert ruled.level == plain.level
    # Whoever is told of anything but the likelier level, graded, is told why.
    assert bool(ruled.notes) == ((ruled.outcome, ruled.level) != ("graded", plain.level))
    assert all(note.isprintable() for note in ruled.notes)


@given(level2=st.floats(0, 1, width=32), thresholds=st.tuples(share, share))
def test_the_likelier_level_alone_is_held_or_it_is_uncertain(level2, thresholds):
    decision = grade(outputs_of(level2), card_of(rule(thresholds=thresholds)))
    held = {
        k for k, least in zip((1, 2), thresholds, strict=True) if decision.probabilities[f"level{k}"] >= least
    }
    assert (decision.outcome == "graded") == (held == {decision.level})


@given(level2=st.floats(0, 1, width=32), zones=st.lists(share, min_size=6, max_size=6), low=share, high=share)
def test_a_higher_threshold_never_takes_a_level_0_back(level2, zones, low, high):
    low, high = sorted((low, high))
    outputs = outputs_of(level2, zones)
    if grade(outputs, card_of(rule(level0=low))).level == 0:
        assert grade(outputs, card_of(rule(level0=high))).level == 0


@given(error=st.sampled_from([0.05, 0.1, 0.2]), data=st.data())
def test_quantiles_as_thresholds_miss_each_level_at_the_error_rate(error, data):
    """The guarantee, on the images that the thresholds were chosen on: at most floor(error * n) fall below."""
    n = 40
    margins = data.draw(st.lists(st.floats(-9, 9), min_size=2 * n, max_size=2 * n))
    level2 = 1 / (1 + np.exp(-np.array(margins)))
    k = math.floor(error * n)
    of1, of2 = np.sort(1 - level2[:n])[k], np.sort(level2[n:])[k]
    card = card_of(rule(thresholds=(float(of1) - 1e-6, float(of2) - 1e-6), error_rate=error))
    wrong = {1: 0, 2: 0}
    for number, probability in enumerate(level2):
        truth = 1 if number < n else 2
        decision = grade(outputs_of(probability), card)
        wrong[truth] += decision.outcome == "graded" and decision.level != truth
    assert max(wrong.values()) <= k


# -- outputs that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"zones": (0.5, math.nan, 0.5, 0.5, 0.5, 0.5)},
            "zones: got nan, expected 1 x 6 numbers from 0 to 1;",
        ),
        ({"zones": (0.5, 0.5, 0.5, 0.5, 0.5, 1.02)}, "zones: got 1.02, expected 1 x 6 numbers from 0 to 1;"),
        ({"zones": (-0.02, 0.5, 0.5, 0.5, 0.5, 0.5)}, "zones: got -0.02, expected"),
        ({"zones": (0.5,) * 5}, "zones: got 1 x 5, expected 1 x 6 numbers;"),
        ({"extents": (8.1, 0.0)}, "extents: got 8.1, expected 1 x 2 numbers from 0 to 8;"),
        ({"extents": (0.0, -0.1)}, "extents: got -0.1, expected"),
        ({"extents": (0.0, math.inf)}, "extents: got inf, expected"),
        (
            {"evidence": ((0.0, math.nan), (0.0, 0.0))},
            "evidence: got nan, expected 1 x 2 x 2 numbers that are",
        ),
        ({"evidence": ((0.0, 0.0), (-math.inf, 0.0))}, "evidence: got -inf, expected"),
        ({"evidence": ((0.0, 0.0),)}, "evidence: got 1 x 1 x 2, expected 1 x 2 x 2 numbers;"),
    ],
)
def test_outputs_that_can_not_be_are_refused_by_name(changes, message):
    with pytest.raises(EngineError) as caught:
        grade(outputs_of(**changes), card_of(rule(level0=0.3)))
    assert str(caught.value).startswith(f"model hand: output {message}")
    assert str(caught.value).endswith("the model or this engine on this machine is broken")


def test_what_rounding_put_out_of_range_is_put_back():
    zones, extents = (-0.0099, 1.0099, 0.5, 0.5, 0.5, 0.5), (8.079, -0.079)
    decision = grade(outputs_of(zones=zones, extents=extents), card_of())
    assert list(decision.zones.values()) == [0.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    assert (decision.geographic, decision.opacity) == (8.0, 0.0)


def test_outputs_of_unknown_meaning_are_let_be():
    outputs = outputs_of() | {"age": np.array([np.nan], np.float32)}
    card = card_of()
    card.outputs["age"] = "of the patient"
    assert grade(outputs, card) == grade(outputs_of(), card_of())


def test_any_size_of_evidence():
    outputs = outputs_of(evidence=np.full((15, 15), 0.01))
    assert grade(outputs, card_of(size=480)).level == 2
