"""Patients -> a test part and training folds, each with its share of every level."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

TEST = -1
FOLDS = 5
TEST_SHARE = 0.2
SHARES: Mapping[int, float] = {TEST: TEST_SHARE} | dict.fromkeys(range(FOLDS), (1 - TEST_SHARE) / FOLDS)
"""Part -> the share of each stratum that it should hold."""


def split_patients(strata: Mapping[str, Counter[str]], seed: int = 0) -> dict[str, int]:
    """Deal patients out to `TEST` and the folds 0 to 4.

    `strata` says how many images of each stratum a patient has. Patients with many images go first, each to the
    part that is the furthest below its share of the patient's strata; ties fall by a hash with the seed, so that
    the order of the input doesn't matter.
    """
    totals = sum(strata.values(), Counter[str]())
    held = {part: Counter[str]() for part in SHARES}

    def lack(part: int, patient: str) -> float:
        return sum(
            count * (SHARES[part] - held[part][stratum] / totals[stratum])
            for stratum, count in strata[patient].items()
        )

    parts = {}
    for patient in sorted(strata, key=lambda p: (-strata[p].total(), _draw(p, seed))):
        part = max(SHARES, key=lambda p: (round(lack(p, patient), 9), _draw(f"{patient} {p}", seed)))
        held[part].update(strata[patient])
        parts[patient] = part
    return parts


def _draw(text: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {text}".encode()).hexdigest()
