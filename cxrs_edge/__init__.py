"""Airspace severity from one chest X-ray, on the device: COVID-Net CXR-S in a few lines.

>>> from cxrs_edge import Grader
>>> Grader.bundled().grade("scan.png").level  # doctest: +SKIP
2

Research software: not a medical device, not for patient care.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrs_edge.errors import CxrsError
from cxrs_edge.version import __version__

if TYPE_CHECKING:
    from cxrs_edge.grade import Grade
    from cxrs_edge.grader import Grader

__all__ = ["CxrsError", "Grade", "Grader", "__version__"]


def __getattr__(name: str) -> object:
    """Import numpy and Pillow only when a name that needs them is asked for (PEP 562)."""
    if name == "Grader":
        from cxrs_edge.grader import Grader

        return Grader
    if name == "Grade":
        from cxrs_edge.grade import Grade

        return Grade
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
