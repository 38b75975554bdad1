"""What the commands that grade have in common: their options, and how a grader is opened and told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cxrs_edge.engines.registry import ENGINES, choose_engine, open_engine
from cxrs_edge.engines.threads import MAX_THREADS

if TYPE_CHECKING:
    from cxrs_edge.grader import Grader
    from cxrs_edge.model_file import ModelFile

OPENVINO_CONVERTER = "openvino.tools.ovc"
"""Converts models of other frameworks. OpenVINO imports it, and copes where it isn't there."""
ANY_PATH = click.Path(readable=False)
"""What can't be read is told of by who reads it: one bad file must not stop the others."""

model_option = click.option(
    "--model",
    metavar="FILE",
    type=ANY_PATH,
    help="A .tflite or .onnx file written by `cxrs-edge export`, instead of the bundled model.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", *(entry.name for entry in ENGINES)]),
    default="auto",
    show_default=True,
    help="What runs the model; auto is the installed one that is the fastest on this CPU.",
)
threads_option = click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1, MAX_THREADS),
    help="Threads to compute with; by default one for each physical core.",
)


def read_model(model: str | None, engine: str) -> ModelFile:
    """The file that the options name, by default the bundled one that the engine runs."""
    from cxrs_edge.grader import bundled_path
    from cxrs_edge.model_file import read_model_file

    return read_model_file(model or bundled_path(choose_engine(engine).kind))


def open_grader(model: str | None, engine: str, threads: int | None, *, gated: bool = True) -> Grader:
    """The grader that the options name; raises as `Grader.open`.

    For a command that does nothing but grade: OpenVINO is left without `openvino.convert_model` in this process.
    """
    from cxrs_edge.extras import without_modules
    from cxrs_edge.grader import Grader
    from cxrs_edge.native_stderr import without_greeting

    with without_greeting(), without_modules(OPENVINO_CONVERTER):
        file = read_model(model, engine)
        return Grader(file.card, open_engine(file, engine, threads), gated=gated)


def description(grader: Grader) -> str:
    """One line: which model, on what."""
    model, engine = grader.model_info, grader.engine_info
    threads = f"{engine.threads} thread{'s' if engine.threads > 1 else ''}"
    return f"{model.name} {model.version} {model.precision} on {engine.name} {engine.version}, {threads}"
