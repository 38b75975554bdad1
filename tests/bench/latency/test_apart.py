"""A command in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from cxrs_bench.latency.apart import run_apart

pytestmark = pytest.mark.skipif(os.name != "posix", reason="posix_spawn and wait4")


def run(program, **options):
    return run_apart([sys.executable, "-c", program], **options)


def test_its_lines_come_with_their_times():
    usage = run("import time; print('one', flush=True); time.sleep(0.3); print('two')")
    assert usage.lines == ("one\n", "two\n")
    first, second = usage.line_seconds
    assert second - first > 0.25
    assert second <= time.perf_counter()
    assert usage.seconds > 0.3


def test_its_peak_is_its_own_and_not_that_of_who_started_it():
    ballast = bytearray(200_000_000)
    small, large = run("pass"), run("bytearray(100_000_000)")
    assert small.peak_bytes < 50e6
    assert 90e6 < large.peak_bytes - small.peak_bytes < 110e6
    assert len(ballast) == 200_000_000


def test_its_status_and_the_signal_that_ended_it():
    assert run("raise SystemExit(3)").status == 3
    assert run("import os; os.kill(os.getpid(), 9)").status == -signal.SIGKILL


def test_its_environment():
    usage = run("import os; print(os.environ.get('GIVEN'))", environment={**os.environ, "GIVEN": "yes"})
    assert usage.lines == ("yes\n",)


def test_its_cpu_time():
    usage = run("import time\nwhile time.process_time() < 0.3: pass")
    assert 0.3 <= usage.cpu_seconds < 2
