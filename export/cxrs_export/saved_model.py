"""A SavedModel folder, of TensorFlow 1 or 2: ``saved_model.pb`` and ``variables/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxrs_edge.errors import ModelError
from cxrs_edge.extras import import_extra
from cxrs_export.frozen_graph import (
    FrozenGraph,
    freeze_graph,
    model_errors,
    parameters_of,
    parse_graph_file,
    require_square,
    with_constants,
)
from cxrs_export.graph_inference import node_name, nodes_behind
from cxrs_export.graph_purity import require_arithmetic

SIGNATURE = "serving_default"
INITIALIZED = ("asset", "resource")
"""Objects whose initializers TensorFlow runs while it loads: no network of images needs any."""


def read_saved_model(folder: Path) -> FrozenGraph:
    """Freeze the signature ``serving_default``, or the only one; raises `ModelError`."""
    tf = import_extra("tensorflow", "export")
    path = folder / "saved_model.pb"
    meta = _meta_graph(path)
    name, image, output = _signature(meta, path)
    if not meta.object_graph_def.nodes:  # TensorFlow 1
        variables = folder / "variables" / "variables"
        return freeze_graph(meta.graph_def, image.name, output.name, variables, path)
    _require_harmless(meta, output.name, path)
    shape = tuple(None if dim.size < 0 else int(dim.size) for dim in image.tensor_shape.dim)
    require_square(shape, f"{path}: input {image.name}")
    with model_errors(path, "loaded"):
        loaded = tf.saved_model.load(
            str(folder)
        )  # Its functions hold their variables by weak references only.
        function = loaded.signatures[name]
        return FrozenGraph(
            function=with_constants(function),
            image=image.name,
            output=output.name,
            shape=shape,
            parameters=parameters_of(function),
        )


def _meta_graph(path: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    if not path.is_file():
        raise ModelError(f"{path.parent}: no saved_model.pb in it; expected a SavedModel folder")
    graphs = parse_graph_file(path, saved_model_pb2.SavedModel()).meta_graphs
    found = [graph for graph in graphs if "serve" in graph.meta_info_def.tags]
    if len(found) != 1:
        tags = [list(graph.meta_info_def.tags) for graph in graphs]
        raise ModelError(f"{path}: graphs with the tags {tags}; expected one with the tag 'serve'")
    return found[0]


def _signature(meta: Any, path: Path) -> tuple[str, Any, Any]:
    """Name of the signature and its two tensors, as `TensorInfo`."""
    signatures = {name: value for name, value in meta.signature_def.items() if value.outputs}
    name = SIGNATURE if SIGNATURE in signatures else next(iter(signatures), "")
    if not signatures or (len(signatures) > 1 and name != SIGNATURE):
        raise ModelError(f"{path}: signatures {sorted(signatures)}; expected {SIGNATURE!r} or a single one")
    inputs, outputs = signatures[name].inputs, signatures[name].outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{path}: signature {name} has the inputs {sorted(inputs)} and outputs {sorted(outputs)}; "
            "expected one image and the probabilities of the two levels"
        )
    return name, next(iter(inputs.values())), next(iter(outputs.values()))


def _require_harmless(meta: Any, output: str, path: Path) -> None:
    nodes = {node.name: node for node in meta.graph_def.node}
    with model_errors(path, "read as a graph"):
        behind = nodes_behind(nodes, node_name(output))
        require_arithmetic(behind, meta.graph_def.library, str(path))
    kinds = {node.WhichOneof("kind") for node in meta.object_graph_def.nodes}
    found = sorted(kinds & set(INITIALIZED))
    if found:
        raise ModelError(
            f"{path}: holds objects of the kind {', '.join(found)}, whose initializers run while it loads; "
            "expected variables and functions only"
        )
