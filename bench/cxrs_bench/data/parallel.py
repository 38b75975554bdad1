"""One function over many items on all cores: results in order, progress, nothing begun after an interrupt."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from cxrs_bench.progress import Report
from cxrs_edge.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

FEW = 16
"""Fewer items are done sooner than processes are started."""


def map_in_processes(
    function: Callable[[T], R], items: Sequence[T], what: str, report: Report, workers: int | None = None
) -> Iterator[R]:
    """Yield function(item) for each item, in order.

    Parameters
    ----------
    function : of a module, so that it can be sent to another process; what it raises is raised here.
    what, report : name of the work, and what is told how far it is.
    workers : processes; by default one a core, and none for a few items.

    Raises
    ------
    DataError : a process was killed, mostly for want of memory.
    """
    if workers is None:
        workers = (os.cpu_count() or 1) if len(items) >= FEW else 1
    if workers == 1:
        yield from _counted(map(function, items), len(items), what, report)
        return
    # Forking would copy the locks of threads, such as that of a progress bar, that are no more there.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        # A terminal's Ctrl-C reaches every process. One that it ends amid the queue's lock would hang the others:
        # this process alone ends the work, after the items that were begun.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    with _one_interrupt():
        try:
            yield from _counted(pool.map(function, items), len(items), what, report)
        except BrokenProcessPool as error:
            raise DataError(
                f"{what}: a process was killed, maybe for want of memory; use fewer workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Let the first Ctrl-C raise and ignore more: one amid the first one's cancelling would leave a lock behind."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return

    def first(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _counted(results: Iterator[R], total: int, what: str, report: Report) -> Iterator[R]:
    report(what, 0, total)
    for done, result in enumerate(results, 1):
        report(what, done, total)
        yield result
