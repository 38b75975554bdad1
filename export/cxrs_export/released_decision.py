"""The numbers by which outputs become an outcome, between cross-validation, Keras file and card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cxrs_bench.calibration import Platt
from cxrs_bench.out_of_fold import LOST_TO_LEVEL0, Decision
from cxrs_edge.card import Conformal, DecisionRule
from cxrs_edge.errors import ModelError
from cxrs_export.keras_file import Provenance
from cxrs_export.severity_network import OPACITY

if TYPE_CHECKING:
    import keras


def with_decision(provenance: Provenance, decision: Mapping[str, Any]) -> Provenance:
    """The provenance with what ``decision.json`` of a cross-validation holds."""
    rule = DecisionRule(
        level0=decision["level0"],
        uncertain=Conformal(**decision["conformal"]),
        fitted=f"on out-of-fold predictions; at most {100 * LOST_TO_LEVEL0:g} % of levels 1 and 2 are called 0",
    )
    return replace(
        provenance,
        temperature=decision["temperature"],
        temperature_fitted="on out-of-fold predictions, by log loss",
        decision=rule,
    )


def calibrate_zones(network: keras.Model, zones: Platt) -> None:
    """Scale and shift the zones' logits, exactly, by the weights of their opacity map."""
    layer = network.get_layer("zone_maps")
    kernel, bias = layer.get_weights()
    # A zone's logit is a weighted mean of this map, so it scales and shifts as the map does.
    kernel[:, OPACITY], bias[OPACITY] = (
        zones.scale * kernel[:, OPACITY],
        zones.scale * bias[OPACITY] + zones.shift,
    )
    layer.set_weights([kernel, bias])


def fixed_decision(provenance: Provenance) -> Decision:
    """The decision that a Keras file holds, whose zones are calibrated already; raises `ModelError` without one."""
    rule = provenance.decision
    if rule is None or rule.level0 is None or rule.uncertain is None:
        raise ModelError("the model: holds no decision rule; expected one released with its cross-validation")
    return Decision(provenance.temperature, Platt(1.0, 0.0), rule.level0, rule.uncertain)
