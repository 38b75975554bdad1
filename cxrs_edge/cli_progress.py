"""Progress of commands that need no extra: a bar on stderr, if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

import click

T = TypeVar("T")


def with_progress(items: Iterable[T], length: int) -> Iterable[T]:
    """The same items, so many; a bar on stderr follows them if that is a terminal."""
    return _bar(items, length) if is_terminal(sys.stderr) else items


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is written there."""
    # Python has None for a stream that was closed before it started.
    return stream is not None and stream.isatty()


def _bar(items: Iterable[T], length: int) -> Iterator[T]:
    with click.progressbar(items, length, file=sys.stderr, show_pos=True) as bar:
        yield from bar
