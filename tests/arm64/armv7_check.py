"""Run by prove_armv7.sh on 32 bit ARM: does tflite-runtime give the released answers there? Exit status 1 if not."""

from __future__ import annotations

import platform
import struct
import sys

from cxrs_edge.engines.registry import choose_engine
from cxrs_edge.golden import read_golden
from cxrs_edge.selftest import check_engine

check = check_engine(read_golden(), choose_engine("tflite"), threads=1)
python = f"Python {platform.python_version()}, {8 * struct.calcsize('P')} bit"
sys.stdout.write(
    f"{platform.machine()}, {python}, {check.package} {check.engine.version}: "
    + str(
        check.error
        or f"{check.flips} of {len(check.answers)} levels flip, largest difference {check.largest_difference:.1e}"
    )
    + "\n"
)
sys.exit(not check.ok)
