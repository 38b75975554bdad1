"""Image files built byte by byte, for what no library writes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TIFF_TAGS = {256, 257, 258, 259, 262, 273, 277, 278, 279, 339}


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + extra + data + png_chunk(b"IEND", b"")


def png_rows(pixels: NDArray[np.generic]) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def tiff(
    pixels: NDArray[np.generic],
    *,
    order: str = "<",
    photometric: int = 1,
    sample_format: int = 1,
    changed: Mapping[int, int] = MappingProxyType({}),
    entries: Sequence[tuple[int, int, int, int]] = (),
    next_directory: int = 0,
) -> bytes:
    """An uncompressed TIFF whose directory comes first, so that cutting its end cuts pixels.

    `changed` are lies about tags, `entries` more of them: tag, type, count, value or offset.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    tags = {
        256: width,
        257: height,
        258: pixels.dtype.itemsize * 8,
        259: 1,
        262: photometric,
        273: 8 + 2 + (10 + len(set(changed) - TIFF_TAGS) + len(entries)) * 12 + 4,
        277: channels,
        278: height,
        279: pixels.nbytes,
        339: sample_format,
        **changed,
    }
    every = sorted([*((tag, 4, 1, value) for tag, value in tags.items()), *entries])
    directory = b"".join(struct.pack(order + "HHII", *entry) for entry in every)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(every))
    return head + directory + struct.pack(order + "I", next_directory) + pixels.tobytes()
