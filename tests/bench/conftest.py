"""The script under test is run as a file; here it is imported by its name, as modules beside the tests are."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent
sys.path[:0] = map(str, (TESTS.parents[1] / "bench", TESTS, TESTS.parent / "edge"))
