"""Bytes of an image file -> `GrayImage`."""

from __future__ import annotations

import importlib
import io
import os
import stat
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from cxrs_edge.decoding_cost import as_tiff, check_cost
from cxrs_edge.dicom import is_dicom
from cxrs_edge.errors import CxrsError, ImageError
from cxrs_edge.extras import import_extra
from cxrs_edge.gray import SIDEWAYS, UPRIGHT, to_gray
from cxrs_edge.grayscale import Grayscale
from cxrs_edge.jpeg_end import check_end
from cxrs_edge.structure import check_structure

FORMATS = ("PNG", "JPEG", "BMP")
"""Pillow's names; its JPEG reader opens MPO, a phone's JPEG with a preview behind it, as well."""
TIFF_BEGINNINGS = (b"II", b"MM")
"""Little and big endian. Pillow's reader of TIFFs is only imported for them: it takes as long as decoding does."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MAX_BYTES = 100_000_000
MAX_PIXELS = 64_000_000
"""Three times the largest flat-panel detectors (about 20 megapixels)."""
MIN_SIDE = 64
TIFF_COMPRESSIONS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "jpeg")
"""Others aren't met in X-rays, and their decoders are seldom tried."""
MAGIC = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"GIF8": "a GIF",
    b"RIFF": "a WebP",
    b"\x89PNG": "a damaged PNG",
    b"\xff\xd8\xff": "a damaged JPEG",
    b"BM": "a damaged BMP",
    b"II*\0": "a damaged or unusual TIFF",
    b"MM\0*": "a damaged or unusual TIFF",
}
"""First bytes -> what a file is that Pillow could not open."""

BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")

# Warning filters belong to the whole process, so changing them for a moment is not safe in several threads
# at once. One image at a time also bounds the memory that large files take.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, eq=False)
class GrayImage:
    """One decoded X-ray.

    Attributes
    ----------
    pixels : uint8 or uint16, H x W, full bit depth, upright (EXIF rotation applied), bright = dense.
    name : what to call it in messages.
    format : container format, for example ``PNG`` or ``DICOM``.
    size : width and height in pixels of the file, before any reduced decoding, after rotation.
    notes : what a reader of the grade should know about how it was read.
    grayscale : how stored values became gray, for DICOM only; other files are shown as they are.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    name: str
    format: str
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    grayscale: Grayscale | None = None


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a whole regular file of at most `MAX_BYTES` bytes; raises `ImageError`."""
    try:
        # Opening a FIFO would wait for its writer forever, so look before opening.
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path}: not a regular file; expected an image file")
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{path}: can't be read: {reason}") from error
    check_bytes(data, name=str(path))
    return data


def begins_as_image(head: bytes) -> bool:
    """Whether a file's first bytes are those of a PNG, JPEG, TIFF or BMP image."""
    # Two letters alone would also begin a text; a BMP's reserved field is 0.
    return head.startswith(BEGINNINGS) or (head.startswith(b"BM") and head[6:10] == bytes(4))


def check_bytes(data: bytes, *, name: str) -> None:
    """Refuse what is empty or larger than any X-ray; raises `ImageError`."""
    if not data:
        raise ImageError(f"{name}: empty file; expected a PNG, JPEG, TIFF, BMP or DICOM image; copy it again")
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"{name}: larger than {MAX_BYTES // 1_000_000} MB; expected one X-ray; export it smaller"
        )


def read_image(data: bytes, *, name: str, at_least: int | None = None) -> GrayImage:
    """Decode a PNG, JPEG, TIFF, BMP or DICOM file to gray.

    Parameters
    ----------
    data : the file's bytes; what they are is read from them, never from the name.
    name : what to call the image in messages.
    at_least : if given, a JPEG may be decoded at a half, quarter or eighth of its scale as long as both
        sides keep this many pixels.

    Raises
    ------
    ImageError : not an image, truncated, too small or large, several frames, floating-point pixels; a DICOM file
        that is no frontal chest X-ray.
    MissingDependency : a DICOM file, and the extra ``dicom`` isn't installed.
    """
    check_bytes(data, name=name)
    with _one_at_a_time, warnings.catch_warnings():
        # Pillow warns of large headers and odd metadata; our own limits below decide.
        warnings.simplefilter("ignore")
        try:
            return _decode_dicom(data, name) if is_dicom(data) else _decode(data, name, at_least)
        except (CxrsError, MemoryError):
            raise
        except UnidentifiedImageError as error:
            raise ImageError(_what_it_is(data, name)) from error
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: its header claims a huge image ({error})") from error
        except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes.
            reason = str(error) or type(error).__name__
            raise ImageError(f"{name}: damaged image: {reason}; export or copy it again") from error


def _decode_dicom(data: bytes, name: str) -> GrayImage:
    import_extra("pydicom", "dicom")
    from cxrs_edge.dicom.reader import read_dicom

    return read_dicom(data, name=name)


def _decode(data: bytes, name: str, at_least: int | None) -> GrayImage:
    check_structure(data, name=name)
    with Image.open(io.BytesIO(data), formats=_formats(data)) as image:
        _check_header(image, name)
        _check_pixel_format(image, data, name)
        _check_compression(image, name)
        is_jpeg = isinstance(image, JpegImageFile)
        whole = image.size
        if at_least is not None and is_jpeg:
            image.draft(image.mode, (at_least, at_least))
        check_cost(image, whole, name)
        image.load()
        width, height = whole if is_jpeg else image.size
        # Pillow itself turns a TIFF while it loads it, and forgets the orientation.
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        size = (height, width) if orientation in SIDEWAYS else (width, height)
        pixels, notes = to_gray(image, name)
        if is_jpeg:
            check_end(data, pixels, at_least, name)
        upright = UPRIGHT[orientation](pixels) if orientation in UPRIGHT else pixels
        kind = "JPEG" if is_jpeg else str(image.format)
        return GrayImage(pixels=upright, name=name, format=kind, size=size, notes=notes)


def _formats(data: bytes) -> tuple[str, ...]:
    if not data.startswith(TIFF_BEGINNINGS):
        return FORMATS
    # Asked for a format whose reader isn't imported, Pillow would import all that it has.
    importlib.import_module("PIL.TiffImagePlugin")
    return ("TIFF",)


def _check_header(image: Image.Image, name: str) -> None:
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {size}; expected at most {MAX_PIXELS // 1_000_000} megapixels; export it smaller"
        )
    if min(image.width, image.height) < MIN_SIDE:
        raise ImageError(f"{name}: {size}; expected at least {MIN_SIDE} a side")
    # A phone's MPO holds a preview beside the photograph; the first frame is the image.
    # (Counting the pages of a TIFF would walk through all of them.)
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ImageError(f"{name}: several frames or pages; expected one X-ray in a file")


def _check_pixel_format(image: Image.Image, data: bytes, name: str) -> None:
    """Refuse what Pillow would read wrongly without a word."""
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels; expected 8 or 16 bit integers")
    bits, white_is_zero = 8, False
    if (tiff := as_tiff(image)) is not None:
        bits = max(tiff.tag_v2.get(ExifTags.Base.BitsPerSample, (1,)))
        white_is_zero = tiff.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0
    elif image.format == "PNG":
        bits = data[24]  # the header's bit depth, always at this place
    gray = image.mode.startswith("I")
    if bits > 8 and not gray:
        # Pillow keeps the upper 8 bits, so that 12 bit values in a 16 bit file come out black.
        raise ImageError(
            f"{name}: {bits} bit pixels in colour or with transparency; expected 16 bit gray without "
            "transparency, or 8 bit; export it so"
        )
    if white_is_zero and gray:
        # Pillow turns these round in 8 bit files only.
        raise ImageError(
            f"{name}: {bits} bit TIFF where 0 is white; expected 0 to be black; export it as a 16 bit PNG"
        )


def _check_compression(image: ImageFile, name: str) -> None:
    """Refuse what isn't met in X-rays, and whose decoders are slow or seldom tried."""
    if as_tiff(image) is not None and image.info["compression"] not in TIFF_COMPRESSIONS:
        kind = image.info["compression"]
        raise ImageError(
            f"{name}: a TIFF compressed as {kind}; expected LZW, Deflate, PackBits, JPEG or none; "
            "export it as a PNG"
        )
    if any(codec == "bmp_rle" for codec, *_ in image.tile):
        raise ImageError(f"{name}: a run-length compressed BMP; expected a plain one; export it as a PNG")


def _what_it_is(data: bytes, name: str) -> str:
    expected = "expected a PNG, JPEG, TIFF, BMP or DICOM image"
    if data[344:348] in (b"n+1\0", b"ni1\0"):
        return f"{name}: a NIfTI file; {expected}; export one slice as a 16 bit PNG"
    what = next((what for magic, what in MAGIC.items() if data.startswith(magic)), "not an image")
    return f"{name}: {what}; {expected}; export it as one of these"
