"""Pixel Data -> stored values, bounded by what the header says before anything is decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import get_frame

from cxrs_edge.dicom.attributes import Refusal, integer, shown, uid_name, word
from cxrs_edge.extras import import_extra
from cxrs_edge.image import MIN_SIDE

Stored = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 40_000_000
"""Twice the largest flat-panel detectors: stored values, shifted ones and the shown ones are in memory together."""
"""H x W: the bits of each stored value, without what else the file may keep beside them; signed ones are in
two's complement of that many bits."""
Codec = Literal["packbits", "jpeg8", "jpegls", "jpeg2k"]

NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian,
          uid.ExplicitVRBigEndian)  # fmt: skip
CODECS: dict[str, Codec] = {
    uid.RLELossless: "packbits",
    uid.JPEGBaseline8Bit: "jpeg8",
    uid.JPEGExtended12Bit: "jpeg8",
    uid.JPEGLossless: "jpeg8",
    uid.JPEGLosslessSV1: "jpeg8",
    uid.JPEGLSLossless: "jpegls",
    uid.JPEGLSNearLossless: "jpegls",
    uid.JPEG2000Lossless: "jpeg2k",
    uid.JPEG2000: "jpeg2k",
    uid.HTJ2KLossless: "jpeg2k",
    uid.HTJ2KLosslessRPCL: "jpeg2k",
    uid.HTJ2K: "jpeg2k",
}
"""Transfer syntax -> imagecodecs' name of what decodes it."""
END_OF_IMAGE = b"\xff\xd9"
PADDING = b"\0\xff"
"""What encoders put behind a compressed image to make its length even."""
RLE_SLACK = 256
"""Bytes that a run-length segment may unpack to beyond its pixels: its padding, read as a run."""
START_OF_FRAME = (0xC0, 0xC1, 0xC3, 0xF7)
"""Markers after which the size stands, of the processes that DICOM knows: baseline, extended and lossless JPEG
(ITU T.81, table B.1) and JPEG-LS (T.87). A progressive JPEG could hold a picture's pixels a thousand times."""
STANDALONE = (0x01, *range(0xD0, 0xD9))
"""Markers without a segment."""


@dataclass(frozen=True)
class PixelFormat:
    """How the stored values are kept (PS3.3, C.7.6.3): `bits` of `allocated`, the lowest at `shift`."""

    rows: int
    columns: int
    allocated: int
    bits: int
    shift: int
    signed: bool
    syntax: str


def check_pixel_format(dataset: FileDataset) -> PixelFormat:
    """Read the Image Pixel module; raises `Refusal` for what is too large, no gray or not decoded here."""
    photometric = word(dataset, "PhotometricInterpretation")
    samples = integer(dataset, "SamplesPerPixel", default=1)
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or samples != 1:
        kind = shown(photometric) if photometric else "no Photometric Interpretation"
        raise Refusal(
            f"{kind}, {samples} samples a pixel; expected MONOCHROME1 or 2 with one; export it in gray"
        )
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    _check_size(rows, columns)
    allocated, bits = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    high = integer(dataset, "HighBit", default=bits - 1)
    if allocated not in (8, 16) or not 8 <= bits <= allocated or not bits <= high + 1 <= allocated:
        raise Refusal(
            f"{bits} bits stored in {allocated} below bit {high}; expected 8 to 16 bits in 8 or 16; export it so"
        )
    syntax = _transfer_syntax(dataset)
    if syntax not in NATIVE and syntax not in CODECS:
        kind = uid_name(syntax) or "an unknown transfer syntax"
        raise Refusal(f"{kind} is not read; send or export it as Explicit VR Little Endian")
    signed = integer(dataset, "PixelRepresentation", default=0) == 1
    return PixelFormat(rows, columns, allocated, bits, high + 1 - bits, signed, syntax)


def decode(dataset: Dataset, pixel_format: PixelFormat) -> Stored:
    """Decode the one frame.

    Raises `Refusal` for damaged data and for a compressed image that disagrees with the header,
    `MissingDependency` without imagecodecs.
    """
    data: bytes = dataset.PixelData
    if pixel_format.syntax in NATIVE:
        raw = _native(data, dataset["PixelData"].VR, pixel_format)
    else:
        raw = _decompress(get_frame(data, 0, number_of_frames=1), pixel_format)
    mask = raw.dtype.type(2**pixel_format.bits - 1)
    # What else the file may keep in a word: overlays of old devices, copies of the sign.
    return cast(Stored, (raw >> pixel_format.shift if pixel_format.shift else raw) & mask)


def _check_size(rows: int, columns: int) -> None:
    size = f"{columns} x {rows} pixels"
    if rows * columns > MAX_PIXELS:
        raise Refusal(f"{size}; expected at most {MAX_PIXELS // 1_000_000} megapixels; export it smaller")
    if min(rows, columns) < MIN_SIDE:
        raise Refusal(f"{size}; expected at least {MIN_SIDE} a side; export it in full size")


def _transfer_syntax(dataset: FileDataset) -> str:
    stated = word(dataset.file_meta, "TransferSyntaxUID")
    if stated:
        return stated
    # Without file meta information only native pixels are possible; pydicom found out which by looking.
    implicit, little = dataset.original_encoding
    if implicit:
        return str(uid.ImplicitVRLittleEndian)
    return str(uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian)


def _native(data: bytes, vr: str, pixel_format: PixelFormat) -> Stored:
    count = pixel_format.rows * pixel_format.columns
    needed = count * pixel_format.allocated // 8
    if len(data) < needed:
        raise Refusal(f"{len(data)} bytes of pixels; expected {needed}; copy the whole file again")
    big = pixel_format.syntax == uid.ExplicitVRBigEndian
    if pixel_format.allocated == 8 and big and vr == "OW":
        # Two 8 bit pixels in a word whose bytes are swapped (PS3.5, annex D).
        words = np.frombuffer(data, ">u2", (count + 1) // 2)
        flat: NDArray[Any] = words.astype("<u2").view(np.uint8)[:count]
    else:
        flat = np.frombuffer(data, f"{'>' if big else '<'}u{pixel_format.allocated // 8}", count)
    native = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    return cast(Stored, native.reshape(pixel_format.rows, pixel_format.columns))


def _decompress(frame: bytes, pixel_format: PixelFormat) -> Stored:
    codec = CODECS[pixel_format.syntax]
    if pixel_format.shift:
        raise Refusal("compressed pixels that leave low bits unused; export it uncompressed")
    imagecodecs = import_extra("imagecodecs", "dicom")
    if codec == "packbits":
        return _unpack_rle(frame, pixel_format, imagecodecs.packbits_decode)
    _check_codestream(frame, codec, pixel_format)
    try:
        pixels: NDArray[Any] = getattr(imagecodecs, f"{codec}_decode")(frame)
    except (RuntimeError, ValueError) as error:  # imagecodecs' own errors are RuntimeErrors
        raise Refusal(f"damaged pixel data ({error}); copy it again from where it was made") from error
    if pixels.shape != (pixel_format.rows, pixel_format.columns) or pixels.dtype.itemsize > 2:
        raise Refusal(
            "compressed pixels that are not gray; expected one sample of at most 16 bits; export it so"
        )
    return cast(Stored, pixels.view(f"u{pixels.dtype.itemsize}"))


def _unpack_rle(frame: bytes, pixel_format: PixelFormat, unpack: Callable[..., Any]) -> Stored:
    """PS3.5, annex G: a segment for each byte of a pixel, the highest first; each is unpacked to what is promised."""
    count, planes = pixel_format.rows * pixel_format.columns, pixel_format.allocated // 8
    header = struct.unpack("<16I", frame[:64].ljust(64, b"\0"))
    if header[0] != planes:
        raise Refusal(
            f"damaged pixel data ({header[0]} run-length segments, expected {planes}); copy it again"
        )
    pixels = np.empty((count, planes), np.uint8)
    ends = (*header[2 : planes + 1], len(frame))
    for plane, (start, end) in enumerate(zip(header[1 : planes + 1], ends, strict=True)):
        try:
            unpacked = unpack(frame[start:end], out=count + RLE_SLACK)
        except (RuntimeError, ValueError) as error:
            raise Refusal(f"damaged pixel data ({error}); copy it again from where it was made") from error
        if len(unpacked) < count:
            raise Refusal("its compressed pixels end too early; copy the whole file again")
        pixels[:, plane] = np.frombuffer(unpacked, np.uint8, count)
    native = pixels.view(f">u{planes}").astype(f"u{planes}")
    return cast(Stored, native.reshape(pixel_format.rows, pixel_format.columns))


def _check_codestream(frame: bytes, codec: Codec, pixel_format: PixelFormat) -> None:
    """Codecs allocate what their own header claims, and fill what is missing at the end with gray."""
    size = _jpeg2000_size(frame) if codec == "jpeg2k" else _jpeg_size(frame)
    if size != (pixel_format.columns, pixel_format.rows):
        raise Refusal(
            f"compressed pixels of another kind or size than the header says; expected {pixel_format.columns} x "
            f"{pixel_format.rows} in gray; export it again"
        )
    if not frame.rstrip(PADDING).endswith(END_OF_IMAGE):
        raise Refusal("its compressed pixels end too early; copy the whole file again")


def _jpeg2000_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height of one component, by the SIZ segment, which must come first (ITU T.800, A.5.1)."""
    if len(frame) < 42 or frame[:4] != b"\xff\x4f\xff\x51":
        return None
    x1, y1, x0, y0 = struct.unpack(">4I", frame[8:24])
    return (x1 - x0, y1 - y0) if frame[40:42] == b"\0\1" else None


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height of one component, by the frame header, found along the segments (ITU T.81, B.1)."""
    place = 0
    while place + 10 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker in START_OF_FRAME:
            height, width, components = struct.unpack(">2HB", frame[place + 5 : place + 10])
            return (width, height) if components == 1 else None
        if marker == 0xFF:
            place += 1
        elif marker in STANDALONE:
            place += 2
        else:
            place += 2 + max(2, int.from_bytes(frame[place + 2 : place + 4], "big"))
    return None
