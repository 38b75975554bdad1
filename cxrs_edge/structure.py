"""What a file's structure claims, looked at before a decoder believes it.

Decoders keep metadata in memory, unpack lists of numbers into Python objects, and run through the whole picture
for each scan: a file of a few kilobytes can cost gigabytes or hours. Only the frames of the containers are walked
here (PNG chunks, JPEG segments, TIFF directories, also those that EXIF brings along), as Pillow walks them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import JpegImagePlugin

from cxrs_edge.errors import ImageError

MAX_METADATA_BYTES = 8_000_000
"""Colour profiles take up to 3 MB, a phone's depth map a few."""
MAX_TAG_NUMBERS = 200_000
"""In the directories of a TIFF; 64 megapixels in tiles of 64 x 64 pixels have twice 16,000."""
MAX_PNG_CHUNKS = 100_000
MAX_PNG_PACKED_TEXTS = 16
"""Pillow unpacks each to at most 1 MB, which may take 4 MB as Unicode."""
MAX_JPEG_SCANS = 200
"""Encoders write about ten; each costs a pass over the whole picture."""

PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"II+\0")
"""Also two broken ones that Pillow takes; BigTIFF is read in its little-endian form only."""
PACKED_TEXTS = (b"zTXt", b"iTXt")
START_OF_SCAN, FILL = 0xDA, 0xFF
EXIF_HEAD, MULTI_PICTURE_HEAD = b"Exif\0\0", b"MPF\0"
RAW_TIFF_TYPES, TIFF_LONG = (1, 2, 7), 4
"""BYTE, ASCII and UNDEFINED stay bytes; of all others each value becomes a Python object."""
SUBDIRECTORIES = (34665, 34853, 40965)
"""EXIF, GPS and interoperability, which Pillow follows."""
DEEPEST_SUBDIRECTORY = 2


def check_structure(data: bytes, *, name: str) -> None:
    """Refuse a file that would cost a decoder far more than its pixels do; raises `ImageError`.

    What is no PNG, JPEG or TIFF, or is broken, passes: the decoder says what is wrong with it.
    """
    if data.startswith(PNG_MAGIC):
        _check_png(data, name)
    elif data.startswith(JPEG_MAGIC):
        _check_jpeg(data, name)
    elif data.startswith(b"MM\0+"):
        raise ImageError(f"{name}: a BigTIFF with its bytes in reverse; expected a TIFF; export it as a PNG")
    else:
        _check_tiff(data, name)


def _check_png(data: bytes, name: str) -> None:
    metadata = packed = 0
    for count, (kind, content) in enumerate(_png_chunks(data)):
        metadata += len(content)
        packed += kind in PACKED_TEXTS
        _refuse_beyond(MAX_PNG_CHUNKS, count, name, "chunks")
        _refuse_beyond(MAX_PNG_PACKED_TEXTS, packed, name, "packed texts")
        _refuse_beyond(MAX_METADATA_BYTES, metadata, name, "bytes of metadata")
        if kind == b"eXIf":
            _check_tiff(content, name)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk; the pixels' contents are left out."""
    position = len(PNG_MAGIC)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, b"" if kind == b"IDAT" else data[position + 8 : position + 8 + length]
        position += 12 + length


def _check_jpeg(data: bytes, name: str) -> None:
    # Within a scan FF is followed by 00, so the marker is found there only where a further scan begins.
    _refuse_beyond(MAX_JPEG_SCANS, data.count(bytes([FILL, START_OF_SCAN])), name, "scans")
    exif = b""
    for position, content in jpeg_segments(data):
        _refuse_beyond(MAX_METADATA_BYTES, position, name, "bytes of metadata")
        if content.startswith(EXIF_HEAD):
            exif += content[len(EXIF_HEAD) :]
        elif content.startswith(MULTI_PICTURE_HEAD):
            _check_tiff(content[len(MULTI_PICTURE_HEAD) :], name)
    _check_tiff(exif.removeprefix(EXIF_HEAD), name)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each segment of a JPEG before its first scan ends, and its content; the file's end without a scan."""
    position = 2
    while 0 <= position < len(data) - 3:
        marker = data[position + 1]
        if marker == START_OF_SCAN:
            return
        _, _, handler = JpegImagePlugin.MARKER.get(FILL << 8 | marker, (None, None, None))
        end = position + (1 if marker == FILL else 2)
        content = b""
        if handler is not None:
            (length,) = struct.unpack_from(">H", data, end)
            content = data[end + 2 : end + length]
            end += max(length, 2)
        yield end, content
        position = data.find(FILL, end)
    yield len(data), b""


def _check_tiff(data: bytes, name: str) -> None:
    if not data.startswith(TIFF_MAGICS):
        return
    metadata = numbers = 0
    for kind, count in _Tiff(data).tags():
        metadata += count if kind in RAW_TIFF_TYPES else 0
        numbers += count if kind not in RAW_TIFF_TYPES else 0
        _refuse_beyond(MAX_METADATA_BYTES, metadata, name, "bytes of metadata")
        _refuse_beyond(MAX_TAG_NUMBERS, numbers, name, "numbers in its tags")


class _Tiff:
    """The directories of a TIFF, or of what EXIF makes of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data.startswith(b"II") else ">"
        self._big = data[2:3] == b"+"

    def tags(self) -> Iterator[tuple[int, int]]:
        """Type and number of values of each tag that a decoder will look at."""
        yield from self._tags_at(8 if self._big else 4, DEEPEST_SUBDIRECTORY)

    def _tags_at(self, pointer: int, depth: int) -> Iterator[tuple[int, int]]:
        try:
            (directory,) = self._read("Q" if self._big else "I", pointer)
            (entries,) = self._read("Q" if self._big else "H", directory)
            yield TIFF_LONG, entries
            for index in range(entries):
                yield from self._entry(directory, index, depth)
        except struct.error:
            return  # cut short, or pointing nowhere

    def _entry(self, directory: int, index: int, depth: int) -> Iterator[tuple[int, int]]:
        position = directory + (8 + 20 * index if self._big else 2 + 12 * index)
        tag, kind, count = self._read("HHQ" if self._big else "HHI", position)
        yield kind, count
        if tag in SUBDIRECTORIES and depth:
            yield from self._tags_at(position + (12 if self._big else 8), depth - 1)

    def _read(self, layout: str, position: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, self._data, position)


def _refuse_beyond(limit: int, got: int, name: str, what: str) -> None:
    if got > limit:
        raise ImageError(
            f"{name}: more than {limit} {what}, which no X-ray needs; save it again as a plain PNG"
        )
