"""Bytes of a DICOM file -> `GrayImage`. Imported only when a file is one, since pydicom is an extra."""

from __future__ import annotations

import io
import zlib

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cxrs_edge.dicom.acceptance import check_gradable
from cxrs_edge.dicom.decode import check_pixel_format, decode
from cxrs_edge.dicom.grayscale import to_display
from cxrs_edge.dicom.refusal import Refusal
from cxrs_edge.errors import CxrsError, ImageError
from cxrs_edge.image import GrayImage

MAX_INFLATED = 250_000_000
"""Bytes of a deflated data set: twice the largest picture."""


def read_dicom(data: bytes, *, name: str) -> GrayImage:
    """Decode a DICOM chest X-ray to what a viewer shows: uint8, bright = dense.

    Raises `ImageError` for what is damaged, no frontal chest X-ray, or not for presentation; `MissingDependency`
    when its compression needs a package that isn't installed. No message holds free text of the file.
    """
    try:
        dataset = _parse(data)
        notes = check_gradable(dataset)
        pixel_format = check_pixel_format(dataset)
        stored = decode(dataset, pixel_format)
        display = to_display(stored, dataset, pixel_format)
    except Refusal as refusal:
        raise ImageError(f"{name}: {refusal}") from refusal
    except (CxrsError, MemoryError):
        raise
    except Exception as error:  # pydicom raises nearly anything on hostile bytes, and quotes the file's text.
        reason = f"damaged DICOM file ({type(error).__name__})"
        raise ImageError(f"{name}: {reason}; copy it again from where it was made") from None
    height, width = display.pixels.shape
    return GrayImage(
        pixels=display.pixels,
        name=name,
        format="DICOM",
        size=(width, height),
        notes=notes + display.notes,
        grayscale=display.grayscale,
    )


def _parse(data: bytes) -> FileDataset:
    _check_inflated_size(data)
    # `force` takes data sets without the prefix, which `is_dicom` has looked at.
    return pydicom.dcmread(io.BytesIO(data), force=True)


def _check_inflated_size(data: bytes) -> None:
    """pydicom inflates without a limit, so that 100 kB could take all memory."""
    file = io.BytesIO(data)
    file.seek(132 if data[128:132] == b"DICM" else 0)
    meta: Dataset = read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2
    )
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflater.decompress(file.read(), MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise Refusal(f"inflates to more than {MAX_INFLATED // 1_000_000} MB; export it uncompressed")
    if not inflater.eof:
        raise Refusal("its deflated data set ends too early; copy it again from where it was made")
