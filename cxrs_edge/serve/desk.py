"""One engine, and a bounded number of requests that wait for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from fastapi import Request

from cxrs_edge.image import MAX_BYTES
from cxrs_edge.serve.refusal import Refusal, closing

T = TypeVar("T")

PLACES = 16
MAX_HELD_BYTES = 2 * MAX_BYTES
"""Of all uploads together that arrive, wait or are graded."""


class Desk:
    """Lets one piece of work run at a time, in the order of arrival, on a thread of its own.

    Parameters
    ----------
    places : how many requests that have arrived as a whole may be here, until their answer.
    """

    def __init__(self, places: int = PLACES) -> None:
        self._places = places
        self._taken = 0
        self._held_bytes = 0
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "engine")
        self._last_seconds = 1.0
        self.closing = False

    @contextmanager
    def memory(self, size: int) -> Iterator[None]:
        """Room for a request of `size` bytes, from its head to its answer; raises `Refusal` if there is none.

        An upload that is still arriving takes no place, so slow ones don't keep others from the engine; but none
        begins that would find no place now.
        """
        if self.closing:
            raise closing()
        if self._taken >= self._places or self._held_bytes + size > MAX_HELD_BYTES:
            raise self._busy()
        self._held_bytes += size
        try:
            yield
        finally:
            self._held_bytes -= size

    async def run(self, work: Callable[[], T], request: Request) -> T:
        """Wait for the engine and run `work`; raises what it raises, or `Refusal` if it is no use any more."""
        if self._taken >= self._places:
            raise self._busy()
        self._taken += 1
        try:
            return await self._run_in_turn(work, request)
        finally:
            self._taken -= 1

    async def _run_in_turn(self, work: Callable[[], T], request: Request) -> T:
        async with self._turn:
            if self.closing:
                raise closing()
            if await request.is_disconnected():
                raise Refusal(499, "gone", "the client left")
            started = time.monotonic()
            result = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            self._last_seconds = time.monotonic() - started
            return result

    def _busy(self) -> Refusal:
        wait = max(1, math.ceil(self._last_seconds))
        return Refusal(503, "busy", f"image: the server is busy with others; try again in {wait} s", wait)
