"""Which installed engine is the fastest on which CPU: what ``auto`` goes by. docs/engines.md has the figures."""

from __future__ import annotations

from collections.abc import Collection

X86 = ("x86_64", "amd64")
"""64 bit x86 as Linux and macOS, and as Windows, call it."""

FASTEST_ON_X86 = ("openvino", "ai_edge_litert", "onnxruntime")
FASTEST_ELSEWHERE = ("ai_edge_litert", "onnxruntime", "openvino")
LAST = ("tflite_runtime", "tensorflow")
"""Ten times slower than LiteRT; large."""


def by_preference(machine: str, installed: Collection[str]) -> tuple[str, ...]:
    """The installed packages, the fastest first, on a machine as `platform.machine` names it."""
    fastest = FASTEST_ON_X86 if machine.lower() in X86 else FASTEST_ELSEWHERE
    return tuple(package for package in (*fastest, *LAST) if package in installed)
