"""What is known of how a file's stored values became gray; part of a grade's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rescale:
    """output = slope * stored value + intercept."""

    kind: Literal["RESCALE"]
    slope: float
    intercept: float


@dataclass(frozen=True)
class LookupTable:
    """`entries` values of `bits` bits; the first stands for the input `first`, and for anything below."""

    kind: Literal["LUT"]
    entries: int
    first: int
    bits: int


@dataclass(frozen=True)
class Window:
    """Which values become black to white (PS3.3, C.11.2.1)."""

    kind: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
    center: float
    width: float


@dataclass(frozen=True)
class Grayscale:
    """The grayscale transformations of a DICOM file (PS3.4, N.2), in the order in which they were done.

    Attributes
    ----------
    transfer_syntax : its UID.
    photometric : MONOCHROME1 or MONOCHROME2.
    bits_stored, signed : the stored values.
    padding : lowest and highest stored value that is no part of the picture and was shown black.
    modality : the Modality LUT, None when there is none.
    voi : the VOI LUT; None when there is none, and the whole range was shown.
    inverted : whether black and white were swapped at the end, over the whole range.
    """

    transfer_syntax: str
    photometric: str
    bits_stored: int
    signed: bool
    padding: tuple[int, int] | None
    modality: Rescale | LookupTable | None
    voi: Window | LookupTable | None
    inverted: bool
