"""Run by prove_armv7.sh on 32 bit ARM: does tflite-runtime give the released answers there? Exit status 1 if not."""

from __future__ import annotations

import platform
import struct
import sys

from cxrs_edge.engines.registry import choose_engine
from cxrs_edge.golden import read_golden
from cxrs_edge.selftest import check_engine
from cxrs_edge.selftest_report import render_engine

check = check_engine(read_golden(), choose_engine("tflite"), threads=1)
python = f"Python {platform.python_version()}, {8 * struct.calcsize('P')} bit"
difference = "" if check.largest_difference is None else f" ({check.largest_difference:.1e})"
sys.stdout.write(f"{platform.machine()}, {python}, {check.package}: {render_engine(check)}{difference}\n")
sys.exit(not check.ok)
