"""Facts of this machine, and its state at one moment. No names of computers or people."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from cxrs_bench.record import Conditions, Host
from cxrs_edge.engines.registry import available_engines, package_version
from cxrs_edge.engines.threads import count_cores

FEATURES = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "neon", "asimd", "fphp", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
"""Instructions that decide how fast a network runs, in Linux's words: x86, then ARM."""
CPU_SENSOR = re.compile("cpu|core|soc|k10temp|package", re.IGNORECASE)
FIRMWARE_FLAGS = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
"""Bits 0 to 3 of a Raspberry Pi's ``get_throttled``; bits 16 to 19 say the same of the time since it started."""
SINCE_START = 16
SECONDS = 5
"""To wait for a tool that only looks something up."""


def read_host(root: Path = Path("/")) -> Host:
    """What this machine is; `root` is where ``sys`` and ``proc`` are mounted."""
    cpu = _lscpu()
    flags = frozenset(cpu.get("Flags", "").split())
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    packages = [package for entry in available_engines() if (package := entry.package())]
    return Host(
        board=_text(root / "proc/device-tree/model") or _text(root / "sys/class/dmi/id/product_name"),
        cpu=cpu.get("Model name") or platform.processor() or None,
        machine=platform.machine(),
        features=tuple(feature for feature in FEATURES if feature in flags),
        cores=count_cores(),
        cpus=_usable_cpus(),
        virtual="Hypervisor vendor" in cpu if cpu else None,
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clock_mhz_max=frequency.max if frequency and frequency.max else None,
        memory_bytes=psutil.virtual_memory().total,
        system=_system(),
        kernel=platform.release(),
        python=platform.python_version(),
        packages={package: package_version(package) for package in (*packages, "numpy")},
    )


def read_conditions(root: Path = Path("/")) -> Conditions:
    """What may slow this machine down now; `root` as in `read_host`."""
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return Conditions(
        load=round(psutil.getloadavg()[0], 2),
        clock_mhz=round(frequency.current, 1) if frequency and frequency.current else None,
        temperature_c=_cpu_temperature(),
        throttled=_throttled(root),
        throttle_events=_throttle_events(root),
    )


def parse_throttled(text: str) -> tuple[str, ...]:
    """The flags in a Raspberry Pi's answer, such as ``throttled=0x50005`` or ``50005``, in words."""
    bits = int(text.strip().rpartition("=")[2], 16)
    now = [flag for bit, flag in enumerate(FIRMWARE_FLAGS) if bits >> bit & 1]
    earlier = [flag for bit, flag in enumerate(FIRMWARE_FLAGS, SINCE_START) if bits >> bit & 1]
    return (*now, *(f"{flag} since start" for flag in earlier))


def _throttled(root: Path) -> tuple[str, ...] | None:
    text = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled") or _output(
        "vcgencmd", "get_throttled"
    )
    try:
        return parse_throttled(text) if text else None
    except ValueError:
        return None


def _throttle_events(root: Path) -> int | None:
    """How often x86 cores were slowed down for heat since the machine started."""
    files = (root / "sys/devices/system/cpu").glob("cpu*/thermal_throttle/core_throttle_count")
    counts = [int(text) for file in files if (text := _text(file) or "").isdecimal()]
    return sum(counts) if counts else None


def _cpu_temperature() -> float | None:
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    values = [one.current for name, each in sensors.items() if CPU_SENSOR.search(name) for one in each]
    return round(max(values), 1) if values else None


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _lscpu() -> Mapping[str, str]:
    """What util-linux's lscpu tells, by its English names; empty where there is none."""
    try:
        fields = json.loads(_output("lscpu", "--json") or "{}").get("lscpu", [])
        return dict(_flattened(fields))
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}


def _flattened(fields: list[dict[str, object]]) -> Iterator[tuple[str, str]]:
    for field in fields:
        yield str(field["field"]).rstrip(":"), str(field["data"])
        children = field.get("children", [])
        yield from _flattened(children if isinstance(children, list) else [])


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _text(path: Path) -> str | None:
    """A small file's one line; device trees end theirs with a zero byte."""
    try:
        return path.read_text(errors="replace").strip().strip("\0") or None
    except OSError:
        return None
