"""The inputs of the commands that grade, in order, and what becomes of one that fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from cxrs_edge.ahead import ahead
from cxrs_edge.errors import CxrsError, ImageError
from cxrs_edge.grade import Failure
from cxrs_edge.image import MAX_BYTES
from cxrs_edge.intake import Intake, Prepared

R = TypeVar("R")

STDIN = "-"


@contextmanager
def prepared_inputs(
    intake: Intake, inputs: Sequence[str | Failure]
) -> Iterator[Iterator[Prepared | Failure]]:
    """Each input as the model takes it, in order: the first begun at once, the next while the engine works.

    Not to be entered before the engine is imported: OpenVINO's import walks through all that Python has loaded, and
    fails if another thread imports a decoder meanwhile.
    With standard input among them all are prepared when it is their turn: in another thread, a read that waits for
    its writer couldn't be interrupted.
    """

    def take(source: str | bytes, name: str) -> Prepared:
        return intake.prepare(source, name=name)

    def prepare(item: str | Failure) -> Prepared | Failure:
        return item if isinstance(item, Failure) else attempt_path(take, item)

    if STDIN in inputs:
        yield map(prepare, inputs)
    else:
        with ahead(prepare, inputs) as prepared:
            yield prepared


def attempt(function: Callable[[], R], *, name: str) -> R | Failure:
    """What the function returns, or the failure that the input called `name` is."""
    try:
        return function()
    except CxrsError as error:
        return Failure.of(name, error)


def attempt_path(function: Callable[[str | bytes, str], R], path: str) -> R | Failure:
    """The same for a function of an image, as a path or as bytes from standard input, and its name."""
    name = "stdin" if path == STDIN else path
    return attempt(lambda: function(_read_stdin() if path == STDIN else path, name), name=name)


def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise ImageError("stdin: closed; expected an image; write: cxrs-edge predict - < scan.png")
    # One more byte than is allowed, so that decoding finds it too large.
    return sys.stdin.buffer.read(MAX_BYTES + 1)
