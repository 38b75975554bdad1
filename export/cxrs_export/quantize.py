"""Static int8 quantization of a Keras model (TFLite) and of its float ONNX file (QDQ)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrs_export.convert import saved_model

if TYPE_CHECKING:
    import keras

Pixels = NDArray[np.uint8]

# The head (MatMul, Softmax) stays float: it costs nothing, and 256 steps of logit would blur the probabilities.
# Relu is in the list so that it melts into the convolution before it: without it ONNX Runtime took 57 ms, not 36.
QUANTIZED_OPERATORS = [
    "Transpose", "Mul", "Conv", "Relu", "MaxPool", "Concat", "Add", "GlobalAveragePool",
]  # fmt: skip


def quantize_tflite(model: keras.Model, representative: Sequence[Pixels]) -> bytes:
    """Convert to full-integer int8 TFLite (uint8 input, float32 outputs).

    Parameters
    ----------
    model : the float Keras model.
    representative : the representative data set, uint8 arrays of 1 x H x W x C from `cxrs_edge.prepare`.
    """
    import tensorflow as tf

    with saved_model(model) as folder:
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([p.astype(np.float32)] for p in representative)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        return bytes(converter.convert())


def quantize_onnx(float_onnx: bytes, representative: Sequence[Pixels]) -> bytes:
    """Quantize a float ONNX model statically to int8: QDQ, weights per channel.

    Dynamic quantization is no alternative: it collapses the accuracy of depthwise convolutions.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("f.onnx", "p.onnx", "q.onnx"))
        source.write_bytes(float_onnx)
        # Folds the scaling and the batch norms that the converter left beside depthwise convolutions.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Feed(representative),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=QUANTIZED_OPERATORS,
        )
        return target.read_bytes()


class _Feed:
    """Feeds the representative data set to ONNX Runtime's calibration, one image at a time."""

    def __init__(self, representative: Sequence[Pixels]) -> None:
        self._images: Iterator[Pixels] = iter(representative)

    def get_next(self) -> dict[str, Any] | None:
        pixels = next(self._images, None)
        return None if pixels is None else {"image": pixels.astype(np.float32)}
