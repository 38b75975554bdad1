"""The default number of threads, on machines described by files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxrs_edge.engines.threads import count_cores


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def topology(*siblings: str) -> dict[str, str]:
    return {
        f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": text
        for cpu, text in enumerate(siblings)
    }


V2 = {"proc/self/cgroup": "0::/a/b"}
V1 = {"proc/self/cgroup": "3:cpuset:/\n1:cpu,cpuacct:/docker/x\n0::/"}
HYPERTHREADS = topology("0,2", "1,3", "0,2", "1,3")


@pytest.mark.parametrize(
    ("cpus", "files", "cores"),
    [
        ({0, 1, 2, 3}, {}, 4),
        ({0, 1, 2, 3}, HYPERTHREADS, 2),
        ({0, 2}, HYPERTHREADS, 1),
        ({0, 1, 2, 3}, V2 | {"sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 4),
        ({0, 1, 2, 3}, V2 | {"sys/fs/cgroup/a/b/cpu.max": "250000 100000"}, 2),
        ({0, 1, 2, 3}, V2 | {"sys/fs/cgroup/a/cpu.max": "300000 100000"}, 3),
        ({0, 1, 2, 3}, V2 | {"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        (
            {0, 1, 2, 3},
            V1
            | {
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        (
            {0, 1, 2, 3},
            V1
            | {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        ({0, 1, 2, 3}, HYPERTHREADS | V2 | {"sys/fs/cgroup/cpu.max": "900000 100000"}, 2),
    ],
)
def test_default_threads_are_the_physical_cores_allowed(tmp_path, monkeypatch, cpus, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: cpus, raising=False)
    assert count_cores(machine(tmp_path, files)) == cores


def test_default_threads_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores() == 1
