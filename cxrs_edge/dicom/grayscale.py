"""Stored values -> gray: Modality LUT, VOI LUT, inversion (PS3.4, N.2), done on a table of all stored values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrs_edge.dicom.attributes import Refusal, first_item, integer, numbers, word
from cxrs_edge.dicom.decode import PixelFormat, Stored
from cxrs_edge.dicom.lut import Lut, read_lut
from cxrs_edge.grayscale import Grayscale, LookupTable, Rescale, Window

FEW_GRAYS = 64
"""Levels of 256: a picture that spans fewer was probably meant to be shown with another window."""

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Display:
    """What a viewer shows: uint8, H x W, bright = dense; how it came about, and what is odd about it."""

    pixels: NDArray[np.uint8]
    grayscale: Grayscale
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Modality:
    """Output of the Modality LUT for each stored value, and the range that it could have."""

    values: Values
    low: float
    high: float
    applied: Rescale | LookupTable | None


def to_display(
    stored: Stored, dataset: Dataset, pixel_format: PixelFormat, *, stretch: bool = False
) -> Display:
    """Transform stored values to gray. Raises `Refusal` for a LUT or window that can't be used.

    `stretch` makes the darkest pixel of a picture of more than 8 bits black and the brightest white.
    """
    inputs = _all_stored_values(pixel_format)
    little_endian = dataset.original_encoding[1] is not False
    modality = _apply_modality(inputs, dataset, little_endian)
    fraction, voi = _apply_voi(modality, dataset, little_endian)
    if stretch and pixel_format.bits > 8:
        fraction = _stretched(fraction, stored)
    photometric, inverted = word(dataset, "PhotometricInterpretation"), _is_inverted(dataset)
    table = np.rint(255 * (1 - fraction if inverted else fraction)).astype(np.uint8)
    padding = _padding(dataset, pixel_format)
    is_padding = _within(inputs, padding)
    table[is_padding] = 0
    grayscale = Grayscale(
        transfer_syntax=pixel_format.syntax,
        photometric=photometric,
        bits_stored=pixel_format.bits,
        signed=pixel_format.signed,
        padding=padding,
        modality=modality.applied,
        voi=voi,
        inverted=inverted,
    )
    notes = (*_note_choices(dataset, voi), *_note_span(stored, table, is_padding))
    return Display(table[stored], grayscale, notes)


def _stretched(fraction: Values, stored: Stored) -> Values:
    occurring = fraction[np.unique(stored)]
    low, high = occurring.min(), occurring.max()
    return np.clip((fraction - low) / (high - low), 0, 1) if high > low else fraction


def _all_stored_values(pixel_format: PixelFormat) -> Values:
    values = np.arange(2**pixel_format.bits, dtype=np.float64)
    if pixel_format.signed:
        values[values >= 2 ** (pixel_format.bits - 1)] -= 2**pixel_format.bits
    return values


def _apply_modality(inputs: Values, dataset: Dataset, little_endian: bool) -> _Modality:
    item = first_item(dataset, "ModalityLUTSequence")
    if item is not None:
        lut = read_lut(item, signed=bool(inputs.min() < 0), little_endian=little_endian)
        return _Modality(lut.apply(inputs), 0, lut.highest, lut.table)
    slopes, intercepts = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if not slopes and not intercepts:
        return _Modality(inputs, inputs.min(), inputs.max(), None)
    slope, intercept = (*slopes, 1.0)[0], (*intercepts, 0.0)[0]
    values = slope * inputs + intercept
    if not 0 < values.max() - values.min() < np.inf:  # NaN is refused too
        raise Refusal(
            f"Rescale Slope {slope:g}, Intercept {intercept:g}; expected finite ones, the slope not 0; "
            "export it again"
        )
    return _Modality(values, values.min(), values.max(), Rescale("RESCALE", slope, intercept))


def _apply_voi(
    modality: _Modality, dataset: Dataset, little_endian: bool
) -> tuple[Values, Window | LookupTable | None]:
    """The shown brightness, 0 to 1, of each stored value."""
    item = first_item(dataset, "VOILUTSequence")
    if item is not None:
        # The manufacturer's own curve, where the window beside it is a straight line.
        lut: Lut = read_lut(item, signed=modality.low < 0, little_endian=little_endian)
        return lut.apply(modality.values) / lut.highest, lut.table
    window = _first_window(dataset)
    if window is not None:
        return _apply_window(modality.values, window), window
    return (modality.values - modality.low) / (modality.high - modality.low), None


def _first_window(dataset: Dataset) -> Window | None:
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if not centers or not widths:
        return None
    center, width = centers[0], widths[0]
    function: Any = word(dataset, "VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise Refusal(
            "an unknown VOI LUT Function; expected LINEAR, LINEAR_EXACT or SIGMOID; export it again"
        )
    usable = width >= 1 if function == "LINEAR" else width > 0
    if not usable or not np.isfinite([center, width]).all():
        least = "at least 1" if function == "LINEAR" else "above 0"
        raise Refusal(f"Window Center {center:g}, Width {width:g}; expected a width {least}; export it again")
    return Window(function, center, width)


def _apply_window(values: Values, window: Window) -> Values:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3, with an output range of 0 to 1."""
    center, width = window.center, window.width
    if window.kind == "SIGMOID":
        # tanh is the logistic function that can't overflow.
        return (1 + np.tanh(2 * (values - center) / width)) / 2
    if window.kind == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _is_inverted(dataset: Dataset) -> bool:
    """MONOCHROME1 and shape INVERSE say the same thing (PS3.3, C.8.11.3.1.2): together they invert once.

    Where they contradict each other the shape decides, as in dcmtk and dcm4che.
    """
    shape = word(dataset, "PresentationLUTShape")
    if shape in ("INVERSE", "IDENTITY"):
        return shape == "INVERSE"
    return word(dataset, "PhotometricInterpretation") == "MONOCHROME1"


def _padding(dataset: Dataset, pixel_format: PixelFormat) -> tuple[int, int] | None:
    """Stored values from Pixel Padding Value to Pixel Padding Range Limit, whichever is lower (C.7.5.1.1.2)."""
    if not numbers(dataset, "PixelPaddingValue"):
        return None
    value = integer(dataset, "PixelPaddingValue")
    limit = integer(dataset, "PixelPaddingRangeLimit", default=value)
    # Written as US by some although the pixels are signed, or the other way round.
    first, last = (_as_stored(number, pixel_format) for number in (value, limit))
    return min(first, last), max(first, last)


def _as_stored(number: int, pixel_format: PixelFormat) -> int:
    if pixel_format.signed and number >= 2 ** (pixel_format.bits - 1):
        return int(number - 2**pixel_format.allocated)
    return number


def _within(inputs: Values, padding: tuple[int, int] | None) -> NDArray[np.bool_]:
    if padding is None:
        return np.zeros(inputs.shape, np.bool_)
    return (inputs >= padding[0]) & (inputs <= padding[1])


def _note_choices(dataset: Dataset, voi: Window | LookupTable | None) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    windows, luts = len(numbers(dataset, "WindowCenter")), len(dataset.get("VOILUTSequence") or ())
    if voi is None:
        notes += ("no window or VOI LUT in the file: its whole range of values was shown",)
    elif isinstance(voi, LookupTable) and windows:
        notes += ("the file has a window and a VOI LUT; the VOI LUT was used",)
    count = luts if isinstance(voi, LookupTable) else windows
    if count > 1:
        notes += (f"{count} {'VOI LUTs' if luts else 'windows'} in the file; the first was used",)
    inverted = _is_inverted(dataset)
    if inverted != (word(dataset, "PhotometricInterpretation") == "MONOCHROME1"):
        notes += (
            "Photometric Interpretation and Presentation LUT Shape contradict each other; the picture "
            f"was {'inverted' if inverted else 'not inverted'}, as the latter says",
        )
    return notes


def _note_span(stored: Stored, table: NDArray[np.uint8], is_padding: NDArray[np.bool_]) -> tuple[str, ...]:
    occurs = np.zeros(table.shape, np.bool_)
    occurs[stored] = True
    shown = table[occurs & ~is_padding]
    if not shown.size:
        raise Refusal("every pixel is padding; expected an X-ray; export it again")
    span = int(shown.max()) - int(shown.min()) + 1
    if span < FEW_GRAYS:
        return (f"the picture spans only {span} of 256 gray levels; look at it with `cxrs-edge show`",)
    return ()
