"""Add up the operators of a graph by a table of rules, whatever file the graph came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from cxrs_bench.complexity.cost import Complexity, Form, OperatorCost
from cxrs_bench.complexity.graph import Node, Shape, Shapes, Tensor
from cxrs_bench.complexity.traffic import Moved, Traffic
from cxrs_edge.errors import ModelError


@dataclass(frozen=True)
class Rule:
    """How one type of operator is counted.

    Parameters
    ----------
    data : index of the input that the operator reads.
    weights : index of the input that it is multiplied by.
    bias : index of the input that is added, or None where the type has none.
    macs : raises ValueError or IndexError for ranks that the operator can't have.
    form : of the kernel, by the same shapes.
    """

    data: int
    weights: int
    bias: int | None
    macs: Callable[[Shapes], int]
    form: Callable[[Shapes], Form]


def dense(_: Shapes) -> Form:
    """The form of every matrix product."""
    return "dense"


def form_of(kernel: Shape, *, each_alone: bool) -> Form:
    """The form of a convolution by its kernel's height and width, and whether each channel is convolved alone."""
    if each_alone:
        return "depthwise"
    return "1x1" if math.prod(kernel) == 1 else "spatial"


def tally(
    nodes: Iterable[Node], rules: Mapping[str, Rule], free: Collection[str], subject: str
) -> Complexity:
    """Count the nodes that have a rule; name the types that are neither in `rules` nor in `free`.

    Raises
    ------
    ModelError : a counted operator lacks an operand or a known shape; the message starts with
        `subject`.
    """
    nodes = list(nodes)
    traffic = Traffic(nodes)
    rows, others, seen, unknown = [], [], set[str](), dict[str, None]()
    biases = 0
    for node in nodes:
        moved, rule = traffic.of(node), rules.get(node.operator)
        if rule is None and moved.bytes_read + moved.bytes_written:
            shape = node.output.shape or ()
            others.append(OperatorCost(node.name, node.operator, 0, 0, shape, "none", *moved))
        if rule is not None:
            rows.append(_cost(node, rule, moved, seen, subject))
            biases += _fresh_elements(_operand(node, rule.bias), seen)
        elif node.operator not in free:
            unknown[node.operator] = None
    return Complexity(
        parameters=sum(row.parameters for row in rows),
        macs=sum(row.macs for row in rows),
        rows=tuple(rows),
        other_parameters=biases,
        unknown=tuple(unknown),
        free=tuple(others),
    )


def _cost(node: Node, rule: Rule, moved: Moved, seen: set[str], subject: str) -> OperatorCost:
    data, weights = _operand(node, rule.data), _operand(node, rule.weights)
    shapes = Shapes(*(_known(tensor, node, subject) for tensor in (data, weights, node.output)))
    try:
        macs, form = rule.macs(shapes), rule.form(shapes)
    except (ValueError, IndexError, ZeroDivisionError):
        raise ModelError(
            f"{subject}: {node.operator} {node.name!r} has data {shapes.data}, weights {shapes.weights} "
            f"and output {shapes.output}; expected shapes that fit its type; export it again"
        ) from None
    parameters = sum(_fresh_elements(tensor, seen) for tensor in (data, weights))
    return OperatorCost(node.name, node.operator, macs, parameters, shapes.output, form, *moved)


def _operand(node: Node, index: int | None) -> Tensor | None:
    return node.inputs[index] if index is not None and index < len(node.inputs) else None


def _known(tensor: Tensor | None, node: Node, subject: str) -> Shape:
    if tensor is None or tensor.shape is None:
        lost = "an operand" if tensor is None else f"the shape of {tensor.name!r}"
        raise ModelError(
            f"{subject}: {lost} of {node.operator} {node.name!r} is not known; "
            "expected an input of fixed size with batch 1; export it so"
        )
    return tensor.shape


def _fresh_elements(tensor: Tensor | None, seen: set[str]) -> int:
    """Elements of a stored constant that no earlier operator used: a shared kernel counts once."""
    if tensor is None or tensor.constant is None or tensor.shape is None or tensor.constant in seen:
        return 0
    seen.add(tensor.constant)
    return math.prod(tensor.shape)
