"""What a network costs: the values that every counter returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Form = Literal["depthwise", "1x1", "spatial", "dense", "none"]
"""What an operator multiplies: one kernel for each channel, every channel of one pixel, of several pixels, a
vector by a matrix, or nothing (it has no MACs)."""


@dataclass(frozen=True)
class OperatorCost:
    """One operator.

    Parameters
    ----------
    name : the layer's or node's name; in a .tflite file that of its output tensor, up to a
        semicolon.
    operator : its type, in the words of its source: ``Conv2D``, ``Conv``, ``CONV_2D``.
    macs : multiply-accumulates for one image.
    parameters : elements of its kernel; 0 where an earlier row already holds the same, shared
        kernel.
    output_shape : with batch 1, in the layout of its source (Keras and TFLite NHWC, ONNX NCHW).
    form : of its kernel; ``none`` where the source (Keras) isn't asked, or there are no MACs.
    bytes_read, bytes_written : of its operands and outputs, each moved once between memory and CPU, in the types in
        which a file's engine keeps them (`cxrs_bench.complexity.traffic`); 0 where the source isn't asked. A cache
        moves fewer, a kernel that reads its input several times moves more.
    tensors : names of its output and of what an engine melts into it, by which profilers call it (only of files).
    """

    name: str
    operator: str
    macs: int
    parameters: int
    output_shape: tuple[int, ...]
    form: Form = "none"
    bytes_read: int = 0
    bytes_written: int = 0
    tensors: tuple[str, ...] = field(default=(), compare=False)

    @property
    def bytes_moved(self) -> int:
        """`bytes_read` and `bytes_written`."""
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, MACs per byte moved; 0 where no byte is counted."""
        return self.macs / self.bytes_moved if self.bytes_moved else 0.0


@dataclass(frozen=True)
class OperatorTotal:
    """The sum of all operators of one type."""

    operator: str
    count: int
    macs: int
    parameters: int


@dataclass(frozen=True)
class Complexity:
    """The cost of a network for one image (batch 1).

    MACs are those of convolutions and dense (matrix product) operators only, as published FLOPs are
    counted: biases, batch normalization, activations, pooling and additions cost none here.

    Parameters
    ----------
    parameters : of a Keras model its trainable parameters, as papers count them (kernels, biases,
        batch-norm gamma and beta); of a file the constant kernels of the counted operators, batch
        norm being folded.
    macs : the sum over `rows`.
    rows : one `OperatorCost` per counted operator, in graph order.
    other_parameters : what `parameters` leaves out: of a Keras model its non-trainable parameters
        (batch-norm mean and variance); of a file the biases of the counted operators.
    free : the operators without MACs that move bytes, in graph order (only of files).
    unknown : types of operators that no counter and no list of free operators knows. Their MACs are
        missing.
    """

    parameters: int
    macs: int
    rows: tuple[OperatorCost, ...]
    other_parameters: int = 0
    unknown: tuple[str, ...] = ()
    free: tuple[OperatorCost, ...] = ()

    @property
    def flops(self) -> int:
        """Floating-point operations: two (a multiplication and an addition) per MAC."""
        return 2 * self.macs

    @property
    def total_parameters(self) -> int:
        """`parameters` and `other_parameters`."""
        return self.parameters + self.other_parameters

    @property
    def kernel_parameters(self) -> int:
        """Kernel elements over all rows, which a Keras model and its exported files share."""
        return sum(row.parameters for row in self.rows)

    @property
    def bytes_moved(self) -> int:
        """Bytes over all operators, with and without MACs; 0 of a Keras model."""
        return sum(row.bytes_moved for row in (*self.rows, *self.free))

    def by_operator(self) -> dict[str, OperatorTotal]:
        """Totals by type of operator, the most MACs first."""
        totals: dict[str, OperatorTotal] = {}
        for row in self.rows:
            old = totals.get(row.operator, OperatorTotal(row.operator, 0, 0, 0))
            totals[row.operator] = OperatorTotal(
                row.operator, old.count + 1, old.macs + row.macs, old.parameters + row.parameters
            )
        return dict(sorted(totals.items(), key=lambda item: -item[1].macs))
