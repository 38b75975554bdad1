"""A graph as every counter reads it: operators with their operands, from whatever file."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Shapes:
    """Shapes of what an operator reads, of its kernel, and of its output."""

    data: Shape
    weights: Shape
    output: Shape


@dataclass(frozen=True)
class Tensor:
    """An operand.

    Parameters
    ----------
    name : as in the file.
    shape : None where the file doesn't tell it.
    constant : identity of the stored constant that the operand is (or decodes), else None.
    bits : of one element, 0 where the file doesn't tell its type.
    """

    name: str
    shape: Shape | None
    constant: str | None = None
    bits: int = 0


@dataclass(frozen=True)
class Node:
    """An operator with its operands; an omitted optional input is None."""

    name: str
    operator: str
    inputs: tuple[Tensor | None, ...]
    output: Tensor
