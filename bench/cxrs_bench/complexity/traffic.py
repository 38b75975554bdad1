"""Bytes that the operators of a graph move between memory and CPU, whatever file the graph came from.

Every operand and every output is counted once, with the type in which it is kept between operators. An engine melts
activations and the quantization of outputs into the operator before them, and the decoding of operands into the one
behind them; reshapes are no work. So these move nothing themselves: a quantized convolution reads and writes int8,
although its file (ONNX QDQ) says that it is a float32 one between a decoder and an encoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cxrs_bench.complexity.graph import Node, Tensor

VIEWS = frozenset(
    "Constant Flatten Identity Reshape Shape Squeeze Unsqueeze RESHAPE SQUEEZE EXPAND_DIMS SHAPE".split()  # noqa: SIM905
)
DECODERS = frozenset({"DequantizeLinear", "DEQUANTIZE", "DENSIFY"})
MELTED = frozenset(
    "Clip HardSwish LeakyRelu QuantizeLinear Relu Sigmoid HARD_SWISH LEAKY_RELU RELU RELU6".split()  # noqa: SIM905
)
"""Melts into the operator that made its operand; alone where the graph's input is its operand."""


class Moved(NamedTuple):
    """What one operator moves, as the last fields of `cxrs_bench.complexity.cost.OperatorCost`."""

    bytes_read: int
    bytes_written: int
    tensors: tuple[str, ...]


class Traffic:
    """Bytes read and written by each node of one graph, for one image."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._producers = {node.output.name: node for node in nodes}
        self._successors: dict[str, Node] = {}
        for node in nodes:
            operand = node.inputs[0] if node.inputs else None
            if operand is not None and node.operator in MELTED and self._passes_on(node):
                self._successors.setdefault(operand.name, node)

    def of(self, node: Node) -> Moved:
        """Bytes of all operands and of the output, as they are kept between operators."""
        outputs = self._outputs(node)
        names = tuple(tensor.name for tensor in outputs)
        if self._passes_on(node):
            return Moved(0, 0, names)
        read = sum(_size(self._kept(tensor)) for tensor in node.inputs if tensor is not None)
        return Moved(read, _size(outputs[-1]), names)

    def _outputs(self, node: Node) -> tuple[Tensor, ...]:
        """The output, and the outputs of what melts into the node, one after the other."""
        chain = {node.output.name: node.output}
        last = node.output
        # A damaged file may lead in a circle.
        while (successor := self._successors.get(last.name)) and successor.output.name not in chain:
            last = chain[successor.output.name] = successor.output
        return tuple(chain.values())

    def _passes_on(self, node: Node) -> bool:
        """Whether the node moves nothing itself."""
        if node.operator in VIEWS or node.operator in DECODERS:
            return True
        operand = node.inputs[0] if node.inputs else None
        return node.operator in MELTED and operand is not None and operand.name in self._producers

    def _kept(self, tensor: Tensor) -> Tensor:
        """The tensor that is really read where an operator has `tensor` as operand."""
        passed = {tensor.name}
        while (producer := self._producers.get(tensor.name)) and producer.operator in DECODERS | VIEWS:
            operand = producer.inputs[0] if producer.inputs else None
            if operand is None or operand.name in passed:
                break
            passed.add(operand.name)
            tensor = operand
        return tensor


def _size(tensor: Tensor) -> int:
    """In bytes; a tensor of unknown shape counts none."""
    return math.prod(tensor.shape) * tensor.bits // 8 if tensor.shape is not None else 0
