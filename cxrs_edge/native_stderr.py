"""LiteRT's greeting, kept from the terminal of somebody who only wants a grade."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

GREETING = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
"""Native code writes it for the first model of a process, and its Python package has no setting for it."""
STDERR = 2


@contextmanager
def without_greeting() -> Iterator[None]:
    """What native code says on stderr inside of this comes out at its end, without LiteRT's greeting.

    For a program's start, not for a library: file descriptor 2 belongs to the whole process. Where stderr is closed
    or no temporary file can be made, everything stays as it is.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            _redirect(stack)
        yield


def _redirect(stack: ExitStack) -> None:
    heard = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    real = os.dup(STDERR)

    def put_back() -> None:
        os.dup2(real, STDERR)
        os.close(real)
        heard.seek(0)
        with suppress(OSError):
            os.write(STDERR, heard.read().replace(GREETING, b""))

    os.dup2(heard.fileno(), STDERR)
    stack.callback(put_back)
