"""Which installed engine is the fastest on which CPU that it computes right on: what ``auto`` goes by.

docs/engines.md has the figures.
"""

from __future__ import annotations

import platform
from collections.abc import Collection
from pathlib import Path

X86 = ("x86_64", "amd64")
"""64 bit x86 as Linux and macOS, and as Windows, call it."""
CPUINFO = Path("/proc/cpuinfo")
VNNI = frozenset({"avx512_vnni", "avx_vnni"})
"""What Linux calls the instructions that add products of int8 in 32 bits; those before saturate at 16."""
SATURATES_WITHOUT_VNNI = "openvino"
"""The one package that can't be told to add exactly there: docs/adr/0005."""

FASTEST_ON_X86 = ("openvino", "ai_edge_litert", "onnxruntime")
FASTEST_ELSEWHERE = ("ai_edge_litert", "onnxruntime", "openvino")
LAST = ("tflite_runtime", "tensorflow")
"""Ten times slower than LiteRT; large."""


def has_vnni(cpuinfo: Path = CPUINFO) -> bool:
    """Whether an x86 CPU is known to have VNNI; False where the system, such as Windows, doesn't list flags."""
    return not VNNI.isdisjoint(_first(cpuinfo, "flags").split())


def cpu_identity(cpuinfo: Path = CPUINFO) -> str:
    """Text that differs between CPUs for which an engine may compile differently."""
    names = ("model name", "flags", "CPU implementer", "CPU part", "Features")
    return "\n".join([platform.machine(), *(_first(cpuinfo, name) for name in names)])


def _first(cpuinfo: Path, name: str) -> str:
    """The first value of this name, or nothing; every core has a line of its own, all alike."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2] for line in lines if line.startswith(name)), "")


def saturates(package: str, machine: str, *, vnni: bool) -> bool:
    """Whether the package gets int8 networks wrong on a machine as `platform.machine` names it."""
    return package == SATURATES_WITHOUT_VNNI and machine.lower() in X86 and not vnni


def by_preference(machine: str, installed: Collection[str], *, vnni: bool) -> tuple[str, ...]:
    """The installed packages, the fastest first; behind all others what gets int8 networks wrong there."""
    fastest = FASTEST_ON_X86 if machine.lower() in X86 else FASTEST_ELSEWHERE
    order = [package for package in (*fastest, *LAST) if package in installed]
    return tuple(sorted(order, key=lambda package: saturates(package, machine, vnni=vnni)))
