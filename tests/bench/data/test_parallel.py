from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time

import pytest

from cxrs_bench.data.parallel import map_in_processes
from cxrs_edge.errors import DataError


@pytest.mark.parametrize(("count", "workers"), [(3, None), (20, 1), (20, 2)])
def test_results_come_in_order_with_progress(count: int, workers: int | None) -> None:
    steps: list[tuple[str, int, int]] = []
    squares = [float(number * number) for number in range(count)]
    results = map_in_processes(math.sqrt, squares, "roots", lambda *step: steps.append(step), workers)
    assert list(results) == list(range(count))
    assert steps == [("roots", done, count) for done in range(count + 1)]


def test_nothing_to_do() -> None:
    assert list(map_in_processes(math.sqrt, [], "roots", lambda *_: None)) == []


def test_what_the_function_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(map_in_processes(math.sqrt, [1.0] * 9 + [-1.0], "roots", lambda *_: None, 2))


def test_a_killed_process_is_told() -> None:
    with pytest.raises(DataError, match="roots: a process was killed"):
        list(map_in_processes(os._exit, [1] * 9, "roots", lambda *_: None, 2))


SLEEP = """
import time
from cxrs_bench.data.parallel import map_in_processes

list(map_in_processes(time.sleep, [0.1] * 3000, "naps", lambda *step: print(step, flush=True), workers=2))
"""


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_in_a_terminal_ends_every_process(signals: int) -> None:
    # A session of its own, as a terminal has: the signal goes to all of its processes.
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEP],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    while b"('naps', 5," not in process.stdout.readline():
        assert process.poll() is None
    for _ in range(signals):
        os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    end = time.monotonic() + 60
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.05)
