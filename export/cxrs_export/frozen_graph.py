"""A vetted TensorFlow graph with the numbers of its checkpoint in it: a function from images to probabilities."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrs_edge.errors import ModelError
from cxrs_export.graph_inference import PLACEHOLDERS, inference_graph, node_name, tensor_key
from cxrs_export.graph_purity import VARIABLES, require_arithmetic

Shape = tuple[int | None, ...]
MAX_GRAPH_BYTES = 1_000_000_000
"""Graphs without their numbers are a few MB; protobuf itself ends at 2 GB."""


@dataclass(frozen=True)
class FrozenGraph:
    """A network without Keras layers.

    Attributes
    ----------
    function : float32 images, 1 x H x W x C as the network takes them, -> probabilities, 1 x 2.
    image, output : names of the tensors in the graph that it came from.
    shape : of the image, (batch, H, W, C); None where it takes any.
    parameters : how many numbers its variables hold.
    """

    function: Callable[[Any], Any]
    image: str
    output: str
    shape: Shape
    parameters: int


def freeze_graph(graph: Any, image: str, output: str, checkpoint: Path, subject: Path) -> FrozenGraph:
    """Put the checkpoint's numbers into the part of a `GraphDef` that computes `output` from `image`.

    Neither the graph's own saver nor any initializer is run. Raises `ModelError` naming the tensor, operation or
    variable that isn't as expected; `subject` is the file that the graph is from.
    """
    image, output = tensor_key(image), tensor_key(output)
    nodes = {node.name: node for node in graph.node}
    _check_image(nodes, image, subject)
    _check_output(nodes, output, subject)
    shape = _shape(nodes[node_name(image)])
    require_square(shape, f"{subject}: input {image}")
    with model_errors(subject, "read as a graph"):
        pruned, made = inference_graph(graph, image, output)
        require_arithmetic(pruned.node, pruned.library, str(subject))
    values = _read_variables(pruned, checkpoint)
    with model_errors(subject, "frozen"):
        function = _as_function(pruned, image, made, values, shape)
    return FrozenGraph(
        function=function,
        image=image,
        output=output,
        shape=shape,
        parameters=sum(int(value.size) for value in values.values()),
    )


def require_square(shape: Shape, subject: str) -> None:
    """Raise `ModelError` unless the shape is that of a square image, channels last, of a fixed size."""
    if len(shape) == 4 and shape[1] in (1, 3) and shape[2] == shape[3] != shape[1]:
        raise ModelError(
            f"{subject}: {shape}, channels first; expected channels last, (None, H, W, channels)"
        )
    square = len(shape) == 4 and shape[1] is not None and shape[1] == shape[2]
    if not square or shape[0] not in (None, 1) or shape[3] not in (1, 3):
        raise ModelError(f"{subject}: {shape}; expected one square image, (None, size, size, 1 or 3)")


def parse_graph_file(path: Path, message: Any) -> Any:
    """Parse a protobuf file into an empty `message`, which is returned; raises `ModelError`."""
    with model_errors(path, "read as a TensorFlow graph"):
        size = path.stat().st_size
        if size > MAX_GRAPH_BYTES:
            raise ModelError(
                f"{size / 1e9:.1f} GB; expected a graph of at most {MAX_GRAPH_BYTES / 1e9:.0f} GB"
            )
        message.ParseFromString(path.read_bytes())
    return message


@contextmanager
def model_errors(subject: Path, doing: str) -> Iterator[None]:
    """Turn whatever TensorFlow raises on hostile bytes into `ModelError`, with its cause."""
    try:
        yield
    except ModelError as error:
        message = str(error)
        raise error if message.startswith(str(subject)) else ModelError(f"{subject}: {message}") from error
    except Exception as error:  # TensorFlow raises classes of its own, TypeError, ValueError, ...
        reason = " ".join((str(error) or type(error).__name__).split())[:300]
        raise ModelError(f"{subject}: can't be {doing}: {reason}") from error


def _check_image(nodes: Mapping[str, Any], image: str, subject: Path) -> None:
    found = nodes.get(node_name(image))
    if found is not None and found.op in PLACEHOLDERS and image.endswith(":0"):
        return
    kind = "no such tensor" if found is None else f"made by {found.op}, expected a placeholder"
    candidates = [f"{node.name}:0 {_shape(node)}" for node in nodes.values() if node.op in PLACEHOLDERS]
    raise ModelError(f"{subject}: input {image}: {kind}; the graph's placeholders: {_listed(candidates)}")


def _check_output(nodes: Mapping[str, Any], output: str, subject: Path) -> None:
    found = nodes.get(node_name(output))
    if found is not None and found.op == "Softmax":
        return
    kind = "no such tensor" if found is None else f"made by {found.op}, expected probabilities from Softmax"
    candidates = [f"{node.name}:0" for node in nodes.values() if node.op == "Softmax"]
    raise ModelError(f"{subject}: output {output}: {kind}; the graph's softmaxes: {_listed(candidates)}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:10]) or "none"
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _shape(node: Any) -> Shape:
    shape = node.attr["shape"].shape
    return tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)


def _read_variables(graph: Any, checkpoint: Path) -> dict[str, Any]:
    """Value of each variable of the graph, by the name of its node."""
    import tensorflow as tf

    variables = [node for node in graph.node if node.op in VARIABLES]
    values: dict[str, Any] = {}
    if not variables:
        return values
    with model_errors(checkpoint, "read as a checkpoint"):
        reader = tf.train.load_checkpoint(str(checkpoint))
        shapes = reader.get_variable_to_shape_map()
        for node in variables:
            values[node.name] = reader.get_tensor(_checkpoint_name(node, shapes))
            _check_variable(node, values[node.name].shape)
    return values


def _checkpoint_name(node: Any, shapes: Mapping[str, Any]) -> str:
    names: list[str] = [node.name, node.attr["shared_name"].s.decode()]
    for name in names:
        if name in shapes:
            return name
    close = difflib.get_close_matches(node.name, list(shapes), n=3) or sorted(shapes)[:3]
    raise ModelError(
        f"has no variable {node.name}, which the graph needs, among its {len(shapes)}; "
        f"the closest: {', '.join(close) or 'none'}; is it the checkpoint of this graph?"
    )


def _check_variable(node: Any, shape: tuple[int, ...]) -> None:
    expected = _shape(node)
    fits = len(expected) == len(shape) and all(
        want in (None, got) for want, got in zip(expected, shape, strict=True)
    )
    if not fits and not node.attr["shape"].shape.unknown_rank:
        raise ModelError(f"variable {node.name} is {shape}; the graph expects {expected}")


def _as_function(
    graph: Any, image: str, output: str, values: Mapping[str, Any], shape: Shape
) -> Callable[[Any], Any]:
    import tensorflow as tf

    variables = {name: tf.Variable(value, trainable=False) for name, value in values.items()}
    resources = {node.name for node in graph.node if node.op == "VarHandleOp"}
    body = type(graph)(versions=graph.versions, library=graph.library)
    body.node.extend(node for node in graph.node if node.name not in {*variables, node_name(image)})
    signature = [tf.TensorSpec(shape, tf.float32, name="image")]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def answer(pixels: Any) -> Any:
        given = {image: pixels}
        for name, variable in variables.items():
            value = variable.read_value()  # Also tells the function of the variable, for freezing.
            given[f"{name}:0"] = tf.identity(variable.handle) if name in resources else value
        return tf.graph_util.import_graph_def(body, input_map=given, return_elements=[output], name="")[0]

    return with_constants(answer.get_concrete_function())


def with_constants(function: Any) -> Callable[[Any], Any]:
    """A `ConcreteFunction` of one image with its variables turned into constants and its calls inlined."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function)

    def answer(pixels: Any) -> Any:
        outputs = frozen(pixels)
        return outputs[0] if isinstance(outputs, list | tuple) else outputs

    return answer


def parameters_of(function: Any) -> int:
    """How many numbers the variables of a `ConcreteFunction` hold."""
    return sum(math.prod(variable.shape) for variable in function.variables)
