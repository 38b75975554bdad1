"""Lookup tables of a DICOM file: Modality LUT Sequence and VOI LUT Sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrs_edge.dicom.attributes import Refusal, numbers
from cxrs_edge.grayscale import LookupTable


@dataclass(frozen=True, eq=False)
class Lut:
    """A lookup table: what it is, and its values, int64 of shape (entries,)."""

    table: LookupTable
    values: NDArray[np.int64]

    @property
    def highest(self) -> int:
        """The largest value that its bits can hold."""
        return int(2**self.table.bits - 1)

    def apply(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look inputs up; those before the table give its first value, those after it the last."""
        places = np.clip(np.rint(inputs) - self.table.first, 0, self.table.entries - 1)
        outputs: NDArray[np.float64] = self.values[places.astype(np.int64)].astype(np.float64)
        return outputs


def read_lut(item: Dataset, *, signed: bool, little_endian: bool) -> Lut:
    """Read an item of a LUT sequence (PS3.3, C.11.1.1); `signed` says whether its inputs may be negative.

    pydicom's apply_voi and apply_modality_lut are not used: with tables of 8 bits the one wraps inputs above 255,
    and the other knows no depths but 8 and 16 (pydicom 3.0).
    """
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        raise Refusal("a lookup table without LUT Descriptor; export it again")
    # Some devices write these as US, others as SS, whatever the inputs are.
    entries = int(descriptor[0]) & 0xFFFF or 65536
    first, bits = int(descriptor[1]), int(descriptor[2])
    if signed and first > 32767:
        first -= 65536
    if not 8 <= bits <= 16:
        raise Refusal(f"a lookup table of {bits} bits; expected 8 to 16; export it again")
    values = _read_values(item, entries, bits, little_endian)
    if values.max() >= 2**bits:
        raise Refusal(
            f"a lookup table with values up to {values.max()}; expected {bits} bits; export it again"
        )
    return Lut(LookupTable("LUT", entries, first, bits), values)


def _read_values(item: Dataset, entries: int, bits: int, little_endian: bool) -> NDArray[np.int64]:
    data = item.get("LUTData")
    # An unsigned conversion, since US data may have been written as SS.
    raw = (
        data if isinstance(data, bytes) else (np.asarray(data).astype("<i8") & 0xFFFF).astype("<u2").tobytes()
    )
    order = "<" if little_endian or not isinstance(data, bytes) else ">"
    if len(raw) >= 2 * entries:
        return np.frombuffer(raw, f"{order}u2", entries).astype(np.int64)
    if bits == 8 and len(raw) >= entries:
        # Two entries in a word, the first in its low byte.
        words = np.frombuffer(raw[: len(raw) // 2 * 2], f"{order}u2").astype("<u2")
        packed = np.frombuffer(words.tobytes() + raw[len(raw) // 2 * 2 :], np.uint8, entries)
        return packed.astype(np.int64)
    raise Refusal(f"a lookup table of {len(raw)} bytes; expected {entries} entries; export it again")
