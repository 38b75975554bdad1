"""The int8 files are int8, stay near the float model, and depend on what they were calibrated on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

pytest.importorskip("tensorflow")

import keras
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from small_network import SIZE, STAGE_BLOCKS, Pixels, small_network, smooth_images

from cxrs_edge.engines.tflite import quantize
from cxrs_export.convert import to_onnx, to_tflite
from cxrs_export.quantize import quantize_onnx, quantize_tflite

BLOCKS = sum(STAGE_BLOCKS)
CONVOLUTIONS = 1 + len(STAGE_BLOCKS) + 3 * BLOCKS


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small_network()


@pytest.fixture(scope="module")
def float_onnx(model: keras.Model) -> bytes:
    return to_onnx(model)


@pytest.fixture(scope="module")
def tflite(model: keras.Model) -> bytes:
    return quantize_tflite(to_tflite(model), smooth_images(16, seed=1))


@pytest.fixture(scope="module")
def qdq(float_onnx: bytes) -> bytes:
    return quantize_onnx(float_onnx, smooth_images(16, seed=1))


def keras_answers(model: keras.Model, images: list[Pixels]) -> np.ndarray[Any, Any]:
    return np.asarray(model(np.concatenate(images).astype(np.float32), training=False))[:, 1]


def tflite_answers(data: bytes, images: list[Pixels]) -> np.ndarray[Any, Any]:
    runner = Interpreter(model_content=data).get_signature_runner()
    details = runner.get_input_details()["image"]
    return np.array([runner(image=quantize(p, details))["probabilities"][0, 1] for p in images])


def onnx_answers(data: bytes, images: list[Pixels]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.array(
        [session.run(["probabilities"], {"image": p.astype(np.float32)})[0][0, 1] for p in images]
    )


def operators(data: bytes) -> list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]:
    """Name, inputs and outputs of each operator, as the file has them: before any delegate."""
    interpreter = Interpreter(model_content=data)
    tensors = {details["index"]: details for details in interpreter.get_tensor_details()}
    return [
        (op["op_name"], *([tensors[i] for i in op[side] if i in tensors] for side in ("inputs", "outputs")))
        for op in interpreter._get_ops_details()
    ]


def test_tflite_is_int8_up_to_its_float_head(tflite: bytes) -> None:
    found = operators(tflite)
    names = [name for name, _, _ in found]
    assert names.count("CONV_2D") == CONVOLUTIONS
    assert names.count("DEPTHWISE_CONV_2D") == names.count("ADD") == BLOCKS
    # Batch norm and scaling are folded into the convolutions; only the way in and out has casts.
    assert sorted(set(names) - {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD"}) == [
        "DEQUANTIZE", "FULLY_CONNECTED", "MAX_POOL_2D", "MEAN", "QUANTIZE", "SOFTMAX",
    ]  # fmt: skip
    for name, inputs, outputs in found:
        if name not in ("QUANTIZE", "DEQUANTIZE"):
            expected = np.float32 if name in ("MEAN", "FULLY_CONNECTED", "SOFTMAX") else np.int8
            assert {tensor["dtype"] for tensor in (inputs[0], *outputs)} == {expected}, name


def test_tflite_additions_have_one_scale(tflite: bytes) -> None:
    additions = [[*inputs, *outputs] for name, inputs, outputs in operators(tflite) if name == "ADD"]
    assert len(additions) == BLOCKS
    for tensors in additions:
        scales = {float(tensor["quantization_parameters"]["scales"][0]) for tensor in tensors}
        zeros = {int(tensor["quantization_parameters"]["zero_points"][0]) for tensor in tensors}
        assert len(scales) == len(zeros) == 1


def test_tflite_weights_are_per_channel(tflite: bytes) -> None:
    weights = [(name, inputs[1]) for name, inputs, _ in operators(tflite) if name.endswith("CONV_2D")]
    assert len(weights) == CONVOLUTIONS + BLOCKS
    for name, tensor in weights:
        axis = 3 if name == "DEPTHWISE_CONV_2D" else 0
        parameters = tensor["quantization_parameters"]
        assert tensor["dtype"] == np.int8
        assert parameters["quantized_dimension"] == axis
        assert len(parameters["scales"]) == tensor["shape"][axis] > 1
        assert len(set(parameters["scales"])) > 1
        assert not parameters["zero_points"].any()


def test_tflite_takes_and_gives_float32(tflite: bytes) -> None:
    runner = Interpreter(model_content=tflite).get_signature_runner()
    image, out = runner.get_input_details()["image"], runner.get_output_details()["probabilities"]
    assert (image["dtype"], image["shape"].tolist()) == (np.float32, [1, SIZE, SIZE, 3])
    assert (out["dtype"], out["shape"].tolist()) == (np.float32, [1, 2])


def test_onnx_is_qdq_with_a_float_head(qdq: bytes) -> None:
    graph = onnx.load_from_string(qdq)
    onnx.checker.check_model(graph, full_check=True)
    makers = {output: node for node in graph.graph.node for output in node.output}
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("Conv") == CONVOLUTIONS + BLOCKS
    assert kinds.count("Add") == BLOCKS
    assert "BatchNormalization" not in kinds
    for node in graph.graph.node:
        if node.op_type in ("Conv", "Add", "MaxPool", "GlobalAveragePool"):
            assert {makers[name].op_type for name in node.input} == {"DequantizeLinear"}, node.name
    (matmul,) = (node for node in graph.graph.node if node.op_type == "MatMul")
    (softmax,) = (node for node in graph.graph.node if node.op_type == "Softmax")
    initializers = {tensor.name: tensor for tensor in graph.graph.initializer}
    assert initializers[matmul.input[1]].data_type == onnx.TensorProto.FLOAT
    assert list(softmax.input) == list(matmul.output)
    assert list(softmax.output) == ["probabilities"]


def test_onnx_additions_have_one_scale(qdq: bytes) -> None:
    graph = onnx.load_from_string(qdq).graph
    makers = {output: node for node in graph.node for output in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    additions = [node for node in graph.node if node.op_type == "Add"]
    assert len(additions) == BLOCKS
    for node in additions:
        around = [*(makers[name] for name in node.input), readers[node.output[0]]]
        assert {one.op_type for one in around} == {"DequantizeLinear", "QuantizeLinear"}
        assert len({float(tensors[one.input[1]]) for one in around}) == 1
        assert len({int(tensors[one.input[2]]) for one in around}) == 1


def test_onnx_weights_are_int8_per_channel(qdq: bytes) -> None:
    graph = onnx.load_from_string(qdq).graph
    makers = {output: node for node in graph.node for output in node.output}
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for conv in (node for node in graph.node if node.op_type == "Conv"):
        dequantize = makers[conv.input[1]]
        weight, scale, zero = (tensors[name] for name in dequantize.input)
        axis = {attribute.name: attribute.i for attribute in dequantize.attribute}["axis"]
        assert weight.dtype == zero.dtype == np.int8
        assert axis == 0
        assert scale.shape == (weight.shape[0],)
        assert len(set(scale.tolist())) > 1


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_near_the_float_model_on_images_never_seen(
    kind: str, model: keras.Model, request: pytest.FixtureRequest
) -> None:
    images = smooth_images(24, seed=2)
    expected = keras_answers(model, images)
    assert np.ptp(expected) > 0.5
    if kind == "tflite":
        found = tflite_answers(request.getfixturevalue("tflite"), images)
    else:
        found = onnx_answers(request.getfixturevalue("qdq"), images)
    difference = np.abs(found - expected)
    # Moving averages clip what few calibration images reach, so the largest may be twice the converter's.
    assert 1e-4 < difference.max() < 0.2
    assert difference.mean() < 0.04


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_calibrating_on_black_images_is_worse(
    kind: str, model: keras.Model, float_onnx: bytes, request: pytest.FixtureRequest
) -> None:
    images, black = smooth_images(12, seed=2), [np.zeros((1, SIZE, SIZE, 3), np.uint8)] * 2
    expected = keras_answers(model, images)
    if kind == "tflite":
        silly = tflite_answers(quantize_tflite(to_tflite(model), black), images)
        good = tflite_answers(request.getfixturevalue("tflite"), images)
    else:
        silly = onnx_answers(quantize_onnx(float_onnx, black), images)
        good = onnx_answers(request.getfixturevalue("qdq"), images)
    assert np.abs(silly - expected).mean() > 4 * np.abs(good - expected).mean()


QUANTIZE_ONE_CONVOLUTION = """
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cxrs_export.quantize import quantize_onnx

kernel = numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "kernel")
image, out = (
    helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    for name, shape in (("image", [1, 1, 8, 8]), ("out", [1, 2, 6, 6]))
)
graph = helper.make_graph([helper.make_node("Conv", ["image", "kernel"], ["out"])], "g", [image], [out], [kernel])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
quantize_onnx(model.SerializeToString(), [np.ones((1, 1, 8, 8), np.uint8)] * 2)
"""


def test_quantizing_reports_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment.update(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    subprocess.run([sys.executable, "-c", QUANTIZE_ONE_CONVOLUTION], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []
