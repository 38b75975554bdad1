"""What the system shows is read as it stands there; what it doesn't show is None."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("psutil")
pytest.importorskip("msgspec")

from cxrs_bench.latency.host import _flattened, parse_throttled, read_conditions, read_host


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("throttled=0x0\n", ()),
        (
            "throttled=0x50005",
            ("under-voltage", "throttled", "under-voltage since start", "throttled since start"),
        ),
        # As the kernel's file has it, without a prefix.
        ("80008", ("soft temperature limit", "soft temperature limit since start")),
        ("0x2", ("clock capped",)),
    ],
)
def test_flags_of_a_raspberry_pi(text: str, flags: tuple[str, ...]) -> None:
    assert parse_throttled(text) == flags


@given(st.integers(0, 2**32 - 1))
def test_each_bit_is_one_flag(bits: int) -> None:
    known = bits & 0xF000F
    assert len(parse_throttled(f"throttled={bits:#x}")) == known.bit_count()


def test_this_machine() -> None:
    host = read_host()
    assert host.machine == platform.machine()
    assert host.packages["numpy"] == np.__version__
    assert host.memory_bytes > 10**8
    assert 1 <= host.cores <= host.cpus
    assert platform.node() not in str(host) or len(platform.node()) < 3
    conditions = read_conditions()
    assert conditions.load == pytest.approx(os.getloadavg()[0], abs=1.0)


def test_a_board_by_its_files(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    host, conditions = read_host(tmp_path), read_conditions(tmp_path)
    assert host.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert host.governor == "ondemand"
    assert conditions.throttled == ("under-voltage since start", "throttled since start")
    assert conditions.throttle_events == 7


def test_a_system_that_shows_nothing(tmp_path: Path) -> None:
    host, conditions = read_host(tmp_path), read_conditions(tmp_path)
    assert host.board is None
    assert host.governor is None
    assert conditions.throttle_events is None
    path = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    path.parent.mkdir(parents=True)
    path.write_text("nonsense")
    assert read_conditions(tmp_path).throttled is None


def test_lscpu_of_both_shapes() -> None:
    flat = [{"field": "Model name:", "data": "Cortex-A72"}]
    nested = [{"field": "Vendor ID:", "data": "ARM", "children": flat}]
    assert dict(_flattened(flat)) == {"Model name": "Cortex-A72"}
    assert dict(_flattened(nested)) == {"Vendor ID": "ARM", "Model name": "Cortex-A72"}
