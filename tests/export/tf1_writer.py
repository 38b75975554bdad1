"""Writes TensorFlow 1 checkpoints like the released one: its tensor names, learning phase and batch norm.

The network is a small cousin of COVID-Net CXR-S. Nobody's weights are in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_edge.image import GrayImage
from cxrs_edge.prepare import InputSpec, prepare

v1 = tf.compat.v1
IMAGE, OUTPUT, PHASE = "input_1:0", "norm_dense_2/Softmax:0", "keras_learning_phase:0"


@dataclass(frozen=True)
class Recipe:
    """How a graph is written: by which generation of TensorFlow, and for which size.

    Attributes
    ----------
    resource_variables : ``VarHandleOp`` (since 1.11) or the older ``VariableV2``.
    functional_conditions : ``If`` with functions, or the older ``Switch`` and ``Merge``.
    phase_default : whether the learning phase has the default False, as the released scripts rely on.
    channels, repeats : widths of the stages, blocks in each.
    bias : of the first logit, so that drawn phantoms get either level.
    change : of the last feature map, to write what should be refused.
    """

    size: int = 64
    resource_variables: bool = False
    functional_conditions: bool = False
    phase_default: bool = True
    channels: tuple[int, ...] = (6,)
    repeats: tuple[int, ...] = (1,)
    classes: int = 2
    bias: float = 2.15
    change: Callable[[Any], Any] = tf.identity
    seed: int = 3


def write_checkpoint(prefix: Path, recipe: Recipe = Recipe()) -> Path:
    """Write ``PREFIX.meta``, ``.index`` and ``.data-00000-of-00001`` with `tf.compat.v1.train.Saver`."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with _control_flow(recipe.functional_conditions), tf.Graph().as_default():
        build(recipe)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.train.Saver().save(session, str(prefix))
    return prefix


class _control_flow:
    """The switch is global: put it back."""

    def __init__(self, functional: bool) -> None:
        self._functional = functional

    def __enter__(self) -> None:
        (v1.enable_control_flow_v2 if self._functional else v1.disable_control_flow_v2)()

    def __exit__(self, *_: object) -> None:
        v1.enable_control_flow_v2()


def build(recipe: Recipe) -> Any:
    """Add the network, a loss and an optimizer's step to the default graph; returns the probabilities."""
    image = v1.placeholder(tf.float32, (None, recipe.size, recipe.size, 3), name="input_1")
    if recipe.phase_default:
        phase = v1.placeholder_with_default(False, (), name="keras_learning_phase")
    else:
        phase = v1.placeholder(tf.bool, (), name="keras_learning_phase")
    made = _Layers(recipe, phase)
    x = made.conv(image, 7, recipe.channels[0], "stem", stride=2)
    x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    for stage, (channels, repeats) in enumerate(zip(recipe.channels, recipe.repeats, strict=True)):
        x = made.conv(x, 1, channels, f"long_range_{stage}", stride=2)
        for block in range(repeats):
            x += made.block(x, channels, f"block_{stage}_{block}")
    probabilities = made.head(recipe.change(made.dropout(x)))
    made.training(probabilities)
    return probabilities


class _Layers:
    def __init__(self, recipe: Recipe, phase: Any) -> None:
        self._recipe, self._phase = recipe, phase
        self._rng = np.random.default_rng(recipe.seed)

    def variable(self, name: str, shape: tuple[int, ...], mean: float, spread: float) -> Any:
        value = self._rng.normal(mean, spread, shape).astype(np.float32)
        initializer = v1.random_normal_initializer(mean, spread, seed=len(name))
        if value.size < 10_000:
            initializer = v1.constant_initializer(value)
        return v1.get_variable(
            name, shape, tf.float32, initializer, use_resource=self._recipe.resource_variables
        )

    def conv(self, x: Any, kernel: int, filters: int, name: str, stride: int = 1) -> Any:
        depth = int(x.shape[-1])
        shape = (kernel, kernel, depth, filters)
        weights = self.variable(f"{name}/kernel", shape, 0, (2 / (kernel * kernel * depth)) ** 0.5)
        return tf.nn.relu(self.batch_norm(tf.nn.conv2d(x, weights, stride, "SAME"), name))

    def block(self, x: Any, filters: int, name: str) -> Any:
        x = self.conv(x, 1, max(filters // 2, 2), f"{name}/project")
        weights = self.variable(f"{name}/depthwise", (3, 3, int(x.shape[-1]), 1), 0, 0.5)
        x = tf.nn.depthwise_conv2d(x, weights, (1, 1, 1, 1), "SAME")
        return self.conv(tf.nn.relu(self.batch_norm(x, name)), 1, filters, f"{name}/expand")

    def batch_norm(self, x: Any, name: str) -> Any:
        shape = (int(x.shape[-1]),)
        weights = [
            self.variable(f"{name}/gamma", shape, 1, 0.1),
            self.variable(f"{name}/beta", shape, 0, 0.1),
            self.variable(f"{name}/moving_mean", shape, 0, 0.1),
            tf.abs(self.variable(f"{name}/moving_variance", shape, 1, 0.1)),
        ]
        return _batch_norm(x, weights, 1e-3, self._phase)

    def dropout(self, x: Any) -> Any:
        return tf.cond(self._phase, lambda: tf.nn.dropout(x, 0.5, seed=1), lambda: tf.identity(x))

    def head(self, x: Any) -> Any:
        features = int(np.prod(x.shape[1:]))
        x = tf.reshape(x, (-1, features))
        kernel = self.variable("norm_dense_2/kernel", (features, self._recipe.classes), 0, 1)
        with tf.name_scope("norm_dense_2/"):
            normed = tf.math.l2_normalize(kernel, axis=0)
            centred = x - tf.reduce_mean(x, axis=1, keepdims=True)
            bias = [self._recipe.bias, *[0.0] * (self._recipe.classes - 1)]
            logits = 2 * tf.matmul(centred, normed, name="MatMul")
            return tf.nn.softmax(logits + bias, name="Softmax")

    def training(self, probabilities: Any) -> None:
        target = v1.placeholder(tf.float32, (None, self._recipe.classes), name="norm_dense_1_target")
        loss = -tf.reduce_mean(tf.reduce_sum(target * tf.math.log(probabilities), axis=1))
        v1.train.GradientDescentOptimizer(1e-3).minimize(loss)


def drawn_pixels(count: int = 20, size: int = 64) -> Any:
    """Drawn phantoms as the runtime prepares them, count x size x size x 3, 0..255."""
    phantoms = varied_phantoms(count, seed=4)
    drawn = (draw_phantom(replace(phantom, width=120, height=130)) for phantom in phantoms)
    images = (GrayImage(pixels=x, name="phantom", format="drawn", size=(120, 130)) for x in drawn)
    return np.concatenate([prepare(image, InputSpec(size=size)) for image in images]).astype(np.float32)


def run_graph(prefix: Path, images: Any, *, phase: bool = False, output: str = OUTPUT) -> Any:
    """What TensorFlow itself answers: float32 images as the network takes them -> probabilities."""
    with tf.Graph().as_default(), v1.Session() as session:
        saver = v1.train.import_meta_graph(f"{prefix}.meta")
        saver.restore(session, str(prefix))
        return np.concatenate([session.run(output, {IMAGE: image[None], PHASE: phase}) for image in images])


def write_as_tf1(model: Any, prefix: Path) -> Path:
    """Write a network of `cxrs_export.network` as the released one is: level 2 first, 0..1, its tensor names."""
    numbers = {layer.name: layer.get_weights() for layer in model.layers}  # no graph around them yet
    with _control_flow(False), tf.Graph().as_default():
        image = v1.placeholder(tf.float32, model.input_shape, name="input_1")
        phase = v1.placeholder_with_default(False, (), name="keras_learning_phase")
        tensors = {model.inputs[0].name: image}
        values: dict[Any, Any] = {}
        for layer in model.layers[1:]:
            given = [tensors[t._keras_history.operation.name] for t in tf.nest.flatten(layer.input)]
            tensors[layer.name] = _as_tf1(layer, given, phase, numbers[layer.name], values)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer(), values)
            v1.train.Saver().save(session, str(prefix))
    return prefix


def _as_tf1(layer: Any, given: list[Any], phase: Any, numbers: list[Any], values: dict[Any, Any]) -> Any:
    """One layer; the values of its variables are fed to their initializers, to keep them out of the graph."""

    def variable(weight: Any, value: Any) -> Any:
        start = v1.placeholder(tf.float32, value.shape, name=f"start/{layer.name}")
        values[start] = value[:, ::-1] if layer.name == "logits" else value
        return v1.get_variable(f"{layer.name}/{weight.name}", initializer=start, use_resource=False)

    x, kind = given[0], type(layer).__name__
    weights = [variable(*pair) for pair in zip(layer.weights, numbers, strict=True)]
    if kind == "Conv2D":
        return tf.nn.conv2d(x, weights[0], layer.strides, layer.padding.upper())
    if kind == "DepthwiseConv2D":
        strides = (1, *layer.strides, 1)
        return tf.nn.depthwise_conv2d(x, weights[0], strides, layer.padding.upper())
    if kind == "BatchNormalization":
        return _batch_norm(x, weights, layer.epsilon, phase)
    if kind == "Dense":
        return tf.matmul(x, weights[0], name="norm_dense_2/MatMul")
    simple = {
        "Rescaling": lambda: x,
        "Identity": lambda: x,
        "ReLU": lambda: tf.nn.relu(x),
        "MaxPooling2D": lambda: tf.nn.max_pool2d(x, 2, 2, "VALID"),
        "Add": lambda: tf.add_n(given),
        "Flatten": lambda: tf.reshape(x, (-1, int(np.prod(x.shape[1:])))),
        "Softmax": lambda: tf.nn.softmax(x, name="norm_dense_2/Softmax"),
    }
    return simple[kind]()


def _batch_norm(x: Any, weights: list[Any], epsilon: float, phase: Any) -> Any:
    """As Keras builds it: two branches, by the learning phase."""
    gamma, beta, mean, variance = weights

    def training() -> Any:
        return v1.nn.fused_batch_norm(x, gamma, beta, epsilon=epsilon, is_training=True)[0]

    def inference() -> Any:
        return v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon, is_training=False)[0]

    return tf.cond(phase, training, inference)
