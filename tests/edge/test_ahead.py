"""The bounded pipeline: order, how far it runs ahead, errors in their place, and leaving it early."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrs_edge.ahead import DEPTH, ahead


@given(items=st.lists(st.integers(), max_size=20), depth=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_it_is_map(items, depth):
    with ahead(lambda item: item * 2, items, depth) as results:
        assert list(results) == [item * 2 for item in items]


def test_it_begins_before_anything_is_asked_for_and_stops_at_its_depth():
    begun = []
    ready = threading.Event()

    def note(item):
        begun.append(item)
        if len(begun) == DEPTH:
            ready.set()
        return item

    with ahead(note, range(100)) as results:
        assert ready.wait(10)
        time.sleep(0.05)
        assert begun == [0, 1]
        assert next(results) == 0
        assert next(results) == 1
        time.sleep(0.05)
        assert len(begun) <= 2 + DEPTH


def test_it_runs_while_this_thread_is_busy():
    main_is_busy, other_was_here = threading.Event(), threading.Event()

    def meet(item):
        if item == 1:
            assert main_is_busy.wait(10)
            other_was_here.set()
        return item

    with ahead(meet, range(2)) as results:
        next(results)
        main_is_busy.set()
        assert other_was_here.wait(10)


def test_an_error_comes_in_its_place():
    def invert(item):
        return 1 / item

    with ahead(invert, [1, 2, 0, 4]) as results:
        assert [next(results), next(results)] == [1, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_leaving_early_begins_nothing_more():
    begun = []

    def slow(item):
        begun.append(item)
        time.sleep(0.2)

    def leave():
        with ahead(slow, range(100), depth=10):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert begun == [0]
