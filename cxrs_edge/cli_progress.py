"""Progress of commands that need no extra: a bar on stderr, if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

import click

T = TypeVar("T")


def with_progress(items: list[T]) -> Iterable[T]:
    """The same items; a bar on stderr follows them if that is a terminal."""
    return _bar(items) if is_terminal(sys.stderr) else items


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is written there."""
    # Python has None for a stream that was closed before it started.
    return stream is not None and stream.isatty()


def _bar(items: list[T]) -> Iterator[T]:
    with click.progressbar(items, file=sys.stderr, show_pos=True) as bar:
        yield from bar
