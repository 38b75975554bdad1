"""Cutting training graphs down: by hand, and against what TensorFlow answers on graphs drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow")

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from cxrs_edge.errors import ModelError
from cxrs_export.graph_inference import inference_graph
from cxrs_export.graph_purity import ALLOWED, ARITHMETIC, require_arithmetic

v1 = tf.compat.v1


def graph_of(build: Callable[[], Any]) -> Any:
    """`GraphDef` of what `build` adds, with the older control flow."""
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            build()
        return graph.as_graph_def()
    finally:
        v1.enable_control_flow_v2()


def image() -> Any:
    return v1.placeholder(tf.float32, (None, 4), name="image")


def phase() -> Any:
    return v1.placeholder_with_default(False, (), name="keras_learning_phase")


def answer(graph: Any, output: str, value: float) -> list[float]:
    with tf.Graph().as_default(), v1.Session() as session:
        tf.graph_util.import_graph_def(graph, name="")
        return list(session.run(output, {"image:0": np.full((1, 4), value, np.float32)})[0])


def operations(graph: Any) -> set[str]:
    return {node.op for node in graph.node}


def test_the_branch_of_inference_is_left_alone() -> None:
    def build() -> None:
        x = image()
        v1.placeholder(tf.float32, (), name="target")
        y = tf.cond(phase(), lambda: x * 100.0, lambda: x + 0.5)
        tf.identity(y * 2.0, name="output")

    graph = graph_of(build)
    assert {"Switch", "Merge"} <= operations(graph)
    pruned, output = inference_graph(graph, "image", "output:0")
    assert operations(pruned) == {"Placeholder", "Const", "AddV2", "Mul", "Identity"}
    assert {node.name for node in pruned.node if node.op == "Placeholder"} == {"image"}
    assert answer(pruned, output, 1.0) == [3.0] * 4
    assert operations(graph) >= {"Switch", "Merge"}  # The caller's graph is not changed.


def test_a_default_is_taken_for_what_nobody_feeds() -> None:
    def build() -> None:
        keep = v1.placeholder_with_default(tf.constant(0.25), (), name="keep")
        tf.multiply(image(), keep, name="output")

    pruned, output = inference_graph(graph_of(build), "image:0", "output:0")
    assert answer(pruned, output, 2.0) == [0.5] * 4


def test_an_image_with_a_default_becomes_a_placeholder() -> None:
    def build() -> None:
        x = v1.placeholder_with_default(tf.zeros((1, 4)), (None, 4), name="image")
        tf.negative(x, name="output")

    pruned, output = inference_graph(graph_of(build), "image:0", "output:0")
    assert operations(pruned) == {"Placeholder", "Neg"}
    assert answer(pruned, output, 2.0) == [-2.0] * 4


def needs_labels() -> None:
    tf.multiply(image(), v1.placeholder(tf.float32, (), name="labels"), name="output")


def ignores_the_image() -> None:
    image()
    tf.constant([[0.5, 0.5]], name="output")


def looping() -> None:
    tf.identity(tf.while_loop(lambda x: tf.reduce_sum(x) < 9.0, lambda x: x * 2.0, [image()])[0], "output")


def training_only() -> None:
    switched = tf.raw_ops.Switch(data=image(), pred=phase())
    tf.identity(switched[1], name="output")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (needs_labels, "output:0: depends on labels:0 besides image:0"),
        (ignores_the_image, "output:0: does not depend on image:0"),
        (looping, "depends on itself; expected a graph without loops"),
        (training_only, "output:0: computed in training only"),
    ],
)
def test_graphs_that_are_no_function_of_the_image(build: Callable[[], None], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        inference_graph(graph_of(build), "image:0", "output:0")


def test_a_node_that_is_missing() -> None:
    graph = graph_of(lambda: tf.negative(image(), name="output"))
    graph.node[1].input[0] = "gone"
    with pytest.raises(ModelError, match="node gone: the graph refers to it but hasn't got it"):
        inference_graph(graph, "image:0", "output:0")


def test_a_condition_on_the_image_is_refused() -> None:
    def build() -> None:
        x = image()
        tf.identity(tf.cond(tf.reduce_sum(x) > 1.0, lambda: x, lambda: -x), name="output")

    pruned, _ = inference_graph(graph_of(build), "image:0", "output:0")
    with pytest.raises(ModelError, match=r"a\.meta: node cond/\S+ has the operation (Switch|Merge)"):
        require_arithmetic(pruned.node, pruned.library, "a.meta")


def test_what_is_allowed_has_no_side_effects() -> None:
    """By TensorFlow's registry; reads of variables count as stateful, calls are looked into."""
    stateful = {name for name in ALLOWED if op_def_registry.get(name).is_stateful}
    assert stateful == {"Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "StatefulPartitionedCall"}
    for name in ARITHMETIC:
        arguments = (*op_def_registry.get(name).input_arg, *op_def_registry.get(name).output_arg)
        assert tf.string.as_datatype_enum not in {argument.type for argument in arguments}


CONDITIONS = st.recursive(
    st.sampled_from(["phase", "true", "false"]),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    ),
    max_leaves=4,
)
NETWORKS = st.recursive(
    st.just("image"),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["double", "add"]), inner),
        st.tuples(CONDITIONS, inner, inner),
    ),
    max_leaves=6,
)


def build_condition(recipe: Any, phase: Any) -> Any:
    if isinstance(recipe, str):
        return {
            "phase": lambda: phase,
            "true": lambda: tf.constant(True),
            "false": lambda: tf.constant(False),
        }[recipe]()
    operation = {"not": tf.logical_not, "and": tf.logical_and, "or": tf.logical_or}[recipe[0]]
    return operation(*(build_condition(part, phase) for part in recipe[1:]))


def build_network(recipe: Any, x: Any, phase: Any) -> Any:
    if recipe == "image":
        return x
    if recipe[0] == "double":
        return build_network(recipe[1], x, phase) * 2.0
    if recipe[0] == "add":
        return build_network(recipe[1], x, phase) + 1.0
    condition, yes, no = recipe
    return tf.cond(
        build_condition(condition, phase),
        lambda: build_network(yes, x, phase) * 3.0,
        lambda: build_network(no, x, phase) - 0.25,
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(recipe=NETWORKS)
def test_answers_as_tensorflow_does(recipe: Any) -> None:
    """Conditions within conditions, on anything made of the learning phase and constants."""
    graph = graph_of(lambda: tf.identity(build_network(recipe, tf.identity(image()), phase()), name="output"))
    pruned, output = inference_graph(graph, "image:0", "output:0")
    assert not operations(pruned) & {"Switch", "Merge", "PlaceholderWithDefault"}
    assert answer(pruned, output, 1.5) == answer(graph, "output:0", 1.5)
