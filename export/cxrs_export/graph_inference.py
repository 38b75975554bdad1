"""A TensorFlow 1 training graph -> the part of it that answers in inference.

Works on the `GraphDef` and runs none of it: the learning phase becomes the constant False, the branches of
`tf.cond` that are then dead disappear, and so does whatever the output doesn't depend on (losses, gradients, the
saver).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from cxrs_edge.errors import ModelError

LEARNING_PHASE = "keras_learning_phase"
PLACEHOLDERS = ("Placeholder", "PlaceholderWithDefault")
IDENTITIES = ("Identity", "RefIdentity")
LOGIC: Mapping[str, Callable[..., bool]] = {
    **dict.fromkeys(IDENTITIES, bool),
    "LogicalNot": lambda value: not value,
    "LogicalAnd": lambda left, right: left and right,
    "LogicalOr": lambda left, right: left or right,
}
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
BRANCHES = {"If": "StatefulPartitionedCall", "StatelessIf": "PartitionedCall"}


def tensor_key(name: str) -> str:
    """``conv`` and ``conv:0`` are the same tensor: the second spelling."""
    return name if ":" in name else f"{name}:0"


def node_name(tensor: str) -> str:
    """Name of the node that makes a tensor (``conv:0``) or that a control input (``^conv``) waits for."""
    return tensor.removeprefix("^").split(":")[0]


def inference_graph(graph: Any, image: str, output: str) -> tuple[Any, str]:
    """Cut `graph` down to what `output` computes from `image` in inference.

    Parameters
    ----------
    graph : `tf.compat.v1.GraphDef`; not changed.
    image, output : names of tensors, such as ``input_1:0``; both exist in it.

    Returns
    -------
    A new `GraphDef` whose placeholder `image` is the only one, and the name of its output tensor.
    Raises `ModelError` when the output needs another placeholder, training, or a loop.
    """
    image, output = tensor_key(image), tensor_key(output)
    nodes = {node.name: node for node in graph.node}
    folding = _Folding(node_name(image))
    for node in nodes_behind(nodes, node_name(output), stop=node_name(image)):
        folding.visit(node)
    made = folding.tensor(output)
    if made is None:
        raise ModelError(f"tensor {output}: computed in training only, when {LEARNING_PHASE} is true")
    pruned = _prune(graph, folding.nodes, node_name(made))
    _check_placeholders(pruned, image, output)
    return pruned, made


class _Folding:
    """Visits nodes after their inputs; `nodes` are those that are left.

    A tensor is dead, as in the executor of TensorFlow, when it belongs to the branch that isn't taken.
    """

    def __init__(self, image: str) -> None:
        self.nodes: dict[str, Any] = {}
        self._image = image
        self._alias: dict[str, str] = {}
        self._known: dict[str, bool] = {}
        self._dead: set[str] = set()

    def tensor(self, name: str) -> str | None:
        """What stands for the tensor now, None when it is dead."""
        key = self._alias.get(tensor_key(name), tensor_key(name))
        return None if key in self._dead or node_name(key) in self._dead else key

    def visit(self, node: Any) -> None:
        data = [self.tensor(name) for name in node.input if not name.startswith("^")]
        waits = [node_name(name) for name in node.input if name.startswith("^")]
        if node.name == self._image:
            self._keep(node, [])
        elif node.op in ("Merge", "RefMerge"):
            self._merge(node, data)
        elif any(name in self._dead for name in waits) or None in data:
            self._dead.add(node.name)
        else:
            self._visit_live(node, [name for name in data if name is not None])

    def _visit_live(self, node: Any, data: list[str]) -> None:
        if node.name.split("/")[-1] == LEARNING_PHASE and node.op in PLACEHOLDERS:
            self._known[f"{node.name}:0"] = False
            self.nodes[node.name] = _false(node)
        elif node.op == "PlaceholderWithDefault":
            self._alias[f"{node.name}:0"] = data[0]
        elif node.op in ("Switch", "RefSwitch") and data[1] in self._known:
            self._switch(node, data[0], self._known[data[1]])
        elif node.op in BRANCHES and data[0] in self._known:
            self._call(node, _call_of_branch(node, self._known[data[0]]), data[1:])
        else:
            self._keep(node, data)
            self._evaluate(node, data)

    def _switch(self, node: Any, data: str, taken: bool) -> None:
        for output in (0, 1):
            if output == taken:
                self._alias[f"{node.name}:{output}"] = data
            else:
                self._dead.add(f"{node.name}:{output}")

    def _call(self, node: Any, call: Any, data: list[str]) -> None:
        for output in range(len(call.attr["Tout"].list.type)):
            self._alias[f"{node.name}:{output}"] = f"{call.name}:{output}"
        self._keep(call, data)

    def _merge(self, node: Any, data: list[str | None]) -> None:
        alive = [name for name in data if name is not None]
        if not alive:
            self._dead.add(node.name)
        elif len(alive) == 1:
            self._alias[f"{node.name}:0"] = alive[0]
        else:
            self._keep(node, alive)

    def _evaluate(self, node: Any, data: list[str]) -> None:
        """Remember what is known of a bool, so that conditions on it can be folded."""
        if node.op == "Const":
            value = _scalar_bool(node)
            if value is not None:
                self._known[f"{node.name}:0"] = value
        elif node.op in LOGIC and all(name in self._known for name in data):
            self._known[f"{node.name}:0"] = LOGIC[node.op](*(self._known[name] for name in data))

    def _keep(self, node: Any, inputs: list[str]) -> None:
        """Keep a copy without what binds it to dropped nodes: control inputs, devices, colocation."""
        kept = type(node)()
        kept.CopyFrom(node)
        # In a pure graph control inputs only order side effects, and there are none left (see graph_purity).
        kept.input[:] = inputs
        kept.device = ""
        for name in [name for name in kept.attr if name.startswith("_")]:
            del kept.attr[name]
        if node.name == self._image:
            kept.op = "Placeholder"
        self.nodes[node.name] = kept


def nodes_behind(nodes: Mapping[str, Any], last: str, *, stop: str = "") -> Iterator[Any]:
    """Nodes that `last` depends on, and itself, each after its inputs; none of those that `stop` depends on."""
    done, open_ = set(), {last}
    stack = [(last, _inputs(nodes, last, stop))]
    while stack:
        name, inputs = stack[-1]
        following = next((other for other in inputs if other not in done), None)
        if following is None:
            stack.pop()
            open_.discard(name)
            done.add(name)
            yield nodes[name]
        elif following in open_:
            raise ModelError(f"node {following}: depends on itself; expected a graph without loops")
        else:
            open_.add(following)
            stack.append((following, _inputs(nodes, following, stop)))


def _inputs(nodes: Mapping[str, Any], name: str, stop: str) -> Iterator[str]:
    if name not in nodes:
        raise ModelError(f"node {name}: the graph refers to it but hasn't got it; the file is damaged")
    return iter([] if name == stop else [node_name(other) for other in nodes[name].input])


def called_functions(nodes: Iterable[Any], library: Any) -> list[Any]:
    """The `FunctionDef`s that nodes call, also from inside of each other.

    Raises `ModelError` for one that is missing, or that calls itself: TensorFlow would recurse until it crashes.
    """
    functions = {function.signature.name: function for function in library.function}
    calls: dict[str, set[str]] = {}
    waiting = list(_called_names(nodes))
    while waiting:
        name = waiting.pop()
        if name not in functions:
            raise ModelError(f"function {name!r}: called, but the file hasn't got it")
        if name not in calls:
            calls[name] = set(_called_names(functions[name].node_def))
            waiting.extend(calls[name])
    try:
        ordered = list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        raise ModelError(
            f"functions {', '.join(error.args[1])}: call themselves; expected none to"
        ) from error
    return [functions[name] for name in ordered]


def _called_names(nodes: Iterable[Any]) -> Iterator[str]:
    return (node.attr["f"].func.name for node in nodes if node.op in CALLS)


def _prune(graph: Any, nodes: Mapping[str, Any], output: str) -> Any:
    pruned = type(graph)(versions=graph.versions)
    pruned.node.extend(nodes_behind(nodes, output))
    pruned.library.function.extend(called_functions(pruned.node, graph.library))
    _check_call_names(pruned, graph)
    return pruned


def _check_call_names(pruned: Any, graph: Any) -> None:
    """Inlining a call makes nodes named ``call/node``; TensorFlow aborts the process when one exists already."""
    ours = {node.name for node in pruned.node}
    for call in (node.name for node in pruned.node if node.op in CALLS):
        taken = [name for name in ours if name.startswith(f"{call}/")]
        if taken or any(node.name == call and node.op not in CALLS for node in graph.node):
            raise ModelError(f"node {call}: its name is also the beginning of others; expected unique names")


def _check_placeholders(graph: Any, image: str, output: str) -> None:
    names = [node.name for node in graph.node if node.op in PLACEHOLDERS]
    if node_name(image) not in names:
        raise ModelError(f"tensor {output}: does not depend on {image}; name the image with --input")
    others = [f"{name}:0" for name in names if name != node_name(image)]
    if others:
        raise ModelError(
            f"tensor {output}: depends on {', '.join(others)} besides {image}; "
            f"expected no placeholder but the image and {LEARNING_PHASE}"
        )


def _false(node: Any) -> Any:
    import tensorflow as tf

    constant = type(node)(name=node.name, op="Const")
    constant.attr["dtype"].type = node.attr["dtype"].type
    zero = np.zeros((), tf.dtypes.as_dtype(node.attr["dtype"].type).as_numpy_dtype)
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(zero))
    return constant


def _call_of_branch(node: Any, taken: bool) -> Any:
    """A call of the taken branch's function in place of an ``If``.

    It gets a name of its own: `tf.cond` has nodes named ``if/node`` that those of the function would clash with.
    """
    call = type(node)(name=f"{node.name}/taken", op=BRANCHES[node.op])
    for name in ("Tin", "Tout"):
        call.attr[name].CopyFrom(node.attr[name])
    call.attr["f"].CopyFrom(node.attr["then_branch" if taken else "else_branch"])
    return call


def _scalar_bool(node: Any) -> bool | None:
    import tensorflow as tf

    tensor = node.attr["value"].tensor
    if tensor.dtype != tf.bool.as_datatype_enum or tensor.tensor_shape.dim:
        return None
    return bool(tf.make_ndarray(tensor))
