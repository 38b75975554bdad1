"""What every engine checks: the graph against the card, the pixels against the card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from cxrs_edge.errors import CxrsError, EngineError, ModelError
from cxrs_edge.model_file import ModelFile
from cxrs_edge.outputs import output_specs
from cxrs_edge.prepare import InputSpec, Pixels

Shape = tuple[int | None, ...]
"""Sizes of a tensor; None where the graph takes any."""


def check_graph(file: ModelFile, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> None:
    """Raise `ModelError` naming the first field of the card that the graph disagrees with."""
    if len(inputs) != 1:
        raise _wrong(file, "input", "one image", f"has {len(inputs)} inputs")
    _check_input(file, *inputs.values())
    for name in file.card.outputs:
        if name not in outputs:
            raise _wrong(file, "outputs", name, f"has the outputs {', '.join(outputs) or 'none'}")
    for name, spec in output_specs(file.card.input.size).items():
        if name in file.card.outputs and not _fits(outputs[name], spec.shape):
            raise _wrong(file, f"outputs.{name}", _shown(spec.shape), f"gives {_shown(outputs[name])}")


def _check_input(file: ModelFile, shape: Shape) -> None:
    spec = file.card.input
    takes = f"takes {_shown(shape)}"
    if not _fits(shape[:3], (1, spec.size, spec.size)):
        raise _wrong(file, "input.size", str(spec.size), takes)
    if not _fits(shape[3:], (spec.channels,)):
        raise _wrong(file, "input.channels", str(spec.channels), takes)


def check_pixels(pixels: Pixels, spec: InputSpec) -> None:
    """Raise `EngineError` for what isn't uint8, 1 x size x size x channels."""
    expected = (1, spec.size, spec.size, spec.channels)
    if pixels.dtype != np.uint8 or pixels.shape != expected:
        raise EngineError(
            f"pixels: got {pixels.dtype}, {_shown(pixels.shape)}; expected uint8, {_shown(expected)}; "
            "make them with cxrs_edge.prepare"
        )


@contextmanager
def engine_errors(subject: str, doing: str) -> Iterator[None]:
    """Turn whatever an engine raises into `EngineError`, with its cause."""
    try:
        yield
    except CxrsError:
        raise
    except Exception as error:  # Engines raise RuntimeError, ValueError and classes of their own.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EngineError(f"{subject}: can't be {doing}: {reason}") from error


def _fits(shape: Shape, expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        size in (None, wanted) for size, wanted in zip(shape, expected, strict=True)
    )


def _wrong(file: ModelFile, field: str, got: str, graph: str) -> ModelError:
    return ModelError(
        f"{file.path}: card field {field}: got {got}, but the graph {graph}; export the model again"
    )


def _shown(shape: Shape) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape) or "a single number"
