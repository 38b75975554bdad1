"""The process's own limit, in processes of their own, since it can't be taken back."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA and /proc of Linux")
MB = 2**20
LIMIT = """
import json, resource, sys
from pathlib import Path
from cxrs_edge.memory_limit import limit_memory
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]), resource.RLIM_INFINITY))
limit = limit_memory(Path(sys.argv[1]))
try:
    bytearray(300 * 2**20)
    fits = True
except MemoryError:
    fits = False
json.dump([limit, resource.getrlimit(resource.RLIMIT_DATA)[0], fits], sys.stdout)
"""


@pytest.fixture
def machine(tmp_path):
    """A machine's /proc with so many MB free, and in use by the process."""

    def write(free: int, swap: int, used: int):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/meminfo").write_text(
            f"MemTotal:  1000 kB\nMemAvailable:  {free * 1024} kB\nSwapFree: {swap * 1024} kB\nHugePages_Free: 0\n"
        )
        (tmp_path / "proc/self/status").write_text(
            f"Name:\tsh\nSigQ:\t0/1 kB x\nVmData:\t {used * 1024} kB\n"
        )
        return tmp_path

    return write


def run(root, before=-1):
    done = subprocess.run(
        [sys.executable, "-c", LIMIT, str(root), str(before)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_no_more_than_is_free(machine):
    assert run(machine(free=150, swap=50, used=60)) == [260 * MB, 260 * MB, False]


def test_what_fits_is_allowed(machine):
    assert run(machine(free=900, swap=100, used=60)) == [1060 * MB, 1060 * MB, True]


def test_a_lower_limit_stays(machine):
    assert run(machine(free=900, swap=0, used=0), before=200 * MB) == [200 * MB, 200 * MB, False]


def test_without_figures_nothing_is_limited(tmp_path):
    assert run(tmp_path) == [None, -1, True]


def test_predict_is_limited(write_model, draw_xray):
    code = (
        "import resource, sys; from cxrs_edge.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "print(resource.getrlimit(resource.RLIMIT_DATA)[0] > 0)"
    )
    command = [sys.executable, "-c", code, "predict", draw_xray(), "--model", write_model("onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
