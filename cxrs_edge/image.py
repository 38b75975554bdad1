"""Bytes of an image file -> `GrayImage`."""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from cxrs_edge.dicom import is_dicom
from cxrs_edge.errors import CxrsError, ImageError
from cxrs_edge.extras import import_extra
from cxrs_edge.grayscale import Grayscale

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
"""Pillow's names; its JPEG reader opens MPO, a phone's JPEG with a preview behind it, as well."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MAX_BYTES = 100_000_000
MAX_PIXELS = 64_000_000
"""Three times the largest flat-panel detectors (about 20 megapixels)."""
MIN_SIDE = 64
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
MAGIC = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive",
    b"GIF8": "a GIF",
    b"RIFF": "a WebP",
    b"\x89PNG": "a damaged PNG",
    b"\xff\xd8\xff": "a damaged JPEG",
    b"BM": "a damaged BMP",
    b"II*\0": "a damaged or unusual TIFF",
    b"MM\0*": "a damaged or unusual TIFF",
}
"""First bytes -> what a file is that Pillow could not open."""

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


def check_bytes(data: bytes, *, name: str) -> None:
    """Refuse what is empty or larger than any X-ray; raises `ImageError`."""
    if not data:
        raise ImageError(f"{name}: empty file; expected a PNG, JPEG, TIFF, BMP or DICOM image")
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
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_header(image, name)
        _check_pixel_format(image, data, name)
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        width, height = image.size
        if at_least is not None and kind == "JPEG":
            image.draft(image.mode, (at_least, at_least))
        image.load()
        sideways = image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
        ImageOps.exif_transpose(image, in_place=True)
        size = image.size
        if kind == "JPEG":  # the header's size, since the pixels may be fewer
            size = (height, width) if sideways else (width, height)
        pixels, notes = _to_gray(image, name)
        return GrayImage(pixels=pixels, name=name, format=kind, size=size, notes=notes)


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
    bits, white_is_zero = 8, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        white_is_zero = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    elif image.format == "PNG":
        bits = data[24]  # the header's bit depth, always at this place
    gray = image.mode.startswith(("I", "F"))
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


def _to_gray(image: Image.Image, name: str) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], tuple[str, ...]]:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16), ()
    if image.mode == "I":
        return _narrow(np.asarray(image), name), ()
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels; expected 8 or 16 bit integers")
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L")), ()
    notes: tuple[str, ...] = ()
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            notes += ("transparent areas were set to black",)
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    red, green, blue = (np.asarray(channel) for channel in rgb.split())
    if not (np.array_equal(red, green) and np.array_equal(green, blue)):
        notes += ("colour image, turned to gray",)
    return np.asarray(rgb.convert("L")), notes


def _narrow(pixels: NDArray[np.int32], name: str) -> NDArray[np.uint16]:
    """32 bit integers are taken when they hold no more than 16 bit values, as some exporters write them."""
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise ImageError(f"{name}: pixel values {low} to {high}; expected 8 or 16 bit (0 to 65535)")
    return pixels.astype(np.uint16)


def _what_it_is(data: bytes, name: str) -> str:
    expected = "expected a PNG, JPEG, TIFF, BMP or DICOM image"
    what = next((what for magic, what in MAGIC.items() if data.startswith(magic)), "not an image")
    return f"{name}: {what}; {expected}"
