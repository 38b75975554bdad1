"""Transfer syntax x bit depth x photometric interpretation x LUT: the pixels are those that dcmtk shows."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import uid

from cxrs_edge.image import GrayImage, read_image

from .conftest import Render, encode, lut_item, new_dataset, stored_values

LEVEL = 1 / 255
DEPTHS = [(8, False), (10, False), (12, False), (12, True), (14, False), (16, False), (16, True)]
PHOTOMETRIC = ["MONOCHROME1", "MONOCHROME2"]


@dataclass(frozen=True)
class Case:
    """A way to describe the gray levels: attributes, dcmtk's options for it, how far both may be apart."""

    attributes: Callable[[int, int], dict[str, Any]]
    options: tuple[str, ...]
    apart: float
    notes: tuple[str, ...] = field(default=())


def window(low: int, count: int, **more: Any) -> dict[str, Any]:
    return {"WindowCenter": low + count * 2 // 5, "WindowWidth": count // 2, **more}


def rescaled(low: int, count: int) -> dict[str, Any]:
    center = 2 * (low + count // 2) - 100
    return {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": center, "WindowWidth": count}


def curve(count: int, bits: int) -> NDArray[Any]:
    return (np.linspace(0, 1, count // 2) ** 2 * (2**bits - 1)).astype(np.int64)


# dcmtk cuts where this rounds, and scales whole ranges by powers of two (255 of 8 bits becomes 65280 of 16), so that
# both are up to one level of 256 apart when no window is involved, and half a level (the rounding to 8 bits) else.
HALF, ONE = 0.51 * LEVEL, 1.0 * LEVEL
NO_VOI = ("no window or VOI LUT in the file: its whole range of values was shown",)
LUTS: Mapping[str, Case] = {
    "none": Case(lambda _low, _count: {}, (), ONE, NO_VOI),
    "linear": Case(window, ("+Wi", "1"), HALF),
    "sigmoid": Case(lambda low, n: window(low, n, VOILUTFunction="SIGMOID"), ("+Wi", "1"), HALF),
    "narrowest": Case(lambda low, n: {"WindowCenter": low + n // 2, "WindowWidth": 1}, ("+Wi", "1"), HALF),
    "rescale": Case(rescaled, ("+Wi", "1"), HALF),
    "slope below 0": Case(lambda _low, n: {"RescaleSlope": -1, "RescaleIntercept": n}, (), ONE, NO_VOI),
    "voi lut": Case(
        lambda low, n: {"VOILUTSequence": [lut_item(low + n // 4, 10, curve(n, 10))]}, ("+Wl", "1"), ONE
    ),
    "voi lut of 8 bits": Case(
        lambda low, n: {"VOILUTSequence": [lut_item(low + n // 4, 8, curve(n, 8))]}, ("+Wl", "1"), ONE
    ),
    "modality lut": Case(
        lambda low, n: {
            "ModalityLUTSequence": [lut_item(low + n // 4, 12, curve(n, 12))],
            "WindowCenter": 1800,
            "WindowWidth": 3000,
        },
        ("+Wi", "1"),
        HALF,
    ),
}


def described(bits: int, signed: bool, photometric: str, lut: str) -> pydicom.Dataset:
    low = -(2 ** (bits - 1)) if signed else 0
    attributes = LUTS[lut].attributes(low, 2**bits)
    return new_dataset(stored_values(bits, signed), bits, PhotometricInterpretation=photometric, **attributes)


@functools.cache
def uncompressed(bits: int, signed: bool, photometric: str, lut: str) -> GrayImage:
    return read(encode(described(bits, signed, photometric, lut)))


def read(data: bytes) -> GrayImage:
    return read_image(data, name="scan")


every_depth = pytest.mark.parametrize(("bits", "signed"), DEPTHS)
every_photometric = pytest.mark.parametrize("photometric", PHOTOMETRIC)
every_lut = pytest.mark.parametrize("lut", LUTS)


@every_depth
@every_photometric
@every_lut
def test_pixels_are_those_that_dcmtk_shows(
    bits: int, signed: bool, photometric: str, lut: str, render_by_dcmtk: Render
) -> None:
    image = uncompressed(bits, signed, photometric, lut)
    reference = render_by_dcmtk(encode(described(bits, signed, photometric, lut)), *LUTS[lut].options)
    apart = np.abs(image.pixels / 255 - reference / 65535)
    assert apart.max() <= LUTS[lut].apart
    assert image.notes == LUTS[lut].notes
    assert image.grayscale is not None
    assert image.grayscale.inverted == (photometric == "MONOCHROME1")


# -- transfer syntaxes ----------------------------------------------------------------------------


def unsigned(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """The bits of signed values, which is how JPEG keeps them."""
    dtype = f"u{values.dtype.itemsize}"
    return values.view(dtype) & np.array(2**bits - 1, dtype)


def jpeg_lossless(values: NDArray[Any], bits: int, predictor: int = 1) -> bytes:
    plain = unsigned(values, bits)
    return imagecodecs.jpeg8_encode(plain, lossless=True, bitspersample=bits, predictor=predictor)


def jpeg_ls(values: NDArray[Any], bits: int) -> bytes:
    return imagecodecs.jpegls_encode(unsigned(values, bits))


def jpeg_2000(values: NDArray[Any], bits: int) -> bytes:
    return imagecodecs.jpeg2k_encode(values, codecformat="j2k", level=0, reversible=True, bitspersample=bits)


def htj2k(values: NDArray[Any], bits: int) -> bytes:  # noqa: ARG001
    return imagecodecs.htj2k_encode(values, reversible=True)


def rle(values: NDArray[Any], bits: int) -> bytes:
    dataset = new_dataset(values, bits)
    encode(dataset)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    return pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)


LOSSLESS: Mapping[str, Callable[[NDArray[Any], int], bytes] | None] = {
    uid.ImplicitVRLittleEndian: None,
    uid.ExplicitVRBigEndian: None,
    uid.DeflatedExplicitVRLittleEndian: None,
    uid.RLELossless: rle,
    uid.JPEGLossless: functools.partial(jpeg_lossless, predictor=6),
    uid.JPEGLosslessSV1: jpeg_lossless,
    uid.JPEGLSLossless: jpeg_ls,
    uid.JPEG2000Lossless: jpeg_2000,
    uid.JPEG2000: jpeg_2000,
    uid.HTJ2KLossless: htj2k,
}


@functools.cache
def frame(syntax: str, bits: int, signed: bool) -> bytes | None:
    encoder = LOSSLESS[syntax]
    return None if encoder is None else encoder(stored_values(bits, signed), bits)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: uid.UID(syntax).keyword)
@every_depth
@every_photometric
@every_lut
def test_lossless_syntaxes_give_the_same_pixels(
    syntax: str, bits: int, signed: bool, photometric: str, lut: str
) -> None:
    dataset = described(bits, signed, photometric, lut)
    image = read(encode(dataset, syntax, frame(syntax, bits, signed)))
    expected = uncompressed(bits, signed, photometric, lut)
    np.testing.assert_array_equal(image.pixels, expected.pixels)
    assert image.notes == expected.notes
    assert image.grayscale is not None
    assert image.grayscale.transfer_syntax == syntax
    assert (image.grayscale.bits_stored, image.grayscale.signed) == (bits, signed)


def smooth(bits: int) -> NDArray[Any]:
    """What a lossy codec keeps well."""
    y, x = np.mgrid[0:72, 0:88]
    return ((np.sin(x / 30) * np.cos(y / 40) + 1) / 2 * (2**bits - 1)).astype("u1" if bits == 8 else "u2")


@pytest.mark.parametrize(
    ("program", "options", "bits", "viewer"),
    [
        ("dcmcjpeg", ("+eb",), 8, "dcmj2pnm"),
        ("dcmcjpeg", ("+ee",), 8, "dcmj2pnm"),
        ("dcmcjpeg", ("+ee",), 12, "dcmj2pnm"),
        ("dcmcjpeg", ("+el",), 16, "dcmj2pnm"),
        ("dcmcjpeg", ("+e1",), 12, "dcmj2pnm"),
        ("dcmcjpls", ("+el",), 12, "dcml2pnm"),
        ("dcmcjpls", ("+en", "+md", "2"), 12, "dcml2pnm"),
        ("dcmcrle", (), 16, "dcmj2pnm"),
    ],
)
def test_what_dcmtk_compresses_looks_as_dcmtk_shows_it(
    program: str,
    options: tuple[str, ...],
    bits: int,
    viewer: str,
    recode_by_dcmtk: Callable[..., bytes],
    render_by_dcmtk: Render,
) -> None:
    low, count = 0, 2**bits
    data = recode_by_dcmtk(encode(new_dataset(smooth(bits), bits, **window(low, count))), program, *options)
    reference = render_by_dcmtk(data, "+Wi", "1", program=viewer)
    # The inverse cosine transforms of two JPEG decoders differ by a step of the stored values, twice a step here.
    lossy = "+eb" in options or "+ee" in options
    apart = np.abs(read(data).pixels / 255 - reference / 65535)
    assert apart.max() <= HALF + (4 / count if lossy else 0)


@pytest.mark.parametrize(
    ("name", "viewer"),
    [
        ("CT_small.dcm", "dcmj2pnm"),
        ("MR_small.dcm", "dcmj2pnm"),
        ("MR_small_implicit.dcm", "dcmj2pnm"),
        ("MR_small_bigendian.dcm", "dcmj2pnm"),
        ("MR_small_RLE.dcm", "dcmj2pnm"),
        ("MR_small_jpeg_ls_lossless.dcm", "dcml2pnm"),
        ("JPGExtended.dcm", "dcmj2pnm"),
        ("image_dfl.dcm", "dcmj2pnm"),
    ],
)
def test_pydicoms_files_look_as_dcmtk_shows_them(
    name: str, viewer: str, pydicom_file: Callable[[str], bytes], render_by_dcmtk: Render
) -> None:
    data = as_chest_xray(pydicom_file(name))
    image = read(data)
    windowed = image.grayscale is not None and image.grayscale.voi is not None
    reference = render_by_dcmtk(data, *(("+Wi", "1") if windowed else ()), program=viewer)
    assert np.abs(image.pixels / 255 - reference / 65535).max() <= (HALF if windowed else ONE)


@pytest.mark.parametrize(
    "name",
    ["MR_small_jp2klossless.dcm", "693_J2KI.dcm", "JPEG2000.dcm", "J2K_pixelrep_mismatch.dcm"],
)
def test_pydicoms_jpeg_2000_files_are_decoded_as_by_pillow(
    name: str, pydicom_file: Callable[[str], bytes]
) -> None:
    data = as_chest_xray(pydicom_file(name))
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.pixel_array_options(decoding_plugin="pillow")
    values = dataset.pixel_array.astype(np.float64)
    bits, low = dataset.BitsStored, -(2 ** (dataset.BitsStored - 1)) * dataset.PixelRepresentation
    image = read(data)
    assert image.grayscale is not None
    if image.grayscale.voi is None:
        expected = np.rint((values - low) / (2**bits - 1) * 255)
    else:
        slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        shown = pydicom.pixels.apply_windowing(values * slope + intercept, dataset)
        expected = np.rint((shown - low) / (2**bits - 1) * 255)
    np.testing.assert_allclose(image.pixels, expected, atol=1)


def as_chest_xray(data: bytes) -> bytes:
    """Another modality's file with its pixels and gray levels, but a chest X-ray's description."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = (
        uid.DigitalXRayImageStorageForPresentation
    )
    dataset.Modality, dataset.ViewPosition, dataset.BodyPartExamined = "DX", "AP", "CHEST"
    for keyword in ("PresentationLUTShape", "PixelPaddingValue", "NumberOfFrames"):
        if keyword in dataset:
            del dataset[keyword]
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()
