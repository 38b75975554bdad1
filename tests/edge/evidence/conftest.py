"""Images made of cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def bright_spots() -> np.ndarray[Any, Any]:
    """8 x 8 cells, dark but for two bright regions, the second the larger."""
    gray = np.full((8, 8), 102)
    gray[1, 1:3] = 255
    gray[5:7, 4:6] = 255
    return gray
