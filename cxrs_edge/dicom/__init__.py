"""DICOM files: `is_dicom` tells them apart without pydicom; `cxrs_edge.dicom.reader` reads them."""

from __future__ import annotations

HEADER_BYTES = 132
"""As many first bytes of a file as `is_dicom` looks at."""
_EXPLICIT_VRS = (b"CS", b"UI", b"UL", b"OB", b"SH", b"DA", b"TM", b"ST", b"LO")
"""Of the attributes that come first in a data set (groups 0002 and 0008)."""


def is_dicom(data: bytes) -> bool:
    """Whether a file's first `HEADER_BYTES` bytes are those of a DICOM file.

    Either the prefix of PS3.10, section 7.1, or, as older devices write them, a data set without one: its first
    attribute is of group 0002 or 0008, with a known value representation or a short length.
    """
    if data[128:132] == b"DICM":
        return True
    group, vr = data[:2], data[4:6]
    if group not in (b"\x02\0", b"\x08\0", b"\0\x08") or len(data) < HEADER_BYTES:
        return False
    implicit = group == b"\x08\0" and data[3] == 0 and data[6:8] == b"\0\0" and 0 < data[4] <= 64
    return vr in _EXPLICIT_VRS or implicit
