"""The scripts under test are run as files; here they are imported by their names."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "offline"), str(ROOT / "tests" / "arm64")]
