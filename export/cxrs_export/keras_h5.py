"""An ``.h5`` file of a whole model, as `model.save` of Keras 2 and 3 writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrs_edge.errors import ModelError
from cxrs_edge.extras import import_extra
from cxrs_export.frozen_graph import FrozenGraph, model_errors, require_square, with_constants

if TYPE_CHECKING:
    import keras


def read_h5(path: Path) -> FrozenGraph:
    """Freeze a model with one input and one output; raises `ModelError`, also for one that carries code."""
    keras = import_extra("keras", "export")
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected an .h5 file that Keras's model.save wrote")
    with model_errors(path, "read as a Keras model"):
        # safe_mode refuses Lambda layers, which are pickled Python code.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ModelError(
                f"inputs {[image.name for image in model.inputs]} and outputs {model.output_names}; "
                "expected one image and the probabilities of the two levels"
            )
        require_square(tuple(model.inputs[0].shape), f"{path}: input {model.inputs[0].name}")
        return _freeze(model)


def _freeze(model: keras.Model) -> FrozenGraph:
    import tensorflow as tf

    image = model.inputs[0]

    @tf.function(input_signature=[tf.TensorSpec(image.shape, tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
    def answer(pixels: Any) -> Any:
        return model(pixels, training=False)

    return FrozenGraph(
        function=with_constants(answer.get_concrete_function()),
        image=image.name,
        output=model.output_names[0],
        shape=tuple(image.shape),
        parameters=model.count_params(),
    )
