"""A JPEG whose data ended before its picture did, which libjpeg fills with gray without a word.

That happens to a file cut short whose end marker was mended, to one that lost a block in its middle, and to one
whose header says that it is taller than it is. In a progressive JPEG only a loss in the first scan is found.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from cxrs_edge.errors import ImageError
from cxrs_edge.gray import Gray, to_gray
from cxrs_edge.structure import jpeg_segments

NEVER_DECODED = 128
"""The middle gray of blocks without coefficients (libjpeg, jdhuff.c: insufficient_data)."""
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
FILLER = bytes(range(1, 255)) * 4
"""Any bits that are no marker: a whole picture needs none of them, any other decodes them to something."""


def check_end(data: bytes, pixels: Gray, at_least: int | None, name: str) -> None:
    """Refuse a JPEG whose data ends too early; raises `ImageError`.

    `pixels` are what it was decoded to, as stored. The last one tells of nearly every whole picture that it is
    one; only where it is middle gray the file is decoded once more, with more data before its end.
    """
    if pixels[-1, -1] != NEVER_DECODED:
        return
    # A preview in the metadata has scans and ends of its own.
    metadata_end = max((position for position, _ in jpeg_segments(data)), default=0)
    end = data.find(END_OF_IMAGE, data.find(START_OF_SCAN, metadata_end))
    with Image.open(io.BytesIO(data[:end] + FILLER + data[end:]), formats=("JPEG",)) as longer:
        if at_least is not None:
            longer.draft(longer.mode, (at_least, at_least))
        again, _ = to_gray(longer, name)
    if not np.array_equal(pixels, again):
        raise ImageError(
            f"{name}: damaged image: its data ends before the picture does; export or copy it again"
        )
