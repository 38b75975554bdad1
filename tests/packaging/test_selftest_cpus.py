"""The self-test on CPUs that this computer isn't: the figures of docs/adr/0005.

    python -m pytest -s -m slow tests/packaging/test_selftest_cpus.py

qemu's TCG has no AVX-512 and no VNNI, so a program under it takes the kernels of an old laptop.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="compares x86 CPUs"),
]

# Not the command: it checks in a process of its own, which would start outside of the emulator.
CHECK = """
import sys
from cxrs_edge.engines import onnx
if len(sys.argv) > 2:  # the emulator shows the flags of the CPU below it
    onnx.has_vnni = lambda: False
from cxrs_edge.engines.registry import choose_engine
from cxrs_edge.golden import read_golden
from cxrs_edge.selftest import check_engine
check = check_engine(read_golden(), choose_engine(sys.argv[1]), threads=1)
print(check.error or f"{check.flips} {check.largest_difference:.6f}")
"""


def check(name: str, *emulator: str, **environment: str) -> tuple[int, float]:
    """Levels that flip, and the largest difference of a probability."""
    pytest.importorskip({"tflite": "ai_edge_litert", "onnx": "onnxruntime", "openvino": "openvino"}[name])
    run = subprocess.run(
        [*emulator, sys.executable, "-c", CHECK, name, *emulator],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    line = run.stdout.splitlines()[-1]
    sys.stdout.write(f"\n{name} {' '.join([*emulator, *environment.values()]) or 'here'}: {line}\n")
    flips, difference = line.split()
    return int(flips), float(difference)


@pytest.mark.parametrize("cpu", ["Haswell", "Nehalem"])
@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_a_cpu_without_vnni_gives_the_released_answers(name, cpu):
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("needs qemu-x86_64: apt install qemu-user-static")
    flips, difference = check(name, emulator, "-cpu", cpu)
    assert flips == 0
    assert difference <= 1e-5


@pytest.mark.parametrize("isa", ["SSE41", "AVX2", "AVX512_CORE"])
def test_openvino_saturates_without_vnni_and_is_found_out(isa):
    flips, difference = check("openvino", ONEDNN_MAX_CPU_ISA=isa)
    assert flips > 0 or difference > 0.05


@pytest.mark.parametrize("isa", ["AVX2_VNNI", "AVX512_CORE_VNNI"])
def test_openvino_is_exact_with_either_vnni(isa):
    assert check("openvino", ONEDNN_MAX_CPU_ISA=isa) == (0, 0.0)
