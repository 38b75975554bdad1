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
from cxrs_edge.serve.refusal import Refusal

T = TypeVar("T")

PLACES = 16
MAX_HELD_BYTES = 2 * MAX_BYTES
"""Of all uploads together that arrive, wait or are graded."""


class Desk:
    """Lets one piece of work run at a time, in the order of arrival, on a thread of its own.

    Parameters
    ----------
    places : how many requests may be here, from their first byte to their answer.
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
    def place(self, size: int) -> Iterator[None]:
        """A place for a request that will hold `size` bytes; raises `Refusal` if there is none."""
        if self.closing:
            raise self._closed()
        if self._taken >= self._places or self._held_bytes + size > MAX_HELD_BYTES:
            wait = max(1, math.ceil(self._last_seconds))
            raise Refusal(
                503, "busy", f"image: {self._taken} others are waiting; try again in {wait} s", wait
            )
        self._taken += 1
        self._held_bytes += size
        try:
            yield
        finally:
            self._taken -= 1
            self._held_bytes -= size

    async def run(self, work: Callable[[], T], request: Request) -> T:
        """Wait for the engine and run `work`; raises what it raises, or `Refusal` if it is no use any more."""
        async with self._turn:
            if self.closing:
                raise self._closed()
            if await request.is_disconnected():
                raise Refusal(499, "gone", "the client left")
            started = time.monotonic()
            result = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            self._last_seconds = time.monotonic() - started
            return result

    @staticmethod
    def _closed() -> Refusal:
        return Refusal(503, "closing", "image: this server is stopping; try again when it runs", 30)
