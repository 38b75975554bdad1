"""A bounded pipeline: what comes next is made ready in another thread while this one is busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

DEPTH = 2
"""Results that may wait: one to take when this thread is free, one in the making."""


@contextmanager
def ahead(function: Callable[[T], R], items: Iterable[T], depth: int = DEPTH) -> Iterator[Iterator[R]]:
    """`function` of each item, in order, at most `depth` of them begun before they are asked for.

    The first are begun at once. What `function` raises, the iterator raises in its place. Left early, as by Ctrl-C,
    the one call that runs is waited for, and no other begins.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(max_workers=1) as executor:
        waiting = deque(executor.submit(function, item) for item in islice(remaining, depth))

        def in_order() -> Iterator[R]:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(executor.submit(function, item) for item in islice(remaining, 1))
                yield result

        try:
            yield in_order()
        finally:
            executor.shutdown(cancel_futures=True)
