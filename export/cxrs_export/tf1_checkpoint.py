"""A TensorFlow 1 checkpoint: ``PREFIX.meta`` (the graph), ``PREFIX.index`` and ``PREFIX.data-*`` (the numbers)."""

from __future__ import annotations

from pathlib import Path

from cxrs_edge.errors import ModelError
from cxrs_edge.extras import import_extra
from cxrs_export.frozen_graph import FrozenGraph, freeze_graph, parse_graph_file


def read_checkpoint(prefix: Path, image: str, output: str) -> FrozenGraph:
    """Freeze what computes the tensor `output` from the placeholder `image`; raises `ModelError`."""
    tf = import_extra("tensorflow", "export")
    meta, *_ = checkpoint_files(prefix)
    graph = parse_graph_file(meta, tf.compat.v1.MetaGraphDef()).graph_def
    if not graph.node:
        raise ModelError(f"{meta}: holds no graph; expected what tf.train.Saver writes")
    return freeze_graph(graph, image, output, prefix, meta)


def checkpoint_files(prefix: Path) -> list[Path]:
    """The files of a checkpoint, the meta graph first; raises `ModelError` naming those that are missing."""
    meta, index = (prefix.with_name(prefix.name + suffix) for suffix in (".meta", ".index"))
    folder = prefix.parent
    beside = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    data = [path for path in beside if path.name.startswith(f"{prefix.name}.data-")]
    missing = [path.name for path in (meta, index) if path not in beside]
    if not data:
        missing.append(f"{prefix.name}.data-00000-of-00001")
    if missing:
        there = ", ".join(path.name for path in beside[:10]) or "no file"
        raise ModelError(
            f"{prefix}: {', '.join(missing)} missing; the folder has {there}; "
            "name the files' common beginning, for example --checkpoint COVIDNet-CXR-S/model"
        )
    return [meta, index, *data]
