"""As much of protobuf's wire format as reading and writing a card inside an ONNX file takes, without its library.

https://protobuf.dev/programming-guides/encoding. Broken bytes raise `IndexError`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Buffer = bytes | mmap.mmap

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
"""Wire types; groups are no longer written."""
FIXED_BYTES = {FIXED_64: 8, FIXED_32: 4}
ONNX_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""onnx.proto: the messages on the way to every tensor, by the number of their field."""
DATA_LOCATION, EXTERNAL = 14, 1
"""TensorProto's field, and its value for values in another file."""


class Field(NamedTuple):
    """One field: its number and wire type, where it and its payload begin, and where both end."""

    number: int
    wire: int
    start: int
    payload: int
    end: int


def write_field(number: int, payload: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return write_varint(number << 3 | BYTES) + write_varint(len(payload)) + payload


def write_varint(value: int) -> bytes:
    """A whole number, 7 bits in a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def read_varint(data: Buffer, position: int) -> tuple[int, int]:
    """(value, position after it)."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise IndexError(position)


def read_fields(data: Buffer, start: int, end: int) -> Iterator[Field]:
    """The fields of the message that lies from `start` to `end`."""
    while start < end:
        tag, payload = read_varint(data, start)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise IndexError(start)  # no such field: a file of zeros, as a full disk leaves
        if wire == VARINT:
            after = read_varint(data, payload)[1]
        elif wire == BYTES:
            length, payload = read_varint(data, payload)
            after = payload + length
        elif wire in FIXED_BYTES:
            after = payload + FIXED_BYTES[wire]
        else:
            raise IndexError(start)
        if after > end:
            raise IndexError(after)
        yield Field(number, wire, start, payload, after)
        start = after


def has_external_data(data: Buffer, end: int) -> bool:
    """Whether a tensor of the ONNX model in the first `end` bytes has its values in another file."""
    messages = [("model", 0, end)]
    while messages:
        kind, start, stop = messages.pop()
        for field in read_fields(data, start, stop):
            is_location = kind == "tensor" and field.number == DATA_LOCATION
            if is_location and read_varint(data, field.payload)[0] == EXTERNAL:
                return True
            inner = ONNX_MESSAGES[kind].get(field.number)
            if inner and field.wire == BYTES:
                messages.append((inner, field.payload, field.end))
    return False
