"""Gray levels by hand-computed values: windows, lookup tables, inversion, padding, odd ways to keep pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from cxrs_edge.grayscale import Grayscale, LookupTable, Rescale, Window
from cxrs_edge.image import GrayImage, read_image

from .conftest import encode, lut_item, new_dataset, stored_values

RAMP: NDArray[np.uint8] = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
"""Each stored value of 8 bits is its column."""


def read(data: bytes) -> GrayImage:
    return read_image(data, name="scan")


def row_of(syntax: str = uid.ExplicitVRLittleEndian, **attributes: Any) -> list[int]:
    """The gray levels of the stored values 0 to 255."""
    levels = read(encode(new_dataset(RAMP, 8, **attributes), syntax)).pixels
    assert (levels == levels[0]).all()
    return [int(level) for level in levels[0]]


def test_linear_window() -> None:
    # PS3.3, C.11.2.1.2.1: black up to 100 - 0.5 - 50.5 / 2 + ..., in all 51 values from 75 to 125.
    row = row_of(WindowCenter=100.5, WindowWidth=51)
    assert row[75] == 0
    assert row[76] == round(255 / 50)
    assert row[100] == 128  # 127.5, rounded to even
    assert row[124] == round(255 * 49 / 50)
    assert row[125] == 255


def test_linear_exact_window() -> None:
    row = row_of(WindowCenter=100, WindowWidth=50, VOILUTFunction="LINEAR_EXACT")
    assert (row[75], row[76], row[125]) == (0, 5, 255)


def test_sigmoid_window() -> None:
    row = row_of(WindowCenter=100, WindowWidth=50, VOILUTFunction="SIGMOID")
    assert row[100] == 128
    assert row[125] == round(255 / (1 + np.exp(-2)))
    assert row[50] == round(255 / (1 + np.exp(4)))


@settings(max_examples=60, deadline=None)
@given(
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    center=st.integers(-50, 300),
    width=st.integers(2, 400),
    inverted=st.booleans(),
)
def test_windows_are_those_of_pydicom(function: str, center: int, width: int, inverted: bool) -> None:
    attributes = {"WindowCenter": center, "WindowWidth": width, "VOILUTFunction": function}
    row = row_of(PhotometricInterpretation=f"MONOCHROME{1 if inverted else 2}", **attributes)
    shown = apply_windowing(np.arange(256), new_dataset(RAMP, 8, **attributes))
    np.testing.assert_allclose(row, 255 - shown if inverted else shown, atol=0.5 + 1e-9)


@pytest.mark.parametrize(
    ("attributes", "inverted"),
    [
        ({"PhotometricInterpretation": "MONOCHROME2"}, False),
        ({"PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}, False),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "IDENTITY"}, False),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "LIN OD"}, True),
    ],
)
def test_inversion_is_over_the_nominal_range_and_at_most_once(
    attributes: dict[str, Any], inverted: bool
) -> None:
    row = list(range(255, -1, -1)) if inverted else list(range(256))
    assert row_of(**attributes) == row
    # A picture that uses a part of the range only is inverted about the middle of the range, not of the part.
    dark = np.minimum(RAMP, 99)
    pixels = read(encode(new_dataset(dark, 8, **attributes))).pixels
    assert pixels.max() == (255 if inverted else 99)
    assert pixels.min() == (156 if inverted else 0)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("value", "limit"), [(250, None), (240, 255), (255, 240)])
def test_padding_is_shown_black(photometric: str, value: int, limit: int | None) -> None:
    first, last = (value, value) if limit is None else sorted((value, limit))
    row = row_of(PhotometricInterpretation=photometric, PixelPaddingValue=value, PixelPaddingRangeLimit=limit)
    plain = row_of(PhotometricInterpretation=photometric)
    assert row[:first] == plain[:first]
    assert row[first : last + 1] == [0] * (last - first + 1)
    assert row[last + 1 :] == plain[last + 1 :]


def test_padding_does_not_count_when_the_span_is_noted() -> None:
    flat = np.where(RAMP < 128, 200, 100).astype(np.uint8)
    assert "spans only 1 of 256" in read(encode(new_dataset(flat, 8, PixelPaddingValue=100))).notes[-1]
    assert len(read(encode(new_dataset(flat, 8))).notes) == 1


@pytest.mark.parametrize("written", [-2048, 65536 - 2048])
def test_padding_of_signed_pixels_may_be_written_as_unsigned(written: int) -> None:
    dataset = new_dataset(stored_values(12, signed=True), 12)
    dataset.add_new("PixelPaddingValue", "US" if written > 0 else "SS", written)
    image = read(encode(dataset))
    assert image.grayscale is not None
    assert image.grayscale.padding == (-2048, -2048)


@pytest.mark.parametrize("first", [0, 20, -20])
def test_lookup_tables_hold_their_ends(first: int) -> None:
    table = np.array([10, 20, 250, 30])
    row = row_of(VOILUTSequence=[lut_item(first, 8, table)])
    assert row == [int(table[np.clip(value - first, 0, 3)]) for value in range(256)]


def test_signed_values_begin_below_zero() -> None:
    values = stored_values(12, signed=True)
    assert list(values[0, :4]) == [-2048, -2047, 2046, 2047]
    pixels = read(encode(new_dataset(values, 12))).pixels
    np.testing.assert_array_equal(pixels, np.rint((values.astype(float) + 2048) / 4095 * 255))


@pytest.mark.parametrize("written", [-2048, 65536 - 2048])
def test_a_table_for_signed_values_may_be_written_as_unsigned(written: int) -> None:
    item = lut_item(0, 12, np.arange(4096))
    item.add_new("LUTDescriptor", "US" if written > 0 else "SS", [4096, written, 12])
    values = stored_values(12, signed=True)
    image = read(encode(new_dataset(values, 12, VOILUTSequence=[item])))
    np.testing.assert_array_equal(image.pixels, np.rint((values.astype(float) + 2048) / 4095 * 255))
    assert image.grayscale is not None
    assert image.grayscale.voi == LookupTable("LUT", 4096, -2048, 12)


def test_a_table_for_unsigned_values_may_begin_above_32767() -> None:
    values = stored_values(16)
    item = lut_item(40000, 8, np.arange(256))
    pixels = read(encode(new_dataset(values, 16, VOILUTSequence=[item]))).pixels
    np.testing.assert_array_equal(pixels, np.clip(values.astype(int) - 40000, 0, 255))


def test_a_table_without_entries_has_65536() -> None:
    item = lut_item(0, 16, np.arange(65536))
    assert item.LUTDescriptor[0] == 0
    dataset = new_dataset(stored_values(16), 16, VOILUTSequence=[item])
    np.testing.assert_array_equal(
        read(encode(dataset)).pixels, np.rint(stored_values(16) / 65535 * 255).astype(np.uint8)
    )


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("vr", ["US", "OW", "packed"])
def test_lookup_tables_in_every_representation(vr: str, syntax: str) -> None:
    table = np.arange(256)[::-1].copy()
    item = Dataset()
    item.LUTDescriptor = [256, 0, 8]
    if vr == "US":
        item.add_new("LUTData", "US", [int(value) for value in table])
    else:
        item.add_new("LUTData", "OW", table.astype("u1" if vr == "packed" else "<u2").tobytes())
    assert row_of(syntax, VOILUTSequence=[item]) == list(table)


def test_a_modality_lut_comes_before_the_window() -> None:
    table = np.array([0, 40, 80, 4095])
    row = row_of(
        ModalityLUTSequence=[lut_item(0, 12, table)],
        WindowCenter=40,
        WindowWidth=80,
        VOILUTFunction="LINEAR_EXACT",
    )
    assert row[:5] == [0, 128, 255, 255, 255]


def test_overlays_above_and_unused_bits_below_are_not_seen() -> None:
    values = stored_values(12)
    plain = read(encode(new_dataset(values, 12))).pixels
    with_overlay = new_dataset(values, 12)
    with_overlay.PixelData = (values | 0xF000).tobytes()
    shifted = new_dataset(values, 12, HighBit=15)
    shifted.PixelData = (values << 4 | 0x7).tobytes()
    for dataset in (with_overlay, shifted):
        dataset["PixelData"].VR = "OW"
        np.testing.assert_array_equal(read(encode(dataset)).pixels, plain)


def test_8_bits_in_16_are_8_bits() -> None:
    dataset = new_dataset(RAMP.astype(np.uint16), 8)
    np.testing.assert_array_equal(read(encode(dataset)).pixels, RAMP)


def test_the_grayscale_tells_what_was_done() -> None:
    dataset = new_dataset(
        stored_values(12, signed=True),
        12,
        PhotometricInterpretation="MONOCHROME1",
        RescaleSlope="0.5",
        RescaleIntercept=-3,
        WindowCenter=[10, 99],
        WindowWidth=[400, 3],
        PixelPaddingValue=-2048,
        PixelPaddingRangeLimit=-2000,
    )
    assert read(encode(dataset)).grayscale == Grayscale(
        transfer_syntax="1.2.840.10008.1.2.1",
        photometric="MONOCHROME1",
        bits_stored=12,
        signed=True,
        padding=(-2048, -2000),
        modality=Rescale("RESCALE", 0.5, -3.0),
        voi=Window("LINEAR", 10.0, 400.0),
        inverted=True,
    )


def test_the_grayscale_tells_of_lookup_tables() -> None:
    tables = {f"{kind}LUTSequence": [lut_item(-5, 10, np.arange(1024))] for kind in ("Modality", "VOI")}
    grayscale = read(encode(new_dataset(stored_values(12, signed=True), 12, **tables))).grayscale
    assert grayscale is not None
    assert grayscale.modality == LookupTable("LUT", 1024, -5, 10)
    assert grayscale.voi == LookupTable("LUT", 1024, -5, 10)
