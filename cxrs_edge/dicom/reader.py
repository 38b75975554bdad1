"""Bytes of a DICOM file -> `GrayImage`. Imported only when a file is one, since pydicom is an extra."""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cxrs_edge.dicom.acceptance import check_gradable
from cxrs_edge.dicom.attributes import Refusal
from cxrs_edge.dicom.decode import check_pixel_format, decode
from cxrs_edge.dicom.grayscale import to_display
from cxrs_edge.errors import CxrsError, ImageError
from cxrs_edge.image import GrayImage

MAX_INFLATED = 250_000_000
"""Bytes of a deflated data set: twice the largest picture."""
MAX_READS = 200_000
"""pydicom reads an attribute in two or three pieces; an X-ray has some hundred attributes."""


Accept = Callable[[Dataset], tuple[str, ...]]
"""Looks at a data set, raises `Refusal` or returns notes."""


def read_dicom(data: bytes, *, name: str, accept: Accept | None = None, stretch: bool = False) -> GrayImage:
    """Decode a DICOM chest X-ray to what a viewer shows: uint8, bright = dense.

    `accept` decides which files are read: by default frontal chest X-rays for presentation. `stretch` makes the
    darkest pixel of a picture of more than 8 bits black and the brightest white, which no viewer does.
    Not for several threads at once, since it silences pydicom meanwhile; `cxrs_edge.image.read_image` takes care.

    Raises `ImageError` for what is damaged, no frontal chest X-ray, or not for presentation; `MissingDependency`
    when its compression needs a package that isn't installed. No message holds free text of the file.
    """
    try:
        with _silence():
            return _read(data, name, accept or check_gradable, stretch)
    except Refusal as refusal:
        raise ImageError(f"{name}: {refusal}") from refusal
    except (CxrsError, MemoryError):
        raise
    except Exception as error:  # pydicom raises nearly anything on hostile bytes, and quotes the file's text.
        reason = f"damaged DICOM file ({type(error).__name__})"
        raise ImageError(f"{name}: {reason}; copy it again from where it was made") from None


def _read(data: bytes, name: str, accept: Accept, stretch: bool) -> GrayImage:
    dataset = _parse(data)
    notes = accept(dataset)
    pixel_format = check_pixel_format(dataset)
    display = to_display(decode(dataset, pixel_format), dataset, pixel_format, stretch=stretch)
    return GrayImage(
        pixels=display.pixels,
        name=name,
        format="DICOM",
        size=(pixel_format.columns, pixel_format.rows),
        notes=notes + display.notes,
        grayscale=display.grayscale,
    )


@contextmanager
def _silence() -> Iterator[None]:
    """pydicom logs what it finds odd together with the value, which may be the patient's name."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


class _FewReads(io.BytesIO):
    """A file that can be read so often as an X-ray needs it: millions of tiny attributes would take minutes."""

    _left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise Refusal("far too many attributes; expected one X-ray; export it again")
        return super().read(size)


def _parse(data: bytes) -> FileDataset:
    file = _FewReads(data)
    file.seek(132 if data[128:132] == b"DICM" else 0)
    meta: Dataset = read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2
    )
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        # `force` takes data sets without the prefix, which `is_dicom` has looked at.
        return pydicom.dcmread(file, force=True)
    inflated = _FewReads(_inflate(file.read()))
    dataset = read_dataset(inflated, is_implicit_VR=False, is_little_endian=True)
    whole = FileDataset(
        inflated, dataset, file_meta=pydicom.dataset.FileMetaDataset(meta), is_implicit_VR=False
    )
    whole.set_original_encoding(False, True, None)
    return whole


def _inflate(data: bytes) -> bytes:
    """As pydicom does, which however knows no limit, so that 100 kB could take all memory."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise Refusal(f"inflates to more than {MAX_INFLATED // 1_000_000} MB; export it uncompressed")
    if not inflater.eof:
        raise Refusal("its deflated data set ends too early; copy it again from where it was made")
    return inflated
