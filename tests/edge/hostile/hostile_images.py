"""The table of image files that are broken, mean, or merely unusual: how each is made, and what is said of it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from image_bytes import encode, png, png_chunk, png_rows, tiff
from PIL import Image, TiffImagePlugin

WIDTH, HEIGHT = 80, 72
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
PIXELS = ((3 * X + 2 * Y) % 256).astype(np.uint8)
DEEP = (X * 523 + Y * 101).astype(np.uint16)
GRAY = Image.fromarray(PIXELS)
COLOUR = Image.fromarray(np.dstack([PIXELS, PIXELS.T.reshape(HEIGHT, WIDTH), 255 - PIXELS]))
PNG, JPEG = encode(GRAY, "PNG"), encode(GRAY, "JPEG")
LARGE_JPEG = encode(GRAY.resize((640, 576)), "JPEG")


class ImageCase(NamedTuple):
    """A file, and what is said of it: the reason why it is refused, or the one note of its grade."""

    name: str
    make: Callable[[], bytes]
    says: str


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A good PNG with more chunks after its header."""
    extra = b"".join(png_chunk(kind, content) for kind, content in chunks)
    return png((WIDTH, HEIGHT), 8, 0, png_rows(PIXELS), extra)


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """A good JPEG with more segments before all others."""
    extra = b"".join(
        struct.pack(">BBH", 0xFF, kind, len(content) + 2) + content for kind, content in segments
    )
    return JPEG[:2] + extra + JPEG[2:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose header lies."""
    data = bytearray(LARGE_JPEG)
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_many_scans() -> bytes:
    """Each scan costs a few bytes here, and the decoder a pass over the whole picture."""
    data = encode(GRAY, "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + 300 * data[start:-2] + data[-2:]


def packed_text(kind: bytes, megabytes: int, char: bytes = b"x") -> tuple[bytes, bytes]:
    text = zlib.compress(char * (megabytes * 1_000_000 // len(char)))
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    return kind, head + text


def ifd(*entries: tuple[int, int, int, int], next_directory: int = 0, rest: bytes = b"") -> bytes:
    """A TIFF without a picture, as EXIF is one."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(entries))
        + packed
        + struct.pack("<I", next_directory)
        + rest
    )


def bmp(width: int, height: int, *, compression: int = 0, colours: int = 0, rest: bytes = b"") -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, colours, 0)
    offset = 14 + 40 + 4 * (colours or 256)
    return (
        b"BM"
        + struct.pack("<IHHI", offset + len(rest), 0, 0, offset)
        + info
        + bytes(4 * (colours or 256))
        + rest
    )


def zip_with(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, PNG)
    return buffer.getvalue()


def turned(value: int) -> bytes:
    """A PNG whose EXIF orientation is `value`."""
    return png_with((b"eXIf", ifd((274, 3, 1, value))))


def animated(file_format: str) -> bytes:
    return encode(GRAY, file_format, save_all=True, append_images=[GRAY.rotate(180)])


def tagged(tag: int, value: object) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = value
    return encode(GRAY, "TIFF", tiffinfo=tags)


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


UP = int.from_bytes(b"up", "little")
NIFTI = struct.pack("<I", 348) + bytes(340) + b"n+1\0" + bytes(1000)
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
FLOATS = DEEP.astype("<f4")
NANS = np.where(X % 2 == 0, np.float32("nan"), np.float32("inf")).astype("<f4")

REFUSED = [
    ImageCase("empty", lambda: b"", "empty file; expected a PNG"),
    ImageCase("one byte", lambda: b"\x89", "not an image"),
    ImageCase("text", lambda: b"no image\n" * 50, "not an image"),
    ImageCase("zeros", lambda: bytes(100_000), "not an image"),
    # -- other formats with an image's suffix
    ImageCase("web page", lambda: HTML, "a web page; expected a PNG"),
    ImageCase("PDF", lambda: encode(GRAY, "PDF"), "a PDF; expected a PNG"),
    ImageCase("DICOM", lambda: bytes(128) + b"DICM" + bytes(200), "DICOM"),
    ImageCase("NIfTI", lambda: NIFTI, "a NIfTI file"),
    ImageCase("gzip", lambda: b"\x1f\x8b\x08\0" + bytes(50), "a gzip archive"),
    ImageCase("zip", lambda: zip_with("scan.png"), "a zip archive"),
    ImageCase("zip behind a PNG's first bytes", lambda: PNG[:8] + zip_with("scan.png"), "a damaged PNG"),
    ImageCase("GIF", lambda: animated("GIF"), "a GIF"),
    ImageCase("WebP", lambda: animated("WEBP"), "a WebP"),
    # -- shape
    ImageCase("1 x 1", lambda: encode(Image.new("L", (1, 1)), "PNG"), "1 x 1 pixels; expected at least 64"),
    ImageCase("strip", lambda: encode(Image.new("L", (2000, 64)), "PNG"), "2000 x 64 pixels, a strip"),
    ImageCase("no width", lambda: png((0, 100), 8, 0, b""), "damaged"),
    ImageCase("animated PNG", lambda: animated("PNG"), "several frames or pages"),
    ImageCase("pages of a TIFF", lambda: animated("TIFF"), "several frames or pages"),
    # -- headers that claim a lot
    ImageCase(
        "PNG 60000 x 60000", lambda: png((60_000, 60_000), 8, 0, b"\0"), "its header claims a huge image"
    ),
    ImageCase("PNG 2^31", lambda: png((2**31 - 1,) * 2, 16, 0, b"\0"), "its header claims a huge image"),
    ImageCase("PNG 9000 x 9000", lambda: png((9000, 9000), 8, 0, b"\0"), "expected at most 64 megapixels"),
    ImageCase("PNG 8000 x 8000 in colour", lambda: png((8000, 8000), 8, 2, b"\0"), "take 256 MB to decode"),
    ImageCase("JPEG 65500 x 65500", lambda: jpeg_of_size(65500, 65500), "its header claims a huge image"),
    ImageCase(
        "JPEG taller than it is", lambda: jpeg_of_size(640, 1200), "its data ends before the picture does"
    ),
    ImageCase("BMP 60000 x 60000", lambda: bmp(60_000, 60_000), "its header claims a huge image"),
    ImageCase("TIFF 60000 x 60000", lambda: tiff(PIXELS, changed={256: 60_000, 257: 60_000}), "huge image"),
    ImageCase("TIFF tile of 60000 x 60000", lambda: changed_tiles(60_000), "MB to decode"),
    # -- pixels that would be read wrongly
    ImageCase("float TIFF", lambda: tiff(FLOATS, sample_format=3), "floating-point pixels"),
    ImageCase("NaN and infinity TIFF", lambda: tiff(NANS, sample_format=3), "floating-point pixels"),
    ImageCase("64 bit TIFF", lambda: tiff(DEEP.astype("<f8"), sample_format=3), "a damaged or unusual TIFF"),
    ImageCase(
        "16 bit colour TIFF", lambda: tiff(np.dstack([DEEP] * 3), photometric=2), "16 bit pixels in colour"
    ),
    ImageCase("16 bit colour PNG", lambda: png((40, 72), 16, 2, b""), "40 x 72 pixels; expected at least 64"),
    ImageCase("16 bit TIFF, white is 0", lambda: tiff(DEEP, photometric=0), "16 bit TIFF where 0 is white"),
    ImageCase("negative TIFF", lambda: tiff(-DEEP.astype("<i4"), sample_format=2), "pixel values -"),
    ImageCase(
        "fax TIFF", lambda: encode(GRAY.convert("1"), "TIFF", compression="group4"), "compressed as group4"
    ),
    ImageCase("LZMA TIFF", lambda: encode(GRAY, "TIFF", compression="lzma"), "compressed as lzma"),
    ImageCase(
        "run-length BMP", lambda: bmp(80, 80, compression=1, rest=b"\0\1"), "a run-length compressed BMP"
    ),
    # -- PNG chunks
    ImageCase("PNG without chunks", lambda: PNG[:8], "a damaged PNG"),
    ImageCase("PNG with a short header", lambda: PNG[:8] + png_chunk(b"IHDR", b"\0\0"), "damaged image"),
    ImageCase("PNG with a wrong checksum", lambda: changed(PNG, PNG[29:33], b"\0\1\2\3"), "damaged"),
    ImageCase("zlib bomb in zTXt", lambda: png_with(packed_text(b"zTXt", 20)), "damaged image"),
    ImageCase("zlib bomb in iTXt", lambda: png_with(packed_text(b"iTXt", 20)), "damaged image"),
    ImageCase("zlib bomb in iCCP", lambda: png_with(packed_text(b"iCCP", 20)), "damaged image"),
    ImageCase(
        "60 MB of packed texts",
        lambda: png_with(*[packed_text(b"iTXt", 1, "𒀀".encode())] * 60),
        "more than 16 packed texts",
    ),
    ImageCase(
        "9 MB of texts", lambda: png_with(*[(b"tEXt", b"k\0" + bytes(10**6))] * 9), "bytes of metadata"
    ),
    ImageCase("150,000 chunks", lambda: png_with(*[(b"tIME", b"")] * 150_000), "more than 100000 chunks"),
    ImageCase("PNG whose pixels are no zlib", lambda: changed(PNG, PNG[41:60], bytes(19)), "damaged"),
    # -- JPEG segments
    ImageCase("JPEG without a scan", lambda: JPEG[: JPEG.index(b"\xff\xda")], "damaged"),
    ImageCase("JPEG of 300 scans", jpeg_of_many_scans, "more than 200 scans"),
    ImageCase(
        "9 MB of EXIF", lambda: jpeg_with(*[(0xE1, b"Exif\0\0" + bytes(60_000))] * 150), "bytes of metadata"
    ),
    ImageCase("10 MB of nothing", lambda: JPEG[:20] + bytes(10**7) + JPEG[20:], "bytes of metadata"),
    ImageCase(
        "EXIF of a million numbers",
        lambda: jpeg_with((0xE1, b"Exif\0\0" + ifd((700, 3, 1_000_000, 8)))),
        "numbers in its tags",
    ),
    ImageCase(
        "EXIF directory that is its own subdirectory",
        lambda: png_with((b"eXIf", ifd(*[(34665, 4, 1, 8)] * 4000))),
        "numbers in its tags",
    ),
    ImageCase(
        "preview list of a million numbers",
        lambda: jpeg_with((0xE2, b"MPF\0" + ifd((45056, 4, 1_000_000, 8)))),
        "numbers in its tags",
    ),
    # -- TIFF directories
    ImageCase("TIFF without tags", lambda: ifd(), "a damaged or unusual TIFF"),
    ImageCase("TIFF pointing behind its end", lambda: b"II*\0\xff\xff\xff\x7f", "a damaged or unusual TIFF"),
    ImageCase("TIFF strip outside the file", lambda: tiff(PIXELS, changed={273: 10**9}), "damaged image"),
    ImageCase("TIFF tile outside the file", lambda: changed_tiles(80, offset=10**9), "damaged image"),
    ImageCase(
        "TIFF of a million strips", lambda: tiff(PIXELS, entries=[(273, 4, 10**6, 8)]), "numbers in its tags"
    ),
    ImageCase(
        "TIFF profile of 2 GB", lambda: tiff(PIXELS, entries=[(34675, 7, 2**31, 8)]), "bytes of metadata"
    ),
    ImageCase(
        "BigTIFF in reverse", lambda: b"MM\0+\0\x08\0\0" + bytes(100), "a BigTIFF with its bytes in reverse"
    ),
    ImageCase("BigTIFF of 2^60 tags", lambda: big_tiff_of(2**60), "numbers in its tags"),
]

UNUSUAL = [
    ImageCase("1 bit", lambda: encode(GRAY.convert("1"), "PNG"), ""),
    ImageCase("interlaced", lambda: INTERLACED, ""),
    ImageCase("16 bit, most significant byte first", lambda: tiff(DEEP.astype(">u2"), order=">"), ""),
    ImageCase("32 bit integers", lambda: tiff(DEEP.astype("<i4"), sample_format=2), ""),
    ImageCase("CMYK", lambda: encode(COLOUR.convert("CMYK"), "JPEG"), "colour image, turned to gray"),
    ImageCase("256 colours", lambda: encode(COLOUR.convert("P"), "PNG"), "colour image, turned to gray"),
    ImageCase(
        "transparent", lambda: encode(half_transparent(), "PNG"), "transparent areas were set to black"
    ),
    ImageCase("upside down BMP", lambda: bmp(80, -72, rest=bytes(80 * 72)), ""),
    ImageCase("orientation 6", lambda: turned(6), ""),
    ImageCase("orientation 99", lambda: turned(99), ""),
    ImageCase("orientation in words", lambda: png_with((b"eXIf", ifd((274, 2, 3, UP)))), ""),
    ImageCase(
        "garbage as colour profile", lambda: encode(GRAY, "JPEG", icc_profile=bytes(range(256)) * 9), ""
    ),
    ImageCase("garbage as EXIF", lambda: jpeg_with((0xE1, b"Exif\0\0" + bytes(range(256)) * 9)), ""),
    ImageCase("EXIF pointing outside", lambda: png_with((b"eXIf", b"II*\0\xff\xff\xff\xff")), ""),
    ImageCase("a hundred texts", lambda: png_with(*[(b"tEXt", b"dicom:0010,0010\0a name")] * 100), ""),
    ImageCase("a second JPEG behind it", lambda: JPEG + JPEG, ""),
    ImageCase("a zip behind it", lambda: PNG + zip_with("scan.png"), ""),
    ImageCase("TIFF directory loop", lambda: tiff(PIXELS, next_directory=8), ""),
    ImageCase("TIFF with an odd tag", lambda: tagged(65000, "private"), ""),
]
"""Graded, since their pixels are certain; a name that says another format never matters."""


def half_transparent() -> Image.Image:
    image = GRAY.convert("LA")
    image.putalpha(Image.fromarray(np.where(X < 40, 0, 255).astype(np.uint8)))
    return image


def changed_tiles(side: int, offset: int = 8) -> bytes:
    """An LZW-compressed TIFF that says that it has one tile."""
    tile = {322: side, 323: side, 324: offset, 325: 100, 259: 5}
    return tiff(PIXELS, changed=tile)


def big_tiff_of(entries: int) -> bytes:
    one = struct.pack("<HHQQ", 256, 4, 1, 80)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, entries) + one * 250_000


def interlaced_png() -> bytes:
    """All seven passes of a black picture (PNG specification, 8.2)."""
    steps = [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)]
    starts = [(0, 0), (4, 0), (0, 4), (2, 0), (0, 2), (1, 0), (0, 1)]
    rows = b""
    for (dx, dy), (x, y) in zip(steps, starts, strict=True):
        rows += bytes(1 + -(-(WIDTH - x) // dx)) * -(-(HEIGHT - y) // dy)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 1))
    return PNG[:8] + header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


INTERLACED = interlaced_png()
