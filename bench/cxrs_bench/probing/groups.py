"""Which operator of the file an engine's event is, and groups of operators that a reader can compare.

Engines rename, reorder and merge. ONNX Runtime and OpenVINO keep names: of the operator, or of the output of what was
merged into it. LiteRT keeps the order of the file. What is found by neither is left to its type alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cxrs_bench.complexity import Complexity, OperatorCost
from cxrs_bench.probing.events import Event

STEM, POINTWISE, DEPTHWISE, SPATIAL = "first convolution", "1x1 convolutions", "depthwise", "3x3 convolutions"
ADD, CONCAT, POOL, HEAD = "additions", "concatenation, copies", "pooling", "head"
REFORMAT, SCALE, UNKNOWN, OTHER = "quantize, reformat", "scale, activation", "other convolutions", "other"

GROUPS = (STEM, POINTWISE, DEPTHWISE, SPATIAL, UNKNOWN, ADD, CONCAT, POOL, SCALE, REFORMAT, HEAD, OTHER)
"""In the order of a table."""
_OF_FORM = {"1x1": POINTWISE, "depthwise": DEPTHWISE, "spatial": SPATIAL, "dense": HEAD}
_CONVOLUTION = re.compile(r"conv(?!ert)|fully.?connected|gemm|matmul|igemm", re.IGNORECASE)
_WORDS = (
    (re.compile(r"softmax|^FullyConnected", re.IGNORECASE), HEAD),
    (re.compile(r"pool|mean|reduce", re.IGNORECASE), POOL),
    (re.compile(r"concat|copy", re.IGNORECASE), CONCAT),
    (
        re.compile(r"quantize|convert|reorder|transpose|reshape|squeeze|cast|pad|flatten", re.IGNORECASE),
        REFORMAT,
    ),
    (re.compile(r"add(?!r)|eltwise|\bsum\b", re.IGNORECASE), ADD),
    (re.compile(r"mul|relu|clamp|clip|norm|subgraph|scale|elu\b|sigmoid", re.IGNORECASE), SCALE),
)
"""What an operator without MACs is called, first match; OpenVINO's Subgraph is several of the last kind at once."""
_BATCH_NORM = re.compile(r"_mul_nchwc$")
"""How ONNX Runtime names the convolution, of one factor a channel, that it makes of a batch norm."""
_SUFFIXES = re.compile(r"(_token_\d+|_nchwc|/WithoutBiases|_quant)+$")
"""What ONNX Runtime and OpenVINO put behind a name."""


@dataclass(frozen=True)
class TimedOperator:
    """An event with the operator of the file that it is; `cost` is None for what has no MACs or was not found."""

    event: Event
    group: str
    cost: OperatorCost | None


def group_events(events: Sequence[Event], complexity: Complexity) -> tuple[TimedOperator, ...]:
    """Name the group of every event, in their order."""
    costs = match_costs(events, complexity.rows)
    first = complexity.rows[0] if complexity.rows else None
    return tuple(
        TimedOperator(event, _group(event, costs.get(index), first), costs.get(index))
        for index, event in enumerate(events)
    )


def cost_group(cost: OperatorCost, complexity: Complexity) -> str:
    """The group of an operator of the file itself."""
    if complexity.rows and cost is complexity.rows[0] and cost.form != "dense":
        return STEM
    return _OF_FORM.get(cost.form) or _by_words(cost.operator)


def match_costs(events: Sequence[Event], rows: Sequence[OperatorCost]) -> Mapping[int, OperatorCost]:
    """Index of an event -> the operator with MACs that it is: by name, those that are left by their order.

    Where the numbers of what is left differ, none of it is matched.
    """
    named = {name: row for row in rows for name in (row.name, *row.tensors)}
    candidates = [index for index, event in enumerate(events) if _multiplies(event)]
    found = {
        index: row
        for index in candidates
        if (row := named.get(_SUFFIXES.sub("", events[index].name))) is not None
    }
    # Two events that both claim an operator: a convolution that an engine split, or a name that misleads.
    taken = list(map(id, found.values()))
    found = {index: row for index, row in found.items() if taken.count(id(row)) == 1}
    left = [index for index in candidates if index not in found]
    unclaimed = _without(rows, found.values())
    return {**found, **(dict(zip(left, unclaimed, strict=True)) if len(left) == len(unclaimed) else {})}


def _without(rows: Iterable[OperatorCost], found: Iterable[OperatorCost]) -> list[OperatorCost]:
    taken = set(map(id, found))
    return [row for row in rows if id(row) not in taken]


def _group(event: Event, cost: OperatorCost | None, first: OperatorCost | None) -> str:
    if cost is not None:
        return STEM if cost is first and cost.form != "dense" else _OF_FORM.get(cost.form, UNKNOWN)
    if _multiplies(event):
        # A dense layer can be told from a convolution without knowing which one it is.
        named = _by_words(event.operator)
        return named if named in (HEAD, REFORMAT) else UNKNOWN
    return SCALE if _BATCH_NORM.search(event.name) else _by_words(event.operator)


def _multiplies(event: Event) -> bool:
    return bool(_CONVOLUTION.search(event.operator)) and not _BATCH_NORM.search(event.name)


def _by_words(operator: str) -> str:
    return next((group for words, group in _WORDS if words.search(operator)), OTHER)
