"""Ranges of feature maps for static quantization, by tensor's name, from what single images showed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Range = tuple[float, float]
TYPICAL = 0.75
"""Quantile of the images' own extremes. One film in twenty has a few cells many times brighter than any other film's
largest (letters, edges of plates): a maximum or a mean over images would round all else away for them, and cutting
them off costs next to nothing (docs/quantization.md)."""


def typical_ranges(images: Iterable[Mapping[str, Range]]) -> dict[str, Range]:
    """Of each tensor, the `TYPICAL` quantile of its smallest and largest values in single images."""
    seen: dict[str, list[Range]] = defaultdict(list)
    for ranges in images:
        for name, extremes in ranges.items():
            seen[name].append(extremes)
    return {
        name: (
            float(np.quantile([low for low, _ in rows], 1 - TYPICAL)),
            float(np.quantile([high for _, high in rows], TYPICAL)),
        )
        for name, rows in seen.items()
    }


def tie(ranges: Mapping[str, Range], groups: Iterable[Sequence[str]]) -> dict[str, Range]:
    """Give tensors of each group, and of groups that share one, the widest range among them.

    Operands and sum of an addition in one scale are added as integers: nothing is rounded again.
    """
    tied = dict(ranges)
    merged: list[set[str]] = []
    for group in groups:
        names = {name for name in group if name in ranges}
        apart = [other for other in merged if not other & names]
        merged = [*apart, names.union(*(other for other in merged if other & names))]
    for names in merged:
        for name in names:
            tied[name] = (min(ranges[n][0] for n in names), max(ranges[n][1] for n in names))
    return tied
