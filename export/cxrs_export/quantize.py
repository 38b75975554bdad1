"""Static int8 quantization of float TFLite and ONNX (QDQ) files."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.engines.telemetry import without_telemetry
from cxrs_export.ranges import Range, tie, typical_ranges

if TYPE_CHECKING:
    import onnx

Pixels = NDArray[np.uint8]
AFTER_CONVOLUTION = ("Relu", "Add", "Transpose")
"""What makes a feature map of a convolution's result."""

# The heads stay float, from the last feature map on: they cost next to nothing, 256 steps of logit would blur the
# probabilities, and the evidence map must add up to the margin.
# Relu is in the list so that it melts into the convolution before it: without it ONNX Runtime took 57 ms, not 36.
# Pad and AveragePool are none of CXR-S's, but of the networks that it is compared with.
QUANTIZED_OPERATORS = [
    "Transpose", "Mul", "Conv", "Relu", "MaxPool", "Concat", "Add", "GlobalAveragePool", "Pad", "AveragePool",
]  # fmt: skip

TFLITE_OPERATORS = [
    "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "CONCATENATION", "MAX_POOL_2D", "MEAN",
    "MUL", "PAD", "AVERAGE_POOL_2D",
]  # fmt: skip
BEFORE_HEADS = "^(?!.*/(gap|zone_|extent_|evidence)|StatefulPartitionedCall).*$"
"""What an operator's result isn't called in the heads: by `cxrs_export.severity_network`, and, where it is an output
of the whole graph, by the TFLite converter."""


def quantize_tflite(float_tflite: bytes, representative: Sequence[Pixels]) -> bytes:
    """Quantize a float TFLite model statically to int8, weights per channel; input and outputs stay float32.

    Parameters
    ----------
    float_tflite : from `cxrs_export.convert.to_tflite`.
    representative : the representative data set, uint8 arrays of 1 x H x W x C from `cxrs_edge.prepare`.
    """
    from litert_quantizer import quantizer, recipe_manager

    quiet = io.StringIO()  # it prints its progress
    recipe = recipe_manager.RecipeManager()
    for operator in TFLITE_OPERATORS:
        recipe.add_static_config(
            regex=BEFORE_HEADS,
            operation_name=operator,
            activation_num_bits=8,
            weight_num_bits=8,
        )
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(quiet), redirect_stderr(quiet):
        path = Path(folder) / "f.tflite"
        path.write_bytes(float_tflite)
        quantize = quantizer.Quantizer(str(path))
        quantize.load_quantization_recipe(recipe.get_quantization_recipe())
        seen = [
            quantize.calibrate({"serving_default": [{"image": pixels.astype(np.float32)}]})
            for pixels in representative
        ]
        ranges = typical_ranges(
            {name: (float(found["min"].item()), float(found["max"].item())) for name, found in image.items()}
            for image in seen
        )
        tied = tie(ranges, _tflite_additions(float_tflite))
        result = {
            name: {
                "min": np.full_like(found["min"], tied[name][0]),
                "max": np.full_like(found["max"], tied[name][1]),
            }
            for name, found in seen[0].items()
        }
        return bytes(quantize.quantize(result, enable_progress_report=False).quantized_model)


def _tflite_additions(model: bytes) -> Iterator[list[str]]:
    """Names of the operands and the sum of every addition of two feature maps."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    for subgraph in graph.subgraphs:
        for operator in subgraph.operators:
            code = graph.operatorCodes[operator.opcodeIndex].builtinCode
            tensors = [subgraph.tensors[index] for index in [*operator.inputs, *operator.outputs]]
            constant = any(graph.buffers[tensor.buffer].data is not None for tensor in tensors)
            if code == schema.BuiltinOperator.ADD and not constant:
                yield [tensor.name.decode() for tensor in tensors]


def _onnx_additions(graph: onnx.GraphProto) -> Iterator[list[str]]:
    """The same of an ONNX graph."""
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Add" and not constants.intersection(node.input):
            yield [*node.input, *node.output]


def quantize_onnx(float_onnx: bytes, representative: Sequence[Pixels]) -> bytes:
    """Quantize a float ONNX model statically to int8: QDQ, weights per channel.

    Dynamic quantization is no alternative: it collapses the accuracy of depthwise convolutions.
    """
    import onnx

    with without_telemetry():
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("f.onnx", "p.onnx", "q.onnx"))
        source.write_bytes(float_onnx)
        # Folds the scaling and the batch norms that the converter left beside depthwise convolutions.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        ranges = tie(typical_ranges(_onnx_ranges(prepared, representative)), _onnx_additions(graph))
        quantize_static(
            str(prepared),
            str(target),
            _Feed(representative[:1]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=QUANTIZED_OPERATORS,
            nodes_to_exclude=_head_nodes(graph),
            extra_options={
                "TensorQuantOverrides": {
                    name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
                    for name, (low, high) in ranges.items()
                }
            },
        )
        return target.read_bytes()


def _onnx_ranges(path: Path, representative: Sequence[Pixels]) -> Iterator[dict[str, Range]]:
    """Smallest and largest value of each tensor, image by image."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            path,
            QUANTIZED_OPERATORS,
            augmented_model_path=str(Path(folder) / "a.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        for pixels in representative:
            calibrator.calibrate_tensors_range = None
            calibrator.collect_data(_Feed([pixels]))
            yield {
                name: (float(np.min(data.range_value[0])), float(np.max(data.range_value[1])))
                for name, data in calibrator.compute_data().data.items()
            }


def _head_nodes(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes behind the last feature map: what follows the last convolution and isn't fused with it.

    DenseNet joins and normalizes the results of its last convolution before the ReLU that ends them.
    """
    last = max(number for number, node in enumerate(graph.node) if node.op_type in ("Conv", "Relu"))
    features, heads = set(graph.node[last].output), []
    behind: set[str] = set()
    for node in graph.node[last + 1 :]:
        if node.op_type in AFTER_CONVOLUTION and not behind.intersection(node.input):
            if features.intersection(node.input):
                features.update(node.output)
        elif (features | behind).intersection(node.input):
            behind.update(node.output)
            heads.append(node.name)
    return heads


class _Feed:
    """Feeds the representative data set to ONNX Runtime's calibration, one image at a time."""

    def __init__(self, representative: Sequence[Pixels]) -> None:
        self._images: Iterator[Pixels] = iter(representative)

    def get_next(self) -> dict[str, Any] | None:
        pixels = next(self._images, None)
        return None if pixels is None else {"image": pixels.astype(np.float32)}
