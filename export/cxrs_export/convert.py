"""Keras model -> float TFLite and ONNX bytes. The one place that knows the converters."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import onnx

OPSET = 17
"""The newest opset that every engine we support has run for years; the network needs nothing newer."""


@contextmanager
def saved_model(model: keras.Model) -> Iterator[str]:
    """A SavedModel folder with batch 1 and named outputs, as the TFLite converter wants it."""
    import tensorflow as tf

    names = list(model.output_names)

    @tf.function(input_signature=[_signature(model)])  # type: ignore[untyped-decorator]
    def serve(image: Any) -> dict[str, Any]:
        outputs = model(image, training=False)
        return dict(zip(names, tf.nest.flatten(outputs), strict=True))

    module = tf.Module()
    module.variables_of_the_model = [variable.value for variable in model.variables]
    module.serve = serve
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": serve})
        yield folder


def to_tflite(model: keras.Model, *, half: bool = False) -> bytes:
    """Convert to a TFLite flatbuffer; input ``image`` 1 x H x W x C, outputs by their Keras names, all float32.

    `half` stores the weights as float16; what the arithmetic is done in is the engine's choice.
    """
    import tensorflow as tf

    with saved_model(model) as folder:
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())


def to_onnx(model: keras.Model) -> bytes:
    """Convert to a float32 ONNX protobuf; input ``image`` 1 x H x W x C, outputs by their Keras names."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.export(
            path,
            format="onnx",
            opset_version=OPSET,
            verbose=False,
            input_signature=[_signature(model)],
        )
        graph = onnx.load(path)
    for output, name in zip(list(graph.graph.output), model.output_names, strict=True):
        _rename_output(graph.graph, output.name, name)
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString())


def _signature(model: keras.Model) -> Any:
    import tensorflow as tf

    return tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name=model.inputs[0].name)


def _rename_output(graph: onnx.GraphProto, old: str, new: str) -> None:
    """tf2onnx names outputs `Identity:0`; the model file's contract wants the Keras names."""
    for node in graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
        node.input[:] = [new if name == old else name for name in node.input]
    for output in graph.output:
        if output.name == old:
            output.name = new
