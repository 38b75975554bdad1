"""A DICOM file's attributes as the types that they should have, and the one error for what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

_STANDARD = """
CR DX RG DR CT MR MG US NM PT XA RF OT SC SR PR KO IO PX ES GM SM XC HD ECG RTIMAGE
MONOCHROME1 MONOCHROME2 RGB PALETTE COLOR YBR_FULL YBR_FULL_422 YBR_RCT YBR_ICT ARGB CMYK
AP PA LL RL LLD RLD LLO RLO LAO RAO LPO RPO LAT LATERAL OBLIQUE AXIAL DECUBITUS LORDOTIC FRONTAL ML MLO CC SWIMMERS
LEFT RIGHT SUPINE ERECT PORTABLE VIEW AND
CHEST THORAX LUNG RIBS RIB STERNUM CLAVICLE SHOULDER SCAPULA ABDOMEN PELVIS HIP SPINE CSPINE TSPINE LSPINE SSPINE
SKULL HEAD NECK JAW ZYGOMA ARM ELBOW FOREARM WRIST HAND FINGER FEMUR LEG KNEE TIBIA FIBULA ANKLE FOOT TOE HEEL
BREAST HEART EXTREMITY COCCYX SACRUM WHOLEBODY BODY WHOLE
"""
"""Modalities, photometric interpretations, views, body parts: PS3.3 C.7.3.1.1.1, C.7.6.3.1.2, C.8.11.5; PS3.16 L."""
_CODES = frozenset(_STANDARD.split())
"""What messages may repeat. Anything else that stands in a field for codes may have been typed in: a name, say."""
_MAX_SEQUENCE_BYTES = 4_000_000
"""Dozens of lookup tables; pydicom needs seconds for the half million empty items that fit in as well."""


class Refusal(Exception):
    """What is wrong, what was expected and the fix; the reader puts the file's name in front.

    Never holds free text of the file, because that may name the patient: only the standard's own codes
    and names, and numbers.
    """


def words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of a text attribute, in capitals and stripped; none if it is absent or empty."""
    value: Any = dataset.get(keyword)
    values: Iterable[Any] = [value] if value is None or isinstance(value, str) else _as_list(value)
    texts = (str(item).strip("\0 ").upper() for item in values if item is not None)
    return tuple(text for text in texts if text)


def word(dataset: Dataset, keyword: str) -> str:
    """The first value of a text attribute, in capitals and stripped; empty if it is absent."""
    return next(iter(words(dataset, keyword)), "")


def shown(code: str) -> str:
    """A code as a message may show it: what isn't one of the standard's own is not repeated."""
    return code if _CODES.issuperset(code.split()) else "(not a standard code)"


def uid_name(value: str) -> str:
    """The standard's name of a UID; empty if it has none."""
    name = UID(value).name
    return "" if name == value else name


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of a numeric attribute; none if it is absent or empty. Raises `Refusal` for another type."""
    value: Any = dataset.get(keyword)
    if value is None or value == "":
        return ()
    try:
        return tuple(float(item) for item in _as_list(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise Refusal(f"{keyword} is no number; export it again") from error


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """The first value of an integer attribute; raises `Refusal` when there is none and no default."""
    values = numbers(dataset, keyword)
    if not values and default is not None:
        return default
    if not values or not values[0].is_integer():
        raise Refusal(f"{keyword} is missing or no integer; expected a whole DICOM image; export it again")
    return int(values[0])


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence; None if there is none. Raises `Refusal` for one that is far too long."""
    if keyword not in dataset:
        return None
    raw: Any = dataset.get_item(keyword)
    if isinstance(raw.value, bytes) and len(raw.value) > _MAX_SEQUENCE_BYTES:
        raise Refusal(
            f"{keyword} of {len(raw.value)} bytes; expected at most {_MAX_SEQUENCE_BYTES}; export it again"
        )
    sequence = dataset[keyword].value
    return sequence[0] if sequence else None


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
