"""Check an engine in a process of its own: one that this CPU can't run kills only that.

A wheel built for a newer CPU ends in an illegal instruction, which no `except` catches.
"""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from cxrs_edge.engines.registry import EngineEntry, choose_engine
from cxrs_edge.errors import CxrsError, EngineError
from cxrs_edge.golden import Golden, read_golden
from cxrs_edge.selftest import EngineCheck, check_engine, unanswered


def check_engine_apart(golden: Golden, entry: EngineEntry, threads: int | None = None) -> EngineCheck:
    """As `cxrs_edge.selftest.check_engine`; a process that dies is a check with an error."""
    # Spawned, not forked: the engine must start as it does in any program.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, golden.models, entry.name, threads)
    process = context.Process(target=_send_check, args=arguments, daemon=True)
    process.start()
    sender.close()
    try:
        result: EngineCheck | CxrsError = receiver.recv()
    except EOFError:
        process.join()
        died = EngineError(f"{entry.name}: {_end(process.exitcode)} while it inferred")
        return replace(unanswered(golden, entry, threads), error=died)
    process.join()
    if isinstance(result, CxrsError):
        raise result
    return result


def _send_check(sender: Connection, models: Path, name: str, threads: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent tells of Ctrl-C
    try:
        sender.send(check_engine(read_golden(models), choose_engine(name), threads))
    except CxrsError as error:
        sender.send(error)


def _end(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"this CPU or system ended it with {signal.Signals(-exit_code).name}"
    return f"its process ended with status {exit_code}"
