"""A noisy run is flagged, for its reason; a calm one is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("msgspec")

from cxrs_bench.latency.stability import find_doubts, with_doubts
from cxrs_bench.record import Conditions, Round, Run


def round_of(samples_ms: Sequence[float], **values: Any) -> Round:
    """A round on an idle machine."""
    wall = sum(samples_ms)
    fields: dict[str, Any] = {
        "number": 1,
        "started": "2026-11-25T20:00:00+00:00",
        "samples_ms": tuple(samples_ms),
        "warmup_ms": (),
        "settled": True,
        "load_ms": 1.0,
        "cpu_ms": wall,
        "wall_ms": wall,
        "rss_bare_bytes": None,
        "rss_peak_bytes": None,
        "others_cpu_ms": 0.0,
    }
    return Round(**{**fields, **values})


CALM = [list(np.random.default_rng(seed).normal(30.0, 0.3, 20)) for seed in range(5)]
ROUNDS = [round_of(samples) for samples in CALM]


def doubts(rounds: Sequence[Round], threads: int = 1) -> str:
    return "; ".join(find_doubts(rounds, planned=5, threads=threads))


def test_a_calm_run_is_not_flagged() -> None:
    assert doubts(ROUNDS) == ""


def test_wide_samples() -> None:
    wide = [[ms * factor for ms, factor in zip(one, [0.8, 1.2] * 10, strict=True)] for one in CALM]
    assert "standard deviation is 2" in doubts([round_of(one) for one in wide])


def test_outliers_as_pyperf_counts_them() -> None:
    spiky = [[*one[:-1], 60.0] for one in CALM]
    assert "5 of 100 samples are more than 50% away from the mean" in doubts([round_of(one) for one in spiky])


def test_drift_between_rounds() -> None:
    rising = [round_of([ms * (1 + 0.02 * number) for ms in one]) for number, one in enumerate(CALM)]
    assert "medians of rounds differ by 8%" in doubts(rising)
    assert "rising" in doubts(rising)
    assert "up and down" in doubts(rising[2:] + rising[:2])


def test_too_few_rounds() -> None:
    assert doubts(ROUNDS[:2]) == "2 of 5 rounds; 2 rounds: no interval, which takes 3"
    assert doubts([]) == ""


def test_a_warm_up_that_did_not_settle() -> None:
    rounds = [replace(ROUNDS[0], settled=False), *ROUNDS[1:]]
    assert "had not settled when the warm-up of 1 of 5 rounds" in doubts(rounds)


def test_other_programs() -> None:
    crowded = [replace(one, others_cpu_ms=0.5 * one.wall_ms) for one in ROUNDS]
    assert "took 50% of a core" in doubts(crowded)
    starved = [replace(one, cpu_ms=0.7 * one.wall_ms) for one in ROUNDS]
    assert "it had a CPU for 70% of the time only" in doubts(starved)
    # Threads wait for each other; that is no sign of other programs.
    assert doubts(starved, threads=2) == ""


def test_clock_and_heat() -> None:
    cool, hot = (
        Conditions(clock_mhz=2400.0, throttled=()),
        Conditions(clock_mhz=1500.0, throttled=("soft temperature limit", "under-voltage since start")),
    )
    rounds = [replace(one, before=cool, after=cool) for one in ROUNDS[:4]] + [
        replace(ROUNDS[4], before=cool, after=hot)
    ]
    assert "clock differed between rounds: 1500 to 2400 MHz" in doubts(rounds)
    assert "slowed itself down: soft temperature limit" in doubts(rounds)
    assert "under-voltage" not in doubts(rounds)
    events = [replace(one, before=Conditions(throttle_events=7 + i)) for i, one in enumerate(ROUNDS)]
    assert "slowed down for heat 4 times" in doubts(events)


def test_clocks_at_rest_do_not_count() -> None:
    rest, work = Conditions(clock_mhz=600.0), Conditions(clock_mhz=2400.0)
    assert doubts([replace(one, before=rest, after=work) for one in ROUNDS]) == ""


def test_a_run_gets_its_doubts() -> None:
    run = Run("a.onnx", "onnx", 1, outcome="measured", rounds=tuple(ROUNDS[:2]))
    assert with_doubts(run, planned=2).unstable == ("2 rounds: no interval, which takes 3",)
