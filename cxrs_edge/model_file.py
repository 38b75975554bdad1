"""The card inside a model file: appended to the bytes that the converter wrote.

TFLite: a zip after the flatbuffer, holding one file, ``card.json`` (a flatbuffer is read from its start, a zip
from its end). ONNX: one more ``metadata_props`` entry appended to the protobuf (concatenated protobuf messages
merge). So the converter's bytes stay as they were, and their hash needs no parser.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import zipfile
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cxrs_edge.card import MAX_JSON_BYTES, ModelCard, parse_card
from cxrs_edge.errors import ModelError
from cxrs_edge.protobuf import Buffer, has_external_data, read_fields, read_varint, write_field

Kind = Literal["tflite", "onnx"]

CARD_NAME = "card.json"
CARD_KEY = b"cxrs-edge.card"
TFLITE_MAGIC = b"TFL3"
ZIP_END, ZIP_END_BYTES = b"PK\x05\x06", 22
MAX_ZIP_BYTES = MAX_JSON_BYTES + 10_000
"""Room for a card that won't compress."""
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
METADATA, KEY, VALUE = 14, 1, 2
"""onnx.proto: ModelProto.metadata_props, and the fields of its StringStringEntryProto."""


@dataclass(frozen=True)
class ModelFile:
    """A model file whose card was read and whose hash was checked."""

    path: Path
    kind: Kind
    card: ModelCard


def with_card(base: bytes, card: ModelCard, kind: Kind) -> bytes:
    """Append a card to a converter's bytes; its `base_bytes` and `sha256` are filled in.

    Raises `ModelError` for a card that `read_model_file` would refuse, `ValueError` for NaN in it.
    """
    card = replace(card, base_bytes=len(base), sha256=hashlib.sha256(base).hexdigest())
    text = card.to_json().encode()
    parse_card(text, name=card.name)
    return base + (_zip_of(text) if kind == "tflite" else _metadata_of(text))


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Read the card of a ``.tflite`` or ``.onnx`` file and check the hash of the rest.

    Raises `ModelError` for what isn't a model file of ours, was cut short or changed after its export.
    """
    path = Path(path)
    try:
        # Opening a FIFO would wait for its writer forever, so look before opening.
        if not path.is_file():
            what = "not a regular file" if path.exists() else "no such file"
            raise ModelError(f"{path}: {what}; expected a .tflite or .onnx model")
        with path.open("rb") as file:
            if not file.read(1):
                raise ModelError(f"{path}: empty file; expected a .tflite or .onnx model")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(path, data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"{path}: can't be read: {reason}") from error


def _read(path: Path, data: Buffer) -> ModelFile:
    kind: Kind = "tflite" if data[4:8] == TFLITE_MAGIC else "onnx"
    found = _find_zip(data) if kind == "tflite" else _find_metadata(data)
    if found is None:
        raise ModelError(f"{path}: no model card at its end; expected a whole file from: cxrs-edge export")
    base_bytes, text = found
    card = parse_card(text, name=str(path))
    if card.base_bytes != base_bytes:
        raise ModelError(
            f"{path}: card field base_bytes: got {card.base_bytes}, but the model has {base_bytes} bytes; "
            "the file was changed or cut short; copy it again"
        )
    sha256 = hashlib.sha256(memoryview(data)[:base_bytes]).hexdigest()
    if card.sha256 != sha256:
        raise ModelError(
            f"{path}: card field sha256: got {card.sha256[:64]!r}, but the model's is {sha256}; "
            "the file was changed; copy it again"
        )
    if kind == "onnx":
        _refuse_external_data(path, data, base_bytes)
    return ModelFile(path=path, kind=kind, card=card)


def _refuse_external_data(path: Path, data: Buffer, base_bytes: int) -> None:
    try:
        if has_external_data(data, base_bytes):
            raise ModelError(
                f"{path}: keeps weights in another file, which no hash covers; expected one file with all; "
                "export the model again"
            )
    except IndexError as error:
        raise ModelError(f"{path}: its graph is damaged; export the model again") from error


def _zip_of(text: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(CARD_NAME, ZIP_EPOCH), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _find_zip(data: Buffer) -> tuple[int, bytes] | None:
    """The offset where the zip begins and the card in it, or None."""
    if data[-ZIP_END_BYTES:][:4] != ZIP_END:
        return None  # bytes were appended, or a zip comment
    tail_start = max(0, len(data) - MAX_ZIP_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(data[tail_start:])) as archive:
            members = archive.infolist()
            if [(m.filename, m.compress_type) for m in members] != [(CARD_NAME, zipfile.ZIP_DEFLATED)]:
                return None
            with archive.open(members[0]) as file:
                # Bounded by what comes out of it, since the size that a zip states may be a lie.
                text = file.read(MAX_JSON_BYTES + 1)
            # zipfile corrects offsets for bytes put before the archive.
            return tail_start + members[0].header_offset, text
    except Exception:  # zipfile raises nearly anything on hostile bytes; all of it means no card.
        return None


def _metadata_of(text: bytes) -> bytes:
    return write_field(METADATA, write_field(KEY, CARD_KEY) + write_field(VALUE, text))


def _find_metadata(data: Buffer) -> tuple[int, bytes] | None:
    """The offset of the last top-level field and the card in it, or None.

    Only a card that ends the file counts: a field after it could replace the graph that was hashed.
    """
    try:
        (last,) = deque(read_fields(data, 0, len(data)), maxlen=1)
    except IndexError:
        return None
    if last.number != METADATA:
        return None
    return _card_entry(last.start, bytes(data[last.payload : last.end]))


def _card_entry(start: int, entry: bytes) -> tuple[int, bytes] | None:
    head = write_field(KEY, CARD_KEY) + write_field(VALUE, b"")[:1]
    if not entry.startswith(head):
        return None
    length, text = read_varint(entry, len(head))
    return (start, entry[text:]) if text + length == len(entry) else None
