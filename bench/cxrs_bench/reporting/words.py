"""Names and numbers as a reader wants them."""

from __future__ import annotations

import math

from cxrs_bench.analysing.claims import ENGINES
from cxrs_bench.published import NAMES

NONE = "\N{EN DASH}"
"""Stands where there is no number."""
NETWORKS = {"cxrs": "CXR-S", "resnet50": "ResNet-50", "chexnet": "CheXNet"}


def network_name(network: str) -> str:
    """Short name of a network; one that is not known keeps the report's word."""
    return NETWORKS.get(network, network)


def full_name(network: str) -> str:
    """The network as papers call it."""
    return NAMES.get(network, network)


def engine_name(engine: str) -> str:
    """Name of an engine; one that is not known keeps the report's word."""
    return ENGINES.get(engine, engine)


def engine_place(engine: str) -> tuple[int, str]:
    """For sorting: engines in the order of the registry, others by name."""
    known = list(ENGINES)
    return known.index(engine) if engine in known else len(known), engine


def threads_name(threads: int) -> str:
    """``1 thread``, ``2 threads``."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def number(value: float | None, digits: int = 3) -> str:
    """To so many significant digits, without exponents where they can be avoided; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 6)}f}"


def percent(share: float | None) -> str:
    """A share of 1 as a percentage without decimals."""
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:.0f} %"


def megabytes(count: int | None) -> str:
    """Bytes in MB (1e6)."""
    return NONE if count is None else f"{count / 1e6:,.1f}"


def interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """A value with its interval, or alone where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, digits)
    return f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def listed(parts: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
