from __future__ import annotations

import keras
import numpy as np
import pytest

from cxrs_bench.calibration import Platt
from cxrs_bench.out_of_fold import Decision
from cxrs_edge.card import Conformal
from cxrs_edge.errors import ModelError
from cxrs_edge.prepare import InputSpec
from cxrs_export.keras_file import Provenance, infer
from cxrs_export.released_decision import calibrate_zones, fixed_decision, with_decision
from cxrs_export.severity_network import build_severity_network

FOUND = {
    "temperature": 1.5,
    "zones": {"scale": 2.0, "shift": 0.5},
    "level0": 0.3,
    "conformal": {"error_rate": 0.1, "level1": 0.2, "level2": 0.4},
}


def test_zones_are_calibrated_by_the_weights() -> None:
    keras.utils.set_random_seed(0)
    network = build_severity_network(size=64)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    before = infer(network, pixels)
    calibrate_zones(network, Platt(2.0, 0.5))
    after = infer(network, pixels)
    np.testing.assert_allclose(after["zones"], Platt(2.0, 0.5).apply(before["zones"]), rtol=1e-4)
    np.testing.assert_array_equal(after["evidence"], before["evidence"])


def test_what_cross_validation_found_comes_back_from_the_file() -> None:
    released = with_decision(Provenance(InputSpec()), FOUND)
    assert fixed_decision(released) == Decision(1.5, Platt(1.0, 0.0), 0.3, Conformal(0.1, 0.2, 0.4))


def test_a_file_without_a_rule_is_refused() -> None:
    with pytest.raises(ModelError, match="holds no decision rule"):
        fixed_decision(Provenance(InputSpec()))
