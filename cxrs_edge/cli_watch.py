"""`cxrs-edge watch`."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from cxrs_edge.cli_options import (
    description,
    engine_option,
    model_option,
    open_grader,
    threads_option,
)

SHORTEST, LONGEST = 0.05, 3600.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """``2`` or ``0.5s``; NaN is refused too."""
    try:
        seconds = float(value.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise click.BadParameter(f"got {value}; expected {SHORTEST:g} to {LONGEST:g} seconds, such as 2s")
    return seconds


@click.command()
@click.argument("in_dir", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    metavar="OUT_DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Where grades/, done/ and bad/ are; made if missing.",
)
@click.option(
    "--every",
    metavar="SECONDS",
    callback=_seconds,
    default="2s",
    show_default=True,
    help="How often to look at IN_DIR.",
)
@click.option(
    "--settle",
    metavar="SECONDS",
    callback=_seconds,
    default="2s",
    show_default=True,
    help="How long a file's size and time of change must have stayed the same before it is taken.",
)
@click.option("--once", is_flag=True, help="Grade what is there, and end: for cron.")
@model_option
@engine_option
@threads_option
@click.pass_context
def watch(
    ctx: click.Context,
    in_dir: Path,
    output: Path,
    every: float,
    settle: float,
    once: bool,
    model: str | None,
    engine: str,
    threads: int | None,
) -> None:
    """Grade each file that arrives in IN_DIR once, unattended, until SIGTERM or Ctrl-C.

    A file that settled is graded into OUT_DIR/grades/NAME.json and moved to OUT_DIR/done/NAME; one that can't
    be graded is moved to OUT_DIR/bad/NAME, beside NAME.reason.json. Nothing is overwritten: a new file under
    a used name becomes NAME-2. Killed at any moment, the next start goes on where it was.

    Left alone: folders, links, hidden files, *.part, *.partial, *.filepart, *.crdownload, *.tmp.

    Exit status: 0 ended by a signal; with --once 0 if all that was there got a grade, else 1.

    \b
    Examples:
      cxrs-edge watch inbox --output graded
      cxrs-edge watch inbox --output graded --once --settle 10s
    """
    from cxrs_edge.render import RESEARCH_USE
    from cxrs_edge.watch import Watch
    from cxrs_edge.watch_folders import open_folders

    with _heed_signals() as stop, open_folders(in_dir, output) as folders:
        grader = open_grader(model, engine, threads)
        _report(f"{in_dir}: watched, {description(grader)}; results in {output}")
        _report(RESEARCH_USE)
        watching = Watch(grader, folders, settle, _report)
        if not once:
            watching.run(every, stop)
        elif not watching.run_once(stop):
            ctx.exit(1)


class _Stop:
    """Ends after the current file on the first SIGTERM or SIGINT, at once on the second."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, *_signal: object) -> None:
        self.asked = True
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def sleep(self, seconds: float) -> None:
        """In short pieces, because Python goes back to sleep after a signal."""
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))


@contextmanager
def _heed_signals() -> Iterator[_Stop]:
    stop = _Stop()
    before = {number: signal.signal(number, stop.ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(line: str) -> None:
    from cxrs_edge.render import printable

    # A log that can't be written, on a full disk or a closed pipe, is no reason to stop grading.
    with suppress(OSError):
        click.echo(printable(line), err=True)
