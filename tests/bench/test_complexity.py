"""Files built by hand, so that every expected number is a product on the same line."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from cxrs_bench.complexity import Complexity, OperatorCost, count_file, render_complexity
from cxrs_bench.complexity.onnx import count_onnx
from cxrs_bench.complexity.tflite import count_tflite
from cxrs_edge.errors import ModelError

Shape = tuple[int, ...]
RANDOM = np.random.default_rng(0)


def _onnx_bytes(nodes: list[onnx.NodeProto], weights: dict[str, Shape], batch: int | str = "N") -> bytes:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 9, 9])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(RANDOM.random(s, dtype=np.float32), n) for n, s in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def _conv_net(batch: int | str = "N") -> bytes:
    """Strided and padded, grouped, depthwise with multiplier 2, transposed, Gemm and MatMul."""
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "grouped", group=2),
        helper.make_node("Conv", ["c2", "w3"], ["c3"], "depthwise", group=6, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["c3", "w4"], ["c4"], "up", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c4"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w5", "b5"], ["d"], "gemm", transB=1),
        helper.make_node("MatMul", ["d", "w6"], ["out"], "matmul"),
    ]
    weights = {
        "w1": (4, 3, 3, 3),
        "b1": (4,),
        "w2": (6, 2, 2, 2),
        "w3": (12, 1, 3, 3),
        "w4": (12, 5, 2, 2),
        "w5": (7, 5),
        "b5": (7,),
        "w6": (7, 2),
    }
    return _onnx_bytes(nodes, weights, batch)


CONV_NET_ROWS = (
    OperatorCost(
        "conv", "Conv", 5 * 5 * 4 * 27, 4 * 27, (1, 4, 5, 5), "spatial", 4 * (3 * 81 + 4 * 27 + 4), 4 * 4 * 25
    ),
    OperatorCost("grouped", "Conv", 16 * 6 * 8, 6 * 8, (1, 6, 4, 4), "spatial", 4 * (100 + 48), 4 * 96),
    OperatorCost(
        "depthwise", "Conv", 16 * 12 * 9, 12 * 9, (1, 12, 4, 4), "depthwise", 4 * (96 + 108), 4 * 192
    ),
    OperatorCost(
        "up", "ConvTranspose", 16 * 12 * 5 * 4, 12 * 5 * 4, (1, 5, 8, 8), "spatial", 4 * (192 + 240), 4 * 320
    ),
    OperatorCost("gemm", "Gemm", 5 * 7, 5 * 7, (1, 7), "dense", 4 * (5 + 35 + 7), 4 * 7),
    OperatorCost("matmul", "MatMul", 7 * 2, 7 * 2, (1, 2), "dense", 4 * (7 + 14), 4 * 2),
)


def test_onnx_operators() -> None:
    complexity = count_onnx(_conv_net(), "net.onnx")
    assert complexity.rows == CONV_NET_ROWS
    assert complexity.macs == 2700 + 768 + 1728 + 3840 + 35 + 14
    assert complexity.flops == 2 * complexity.macs
    assert complexity.parameters == complexity.kernel_parameters == 108 + 48 + 108 + 240 + 35 + 14
    assert complexity.total_parameters - complexity.parameters == 4 + 7
    assert complexity.unknown == ()


def test_onnx_quantized_weights_are_found(tmp_path: Path) -> None:
    """The QDQ form that the project ships, and the dynamic form (ConvInteger, MatMulInteger)."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        quantize_dynamic,
        quantize_static,
    )

    class OneImage(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.images = iter([{"image": RANDOM.random((1, 3, 9, 9), dtype=np.float32)}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.images, None)

    source = tmp_path / "float.onnx"
    source.write_bytes(_conv_net())
    quantize_static(source, tmp_path / "qdq.onnx", OneImage(), quant_format=QuantFormat.QDQ, per_channel=True)
    quantize_dynamic(source, tmp_path / "dynamic.onnx")
    expected = count_file(source)
    qdq, dynamic = count_file(tmp_path / "qdq.onnx"), count_file(tmp_path / "dynamic.onnx")
    assert (qdq.macs, qdq.parameters, qdq.unknown) == (expected.macs, expected.parameters, ())
    assert (dynamic.macs, dynamic.parameters, dynamic.unknown) == (
        expected.macs,
        expected.parameters,
        (),
    )
    assert {"ConvInteger", "MatMulInteger"} <= dynamic.by_operator().keys()


def test_onnx_qlinear_conv() -> None:
    """Weights are its fourth input."""
    quantization = {
        "s": numpy_helper.from_array(np.ones((), np.float32), "s"),
        "z": numpy_helper.from_array(np.zeros((), np.uint8), "z"),
    }
    weights = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.uint8), "w")
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", ["image", "s", "z", "w", "s", "z", "s", "z"], ["out"], "q")],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, 9, 9])],
        [helper.make_tensor_value_info("out", TensorProto.UINT8, None)],
        [*quantization.values(), weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rows = count_onnx(model.SerializeToString(), "q.onnx").rows
    assert rows == (
        OperatorCost(
            "q",
            "QLinearConv",
            7 * 7 * 4 * 27,
            4 * 27,
            (1, 4, 7, 7),
            "spatial",
            # uint8 data and weights, three float32 scales, three uint8 zero points
            3 * 81 + 4 * 27 + 3 * 4 + 3,
            4 * 49,
        ),
    )


def test_shared_kernel_counts_once() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w"], ["out"], "second", pads=[1, 1, 1, 1]),
    ]
    complexity = count_onnx(_onnx_bytes(nodes, {"w": (3, 3, 3, 3)}), "net.onnx")
    assert [row.parameters for row in complexity.rows] == [81, 0]
    assert complexity.macs == 2 * 81 * 81
    assert complexity.parameters == 81


def test_unknown_operator_is_named_not_zero() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], "conv"),
        helper.make_node("Einsum", ["c"], ["e"], equation="nchw->nc"),
        helper.make_node("Mystery", ["e"], ["out"], domain="org.example"),
    ]
    complexity = count_onnx(_onnx_bytes(nodes, {"w": (4, 3, 3, 3)}), "net.onnx")
    assert complexity.unknown == ("Einsum", "org.example.Mystery")
    assert "no rule for: Einsum, org.example.Mystery" in render_complexity(complexity)


def test_fixed_batch_is_refused() -> None:
    with pytest.raises(ModelError, match=r"net\.onnx: input 'image' has batch 4"):
        count_onnx(_conv_net(batch=4), "net.onnx")


def test_dynamic_size_is_refused() -> None:
    model = onnx.load_model_from_string(_conv_net())
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(
        ModelError,
        match=r"net\.onnx: the shape of 'image' of Conv 'conv' is not known",
    ):
        count_onnx(model.SerializeToString(), "net.onnx")


class _TFLite:
    """A .tflite file, one operator after the other, through the schema's object interface."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.operatorCodes, self.model.buffers = [], [schema.BufferT()]

    def tensor(self, name: str, shape: Shape, *, stored: bool = False, dynamic: bool = False) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), schema.TensorType.INT8
        tensor.shapeSignature = [-1, *shape[1:]] if dynamic else None
        if stored:
            buffer = schema.BufferT()
            buffer.data = np.zeros(int(np.prod(shape)), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, builtin: str, inputs: list[int], output: int) -> None:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, builtin)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self.model.operatorCodes.append(code)
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        self.graph.operators.append(operator)

    def to_bytes(self) -> bytes:
        self.graph.inputs, self.graph.outputs = [0], [len(self.graph.tensors) - 1]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _tflite_net(batch: int = 1) -> bytes:
    """Grouped, depthwise, transposed, dense with a decoded kernel, a product of activations."""
    net = _TFLite()
    image = net.tensor("image", (batch, 9, 9, 4), dynamic=batch == 1)
    grouped = net.tensor("grouped", (batch, 5, 5, 6), dynamic=True)
    kernel, bias = net.tensor("w1", (6, 3, 3, 2), stored=True), net.tensor("b1", (6,), stored=True)
    net.operator("CONV_2D", [image, kernel, bias], grouped)
    depthwise = net.tensor("depthwise", (batch, 5, 5, 12))
    net.operator("DEPTHWISE_CONV_2D", [grouped, net.tensor("w2", (1, 3, 3, 12), stored=True), -1], depthwise)
    up, size = net.tensor("up", (batch, 10, 10, 5)), net.tensor("size", (4,), stored=True)
    net.operator("TRANSPOSE_CONV", [size, net.tensor("w3", (5, 2, 2, 12), stored=True), depthwise], up)
    mean = net.tensor("mean", (batch, 5))
    net.operator("MEAN", [up], mean)
    decoded, dense = net.tensor("decoded", (7, 5)), net.tensor("dense", (batch, 7))
    net.operator("DEQUANTIZE", [net.tensor("w4", (7, 5), stored=True)], decoded)
    net.operator("FULLY_CONNECTED", [mean, decoded, -1], dense)
    net.operator("BATCH_MATMUL", [dense, dense], net.tensor("product", (batch, 1)))
    return net.to_bytes()


TFLITE_ROWS = (
    OperatorCost("grouped", "CONV_2D", 25 * 6 * 18, 6 * 18, (1, 5, 5, 6), "spatial", 324 + 108 + 6, 150),
    OperatorCost(
        "depthwise", "DEPTHWISE_CONV_2D", 25 * 12 * 9, 12 * 9, (1, 5, 5, 12), "depthwise", 150 + 108, 300
    ),
    OperatorCost(
        "up", "TRANSPOSE_CONV", 25 * 12 * 20, 12 * 20, (1, 10, 10, 5), "spatial", 4 + 240 + 300, 500
    ),
    OperatorCost("dense", "FULLY_CONNECTED", 5 * 7, 5 * 7, (1, 7), "dense", 5 + 35, 7),
    OperatorCost("product", "BATCH_MATMUL", 7, 0, (1, 1), "dense", 7 + 7, 1),
)


def test_tflite_operators() -> None:
    complexity = count_tflite(_tflite_net(), "net.tflite")
    assert complexity.rows == TFLITE_ROWS
    assert complexity.macs == 2700 + 2700 + 6000 + 35 + 7
    assert (complexity.parameters, complexity.other_parameters) == (108 + 108 + 240 + 35, 6)
    assert complexity.unknown == ()


def test_tflite_with_an_appended_card(tmp_path: Path) -> None:
    path = tmp_path / "net.bin"
    path.write_bytes(_tflite_net() + b"PK\x03\x04 a zip that holds the card")
    assert count_file(path).rows == TFLITE_ROWS


def test_tflite_unknown_operator() -> None:
    net = _TFLite()
    image, state = net.tensor("image", (1, 9)), net.tensor("state", (1, 9))
    net.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", [image], state)
    assert count_tflite(net.to_bytes(), "net.tflite").unknown == ("UNIDIRECTIONAL_SEQUENCE_LSTM",)


def test_tflite_fixed_batch_is_refused() -> None:
    with pytest.raises(ModelError, match=r"net\.tflite: input 'image' has shape \(4, 9, 9, 4\)"):
        count_tflite(_tflite_net(batch=4), "net.tflite")


def test_tflite_impossible_shapes_are_refused() -> None:
    net = _TFLite()
    image, kernel = net.tensor("image", (1, 9, 9, 4)), net.tensor("w", (6, 4), stored=True)
    net.operator("CONV_2D", [image, kernel], net.tensor("out", (1, 9, 9, 6)))
    with pytest.raises(ModelError, match=r"CONV_2D 'out' has data .*, weights \(6, 4\)"):
        count_tflite(net.to_bytes(), "net.tflite")


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"PK\x03\x04 a .keras file", b"\x1c\x00\x00\x00TFL3"])
def test_files_that_are_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.onnx: \d+ bytes that are n"):
        count_file(path)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        count_file(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="directory"):
        count_file(tmp_path)


def _count_bytes(data: bytes) -> Complexity:
    return (count_tflite if data[4:8] == b"TFL3" else count_onnx)(data, "x")


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(ModelError):
        _count_bytes(data)
    with pytest.raises(ModelError):
        _count_bytes(data[:4] + b"TFL3" + data)


WHOLE = {"tflite": _tflite_net(), "onnx": _conv_net()}


@pytest.mark.parametrize("kind", WHOLE)
@given(st.data())
def test_truncated_file_is_refused_or_lost_nothing(kind: str, data: st.DataObject) -> None:
    whole = WHOLE[kind]
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with contextlib.suppress(ModelError):
        assert _count_bytes(cut) == _count_bytes(whole)


def test_constant_that_ends_beyond_the_file_is_refused() -> None:
    """As in a file cut short within its weights; the kernel w1 has 108 elements."""
    whole, zeros = _tflite_net(), bytes(108)
    assert whole.count((108).to_bytes(4, "little") + zeros) >= 1
    length = len(whole).to_bytes(4, "little")
    damaged = whole.replace((108).to_bytes(4, "little") + zeros, length + zeros)
    with pytest.raises(ModelError, match=r"net\.tflite: \d+ bytes that are not a readable"):
        count_tflite(damaged, "net.tflite")


@pytest.mark.parametrize("kind", WHOLE)
def test_half_a_file_is_refused(kind: str) -> None:
    with pytest.raises(ModelError):
        _count_bytes(WHOLE[kind][: len(WHOLE[kind]) // 2])


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_file_never_ends_in_a_traceback(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelError):
        assert _count_bytes(bytes(damaged)).macs >= 0


def test_table_by_type_and_by_operator() -> None:
    complexity = count_onnx(_conv_net(), "net.onnx")
    by_type = render_complexity(complexity).splitlines()
    assert [line.split("|")[1].strip() for line in by_type[2:7]] == [
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "total",
    ]
    assert [cell.strip() for cell in by_type[2].strip("| ").split("|")] == [
        "Conv",
        "3",
        "264",
        "5,196",
        "57.2%",
    ]
    assert by_type[-1].startswith("553 parameters, 564 in all; 0.00 G MACs = 0.00 GFLOPs for one image. ")
    each = render_complexity(complexity, each=True).splitlines()
    assert [cell.strip() for cell in each[3].strip("| ").split("|")] == [
        "grouped",
        "Conv",
        "1 x 6 x 4 x 4",
        "48",
        "768",
        # 100 and 48 float32 in, 96 out
        "1.0",
        "0.8",
    ]
    assert len(set(map(len, each[: len(CONV_NET_ROWS) + 3]))) == 1


def test_counting_needs_no_tensorflow(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(_tflite_net())
    code = (
        "import sys; import cxrs_bench.complexity as c; assert 'onnx' not in sys.modules;"
        f"c.count_file({str(path)!r}); assert not {{'tensorflow', 'keras'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
