"""A command run in a process of its own: what it took, and when it wrote each line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
seconds = time.perf_counter() - started
figures = [seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)]
print(json.dumps(figures))
"""
"""A process starts with the peak of the one that it was forked from, so a small one stands between."""


@dataclass(frozen=True)
class Usage:
    """One finished process.

    Attributes
    ----------
    seconds, cpu_seconds : from its start to its end.
    peak_bytes : largest resident set (``ru_maxrss``).
    status : exit status, negative if a signal ended it.
    lines : what it wrote to standard output.
    line_seconds : when each line came, on `time.perf_counter`.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    status: int
    lines: tuple[str, ...]
    line_seconds: tuple[float, ...]


def run_apart(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command, whose standard error is dropped, to its end."""
    launch = [sys.executable, "-S", "-c", LAUNCHER, *command]
    lines, times = [], []
    with subprocess.Popen(
        launch, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment or os.environ
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            times.append(time.perf_counter())
            lines.append(line.decode())
    *written, figures = lines
    seconds, cpu_seconds, peak_bytes, status = json.loads(figures)
    return Usage(seconds, cpu_seconds, peak_bytes, status, tuple(written), tuple(times[:-1]))
