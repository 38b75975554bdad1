"""Call a function in a fresh process: an engine that crashes or hangs takes only that with it.

A profiler that is reached by its C interface can end the process where Python would raise; and an engine keeps its
threads and its memory to the end of its process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from cxrs_edge.errors import CxrsError, EngineError

T = TypeVar("T")
SECONDS = 600.0
"""Longer than any probe takes on a Raspberry Pi."""


def call_apart(function: Callable[..., T], *arguments: Any, seconds: float = SECONDS) -> T:
    """`function(*arguments)` of a spawned process, silent; both must be picklable.

    Raises what the function raises if that is a `CxrsError`, and `EngineError` when it raised anything else, when
    the process died, or took longer than `seconds`.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise EngineError(f"no answer within {seconds:g} s; its process was ended")
        good, answer = receiver.recv()
    except EOFError:
        process.join()
        raise EngineError(f"its process ended with {_end(process.exitcode)}") from None
    finally:
        process.kill()
        process.join()
        receiver.close()
    if not good:
        raise answer
    result: T = answer
    return result


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells of Ctrl-C, and ends this
    # Engines greet and warn from native code.
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    try:
        answer = (True, function(*arguments))
    except CxrsError as error:
        answer = (False, error)
    except Exception as error:  # Engines raise RuntimeError, ValueError and classes of their own.
        reason = " ".join(str(error).split()) or type(error).__name__
        answer = (False, EngineError(f"{type(error).__name__}: {reason}"))
    sender.send(answer)


def _end(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"status {exit_code}"
