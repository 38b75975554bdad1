"""A limit on this process's memory, so that a bomb ends in an error and not in the kernel's choice of a victim."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def limit_memory(root: Path = Path("/")) -> int | None:
    """Let this process take what the machine has free now, and no more; returns the limit in bytes.

    A lower limit that is set already stays. None where the system isn't Linux or doesn't say what is free. `root`
    is where ``proc`` is mounted.
    """
    if sys.platform != "linux":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(OSError, ValueError, KeyError):
        memory, own = _read(root / "proc/meminfo"), _read(root / "proc/self/status")
        limit = own["VmData"] + memory["MemAvailable"] + memory["SwapFree"]
        limits = [limit, *(value for value in (soft, hard) if value != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
        return min(limits)
    return None


def _read(path: Path) -> dict[str, int]:
    """The lines ``Name:   123 kB`` of a file, in bytes."""
    lines = [line.split() for line in path.read_text().splitlines() if line.endswith(" kB")]
    return {name.rstrip(":"): int(value) * 1024 for name, value, _ in lines}
