"""Fuzzing in the small: mutated valid files, and every input that the long runs of `make fuzz` ever found."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_seeds import make_seeds
from fuzz_targets import TARGETS, mend_checksums
from hypothesis import given, settings
from hypothesis import strategies as st

SEEDS = {target: sorted(seeds.values()) for target, seeds in make_seeds().items()}
REGRESSIONS = sorted(path for path in (Path(__file__).parent / "regressions").glob("*/*") if path.is_file())


@st.composite
def mutants(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with one to four places changed; half of them near its start, where its structure is."""
    mutant = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        reach = min(len(mutant), 300) if draw(st.booleans()) else len(mutant)
        place = draw(st.integers(0, max(0, reach - 1)))
        length = draw(st.integers(1, 40))
        match draw(st.sampled_from(["set", "extreme", "insert", "delete", "repeat", "cut"])):
            case "set":
                mutant[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "extreme":
                mutant[place : place + 4] = draw(
                    st.sampled_from([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"])
                )
            case "insert":
                mutant[place:place] = draw(st.binary(min_size=1, max_size=length))
            case "delete":
                del mutant[place : place + length]
            case "repeat":
                mutant[place:place] = mutant[place : place + length]
            case "cut":
                del mutant[max(place, 1) :]
    return bytes(mutant)


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_keep_every_promise(target):
    for seed in SEEDS[target]:
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
def test_mutants_break_no_promise(target):
    @settings(max_examples=120, deadline=None)
    @given(mutants(SEEDS[target]))
    def check(data):
        TARGETS[target](data)

    check()


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_breaks_no_promise(path):
    TARGETS[path.parent.name](path.read_bytes())


def test_good_checksums_are_not_mended():
    for seed in SEEDS["png"]:
        assert mend_checksums(seed) == seed
        damaged = seed[:20] + bytes([seed[20] ^ 1]) + seed[21:]
        assert mend_checksums(damaged) != damaged
