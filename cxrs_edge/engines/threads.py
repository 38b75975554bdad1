"""How many threads pay off: one for each physical core that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cxrs_edge.errors import EngineError

MAX_THREADS = 256
"""Far more than any machine that this runs on; engines start what they are asked for, or die of it."""


def check_threads(threads: int) -> int:
    """Return `threads` if it is a whole number from 1 to `MAX_THREADS`; raises `EngineError`."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise EngineError(f"threads: got {threads!r}, expected a whole number from 1 to {MAX_THREADS}")
    return threads


def count_cores(root: Path = Path("/")) -> int:
    """Physical cores allowed by CPU affinity, no more than the cgroup's quota; at least 1.

    `root` is where ``sys`` and ``proc`` are mounted. Hyperthreads share one core's arithmetic units, so
    a second thread on a core gains nothing; more threads than a container's quota are throttled.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    cores = {_siblings(root, cpu) for cpu in cpus}
    return max(1, min([len(cores), *(int(quota) for quota in _quotas(root))]))


def _siblings(root: Path, cpu: int) -> str:
    """The logical CPUs of this one's core, as the kernel lists them; only itself where it doesn't."""
    path = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    return _text(path) or str(cpu)


def _quotas(root: Path) -> Iterator[float]:
    """CPUs' worth of time that each cgroup around this process grants (cgroup v2, then v1)."""
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            for folder in _upwards(mount, group):
                yield from _ratio(*_text(folder / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for folder in _upwards(mount / "cpu", group):
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                yield from _ratio(*(_text(folder / name) for name in names))


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """The group's folder and those above it: a container sees its own group as the mount itself."""
    path = PurePosixPath(group)
    for folder in (path, *path.parents):
        yield mount / str(folder).lstrip("/")


def _ratio(quota: str = "", period: str = "") -> Iterator[float]:
    # "max" (v2), "-1" (v1) and a missing file all mean no limit.
    if quota.isdecimal() and period.isdecimal() and int(period) > 0:
        yield int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
