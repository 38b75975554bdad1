"""What is fuzzed, and what must hold whatever the bytes are: the default tests and `make fuzz` share both.

A target takes any bytes. It lets no error out but those that it finds: anything but a `CxrsError` of the code
under test, an `AssertionError` for an answer that breaks what the docstrings promise.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from cxrs_edge.card import parse_card
from cxrs_edge.errors import CxrsError, ImageError, ModelError
from cxrs_edge.image import MAX_PIXELS, MIN_SIDE, GrayImage, read_image
from cxrs_edge.model_file import read_model_file
from cxrs_edge.prepare import InputSpec, pixels_needed, prepare

NAME = "fuzzed"
SPEC = InputSpec(size=48)
LONGEST_MESSAGE = 1000


def fuzz_image(data: bytes) -> None:
    """Bytes to pixels; in the full size and in a reduced one."""
    for at_least in (None, pixels_needed(SPEC)):
        try:
            image = read_image(data, name=NAME, at_least=at_least)
            check_image(image, at_least)
            pixels = prepare(image, SPEC)
        except ImageError as error:
            check_error(error)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape == (1, SPEC.size, SPEC.size, SPEC.channels)


def fuzz_png(data: bytes) -> None:
    """The same after mending the checksums, behind which nothing else would ever be reached."""
    fuzz_image(mend_checksums(data))


def fuzz_card(data: bytes) -> None:
    """Text to a card, and back again."""
    try:
        card = parse_card(data, name=NAME)
    except ModelError as error:
        check_error(error)
    else:
        assert parse_card(card.to_json().encode(), name=NAME) == card


def fuzz_model(data: bytes) -> None:
    """A file to its card, whose hash must be right."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            model = read_model_file(file.name)
        except ModelError as error:
            check_error(error, file.name)
        else:
            assert model.path == Path(file.name)
            assert model.card.sha256 == hashlib.sha256(data[: model.card.base_bytes]).hexdigest()


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "png": fuzz_png,
    "jpeg": fuzz_image,
    "tiff": fuzz_image,
    "bmp": fuzz_image,
    "card": fuzz_card,
    "model": fuzz_model,
}


def check_image(image: GrayImage, at_least: int | None) -> None:
    """What `GrayImage` promises."""
    height, width = image.pixels.shape
    assert image.pixels.dtype in (np.uint8, np.uint16)
    assert image.format in ("PNG", "JPEG", "TIFF", "BMP")
    assert min(image.size) >= MIN_SIDE
    assert image.size[0] * image.size[1] <= MAX_PIXELS
    reduced = at_least is not None and image.format == "JPEG"
    assert (width, height) == image.size or (reduced and min(width, height) >= min(at_least, *image.size))
    assert all(note.isprintable() for note in image.notes)


def check_error(error: CxrsError, name: str = NAME) -> None:
    """It names its subject, and is no flood."""
    message = str(error)
    assert message.startswith(f"{name}: ")
    assert len(message) < LONGEST_MESSAGE
    json.dumps(message)


def mend_checksums(data: bytes) -> bytes:
    """A PNG with the checksum that each of its chunks should have, as far as its lengths lead."""
    mended, position = bytearray(data), 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(mended)
