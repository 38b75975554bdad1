"""Progress of long work: a bar with time left on stderr when that is a terminal, else nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cxrs_edge.extras import import_extra

Report = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""


@contextmanager
def progress() -> Iterator[Report]:
    """Yields the function that moves the bar."""
    import_extra("rich", "bench")
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield report
