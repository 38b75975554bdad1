"""Bytes moved, on graphs small enough to add up by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cxrs_bench.complexity import count_file
from cxrs_bench.complexity.cost import Complexity
from cxrs_bench.complexity.onnx import count_onnx
from cxrs_edge.model_file import read_model_file


def _count(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Complexity:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return count_onnx(model.SerializeToString(), "net.onnx")


def _moved(complexity: Complexity) -> dict[str, tuple[int, int]]:
    rows = (*complexity.rows, *complexity.free)
    return {row.operator: (row.bytes_read, row.bytes_written) for row in rows}


SCALE = {"s": np.float32(0.5), "z": np.uint8(0), "zw": np.int8(0)}


def test_a_quantized_convolution_moves_int8_though_its_file_says_float() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w8", "s", "zw"], ["w"]),
        helper.make_node("Conv", ["d", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "s", "z"], ["out"]),
    ]
    complexity = _count(nodes, {**SCALE, "w8": np.ones((5, 3, 1, 1), np.int8)})
    # The image is encoded by an operator of its own: 48 float32, a scale, a zero point -> 48 bytes.
    assert _moved(complexity) == {"Conv": (48 + 15, 80), "QuantizeLinear": (48 * 4 + 4 + 1, 48)}
    (conv,) = complexity.rows
    assert conv.form == "1x1"
    assert conv.intensity == (16 * 15) / (48 + 15 + 80)
    assert complexity.bytes_moved == 63 + 80 + 197 + 48


def test_views_move_nothing_and_an_addition_reads_both_operands() -> None:
    nodes = [
        helper.make_node("Relu", ["image"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["flat"]),
        helper.make_node("Add", ["flat", "flat"], ["out"]),
    ]
    complexity = _count(nodes, {"shape": np.array([1, 48])})
    # An activation of the graph's own input has nothing to melt into.
    assert _moved(complexity) == {"Relu": (192, 192), "Add": (384, 192)}


def test_both_files_of_the_bundled_model_move_the_same_bytes_in_convolutions() -> None:
    """Counted by two readers on two formats; biases and scales are all that differs."""
    from cxrs_edge.grader import BUNDLED

    tflite, onnx_file = (count_file(BUNDLED / f"cxrs-int8.{kind}") for kind in ("tflite", "onnx"))
    assert read_model_file(BUNDLED / "cxrs-int8.tflite").card.precision == "int8"
    for form in ("1x1", "depthwise", "spatial"):
        moved = [
            [row.bytes_moved for row in complexity.rows if row.form == form]
            for complexity in (tflite, onnx_file)
        ]
        assert len(moved[0]) == len(moved[1]) > 0
        assert abs(sum(moved[0]) - sum(moved[1])) < 0.01 * sum(moved[0])
    additions = [
        sum(row.bytes_moved for row in complexity.free if row.operator.lower() == "add")
        for complexity in (tflite, onnx_file)
    ]
    # Sixteen sums, each of two feature maps into one; ONNX reads scales too. The zones add lung and places of 225
    # cells.
    zones = 4 * 225 * (1 + 6 + 6)
    maps = 3 * 120 * 120 * 160 + 4 * 60 * 60 * 328 + 6 * 30 * 30 * 640 + 3 * 15 * 15 * 2048
    assert additions[0] == 3 * maps + zones
    # ONNX adds the dense layers' biases by operators of their own.
    assert additions[1] - additions[0] < 10_000


def test_a_graph_that_goes_in_a_circle_ends() -> None:
    """No engine runs it, but files come from anywhere."""
    from cxrs_bench.complexity.graph import Node, Tensor
    from cxrs_bench.complexity.traffic import Traffic

    tensor = Tensor("a", (4,), None, 8)
    nodes = [Node("q", "QuantizeLinear", (tensor,), tensor), Node("d", "Identity", (tensor,), tensor)]
    assert [Traffic(nodes).of(node).bytes_read for node in nodes] == [0, 0]
