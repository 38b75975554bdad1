"""The quality gate's tallies as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cxrs_bench.gate.measure import Tally
from cxrs_edge.extras import import_extra

SCHEMA = "cxrs-edge/gate-measured/1"
HEADER = (
    "| kind | images | patients | rejected | 95 % | doubtful | passed | right reason |",
    "|---|---|---|---|---|---|---|---|",
)


def render_table(tallies: Sequence[Tally]) -> str:
    """Markdown: one row for each kind, with the Wilson interval of the share that is rejected."""
    return "\n".join([*HEADER, *map(_row, tallies)])


def to_json(tallies: Sequence[Tally], version: str) -> dict[str, Any]:
    """The same as numbers."""
    rows = [
        {**asdict(tally), "rejected_interval": interval(tally.rejected, tally.images)} for tally in tallies
    ]
    return {"schema": SCHEMA, "gate": version, "kinds": rows}


def interval(count: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; images of one patient are taken as independent, which they aren't quite."""
    import_extra("scipy", "data")
    from scipy.stats import binomtest

    found = binomtest(count, of).proportion_ci(0.95, "wilson")
    return float(found.low), float(found.high)


def _row(tally: Tally) -> str:
    low, high = interval(tally.rejected, tally.images)
    passed = f"{tally.passed} ({tally.drawn} as drawn)" if tally.drawn else str(tally.passed)
    reason = "" if tally.right_reason is None else f"{tally.right_reason} of {tally.rejected}"
    return (
        f"| {tally.kind} | {tally.images} | {tally.patients or ''} | {tally.rejected} = "
        f"{100 * tally.rejected / tally.images:.1f} % | {100 * low:.1f} to {100 * high:.1f} % | {tally.noted} | "
        f"{passed} | {reason} |"
    )
