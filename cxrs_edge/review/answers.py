"""What the network said of a booklet's cases: a file of its own, so that no reader sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from cxrs_edge.review.case import Case

SCHEMA: Final = "cxrs-edge/review/1"
UNCOUNTED = ("source", "engine")
"""Keys of an answer that don't make it another one."""


def answers_of(cases: Sequence[Case]) -> dict[str, Any]:
    """The answers as plain values: the booklet's id and each case's source, digest and answer, in its order."""
    listed = [
        {"case": number, "source": case.source, "sha256": case.digest, "answer": case.answer}
        for number, case in enumerate(cases, start=1)
    ]
    return {"schema": SCHEMA, "booklet": booklet_id(listed), "cases": listed}


def booklet_id(listed: Sequence[dict[str, Any]]) -> str:
    """``r`` and 12 hexadecimal digits that tell this set of cases and answers from any other.

    The letter is there so that no spreadsheet takes digits alone, or ``12e3456``, for a number and rewrites it.
    Where the files lay, what they were called and what ran the model doesn't count. `listed` is the ``cases`` of
    `answers_of`.
    """
    counted = [
        [
            one["case"],
            one["sha256"],
            {key: said for key, said in one["answer"].items() if key not in UNCOUNTED},
        ]
        for one in listed
    ]
    text = json.dumps(counted, sort_keys=True, allow_nan=False)
    return f"r{hashlib.sha256(text.encode()).hexdigest()[:12]}"
