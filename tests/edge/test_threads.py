"""The default number of threads, on machines described by files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
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


def run_apart(program: str, *arguments: str, environment: dict[str, str] | None = None) -> object:
    """What a program prints as JSON, run by a Python of its own."""
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(run.stdout)


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


PINNED = """
import json, os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # what `taskset` does before it starts a program
from cxrs_edge.engines.registry import open_engine
from cxrs_edge.model_file import read_model_file
print(json.dumps(open_engine(read_model_file(sys.argv[1]), "onnx").threads))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_a_pinned_process_computes_with_the_cores_it_is_pinned_to(write_model):
    pytest.importorskip("onnxruntime")
    assert run_apart(PINNED, str(write_model("onnx"))) == 1


JOINED = """
import json, os, sys
from pathlib import Path
(Path(sys.argv[1]) / "cgroup.procs").write_text(str(os.getpid()))
from cxrs_edge.engines.threads import count_cores
print(json.dumps(count_cores()))
"""


@pytest.fixture
def quota_of_one_cpu() -> Iterator[Path]:
    """A real cgroup that may use one CPU's worth of time, of whichever version this machine has."""
    v2 = Path("/sys/fs/cgroup/cgroup.controllers")
    group = Path("/sys/fs/cgroup" if v2.exists() else "/sys/fs/cgroup/cpu") / f"cxrs-edge-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"can't make a cgroup: {error}")
    try:
        if v2.exists():
            (group / "cpu.max").write_text("100000 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text("100000")
        yield group
    except OSError as error:
        pytest.skip(f"can't limit a cgroup: {error}")
    finally:
        group.rmdir()


def test_a_real_quota_is_respected(quota_of_one_cpu):
    if count_cores() < 2:
        pytest.skip("one core only")
    assert run_apart(JOINED, str(quota_of_one_cpu)) == 1


IMPORT_EVERYTHING = """
import importlib, json, os, pkgutil, threading

def state():
    return [dict(os.environ), sorted(os.sched_getaffinity(0)), len(os.listdir("/proc/self/task"))]

before = state()
import cxrs_edge, cxrs_edge.engines
for package in (cxrs_edge, cxrs_edge.engines):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(json.dumps([before, state()]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_importing_sets_no_number_of_threads():
    # Not this process's environment, which importing may have changed. numpy's own library starts its threads on
    # import unless the user says otherwise.
    environment = {"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1"}
    before, after = run_apart(IMPORT_EVERYTHING, environment=environment)
    assert after == before
