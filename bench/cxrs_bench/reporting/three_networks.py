"""Accuracy of the three networks, trained alike: a file beside the report, since no board trains them.

JSON: ``protocol``, one text; ``networks``, by network what ``cxrs-edge evaluate --format json`` prints (its
``by_image`` figures and ``confusion``); ``pairs``, differences of balanced accuracy with their 95 % intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from cxrs_edge.errors import DataError

MAX_BYTES = 10_000_000
Share = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class Value:
    """A figure with its interval; null where undefined."""

    value: Share | None
    low: Share | None
    high: Share | None


@dataclass(frozen=True)
class Network:
    """One network's figures, by `cxrs_bench.metrics.Figures`' names, and its confusion matrix (rows: true level)."""

    by_image: dict[str, Value]
    confusion: tuple[tuple[Count, Count], tuple[Count, Count]]


@dataclass(frozen=True)
class PairedDifference:
    """Balanced accuracy of `a` less that of `b`."""

    a: str
    b: str
    value: Share
    low: Share
    high: Share


@dataclass(frozen=True)
class ThreeNetworks:
    """The file's content."""

    protocol: str
    networks: dict[str, Network]
    pairs: tuple[PairedDifference, ...] = ()


def read_three_networks(path: Path) -> ThreeNetworks:
    """Read the file; raises `DataError` naming it and the field that is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}; name a file that can") from error
    if len(data) > MAX_BYTES:
        raise DataError(
            f"{path}: larger than {MAX_BYTES // 1_000_000} MB; expected figures of three networks"
        )
    try:
        return msgspec.json.decode(data, type=ThreeNetworks)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not figures of the three networks: {error}") from error
