"""The table of model files that are broken or mean: how each is made, and what is said of it."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_models import TinyCard, TinyGraph, tiny_onnx, tiny_tflite

from cxrs_edge.card import MAX_JSON_BYTES
from cxrs_edge.model_file import Kind, with_card

BASES: dict[Kind, bytes] = {"tflite": tiny_tflite(TinyGraph()), "onnx": tiny_onnx(TinyGraph())}
CARD = TinyCard().card()
GOOD = {kind: with_card(base, CARD, kind) for kind, base in BASES.items()}


class ModelCase(NamedTuple):
    """A model file, and what is said of it."""

    name: str
    make: Callable[[], bytes]
    says: str


class GraphCase(NamedTuple):
    """A file with the card that it should have, and a graph that an engine must survive."""

    name: str
    kind: Kind
    make: Callable[[], bytes]
    says: str


def with_text(kind: Kind, text: bytes) -> bytes:
    """A model with any text where its card should be."""
    base = BASES[kind]
    if kind == "tflite":
        return base + zip_of(("card.json", text))
    entry = onnx.StringStringEntryProto(key="cxrs-edge.card")
    packed = entry.SerializeToString() + b"\x12" + varint(len(text)) + text
    return base + b"\x72" + varint(len(packed)) + packed


def with_fields(kind: Kind, **fields: object) -> bytes:
    """A model whose card says something else."""
    return with_text(kind, json.dumps({**true_card(kind), **fields}).encode())


def true_card(kind: Kind) -> dict[str, Any]:
    base = BASES[kind]
    card = json.loads(CARD.to_json())
    return card | {"base_bytes": len(base), "sha256": hashlib.sha256(base).hexdigest()}


def varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def zip_of(*members: tuple[str, bytes], flags: int = 0, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = comment
    data = bytearray(buffer.getvalue())
    data[6] |= flags
    data[data.rindex(b"PK\1\2") + 8] |= flags
    return bytes(data)


def card_zip(**options: Any) -> bytes:
    return BASES["tflite"] + zip_of(("card.json", json.dumps(true_card("tflite")).encode()), **options)


def replaced(old: str, new: str) -> bytes:
    text = json.dumps(true_card("onnx"))
    assert old in text
    return with_text("onnx", text.replace(old, new).encode())


def large_zip() -> bytes:
    """50 MB of spaces that are stated to be 1000 bytes."""
    archive = zip_of(("card.json", b" " * 50_000_000))
    return BASES["tflite"] + archive.replace(struct.pack("<I", 50_000_000), struct.pack("<I", 1000))


SAYS_NONE = "no model card at its end; expected a whole file from: cxrs-edge export"
FILES = [
    ModelCase("empty", lambda: b"", "empty file; expected a .tflite or .onnx model"),
    ModelCase("text", lambda: b"a model\n" * 100, SAYS_NONE),
    ModelCase("zeros", lambda: bytes(10**6), SAYS_NONE),
    ModelCase("bare .tflite", lambda: BASES["tflite"], SAYS_NONE),
    ModelCase("bare .onnx", lambda: BASES["onnx"], SAYS_NONE),
    ModelCase("zip alone", lambda: zip_of(("card.json", b"{}")), SAYS_NONE),
    ModelCase("more behind a .tflite", lambda: GOOD["tflite"] + b"\0", SAYS_NONE),
    ModelCase("more behind an .onnx", lambda: GOOD["onnx"] + BASES["onnx"], SAYS_NONE),
    # -- the zip
    ModelCase("path upwards", lambda: BASES["tflite"] + zip_of(("../card.json", b"{}")), SAYS_NONE),
    ModelCase("absolute path", lambda: BASES["tflite"] + zip_of(("/etc/passwd", b"{}")), SAYS_NONE),
    ModelCase("encrypted zip", lambda: card_zip(flags=1), SAYS_NONE),
    ModelCase("zip with a comment", lambda: card_zip(comment=b"x" * 100), SAYS_NONE),
    ModelCase(
        "two cards", lambda: BASES["tflite"] + zip_of(("card.json", b"{}"), ("card2.json", b"")), SAYS_NONE
    ),
    ModelCase("zip bomb", large_zip, SAYS_NONE),
    ModelCase(
        "card of 5 MB", lambda: with_text("onnx", b" " * (MAX_JSON_BYTES + 1)), "expected at most 4000000"
    ),
    # -- the JSON
    ModelCase("no JSON", lambda: with_text("tflite", b"{'a': 1}"), "its card is not JSON"),
    ModelCase("no UTF-8", lambda: with_text("tflite", b'{"name": "\xff"}'), "its card is not JSON"),
    ModelCase("a list", lambda: with_text("onnx", b"[1]"), "its card: got [1], expected a JSON object"),
    ModelCase("a hundred thousand lists", lambda: with_text("onnx", b"[" * 100_000), "its card is not JSON"),
    ModelCase(
        "a number of a million digits", lambda: with_text("onnx", b"9" * 10**6), "its card is not JSON"
    ),
    ModelCase("a key twice", lambda: replaced('"name":', '"name": "a", "name":'), "a key appears twice"),
    ModelCase("NaN", lambda: replaced('"temperature": 1.0', '"temperature": NaN'), "NaN is no JSON number"),
    ModelCase(
        "infinity", lambda: replaced('"temperature": 1.0', '"temperature": 1e999'), "calibration.temperature"
    ),
    # -- the fields
    ModelCase("wrong type", lambda: with_fields("tflite", name=["cxrs"]), "card field name: got ['cxrs']"),
    ModelCase(
        "terminal codes", lambda: with_fields("onnx", name="\x1b[2J"), r"card field name: got '\x1b[2J'"
    ),
    ModelCase(
        "labels swapped away", lambda: with_fields("onnx", labels=["level2"]), "card field labels: got"
    ),
    ModelCase("unknown schema", lambda: with_fields("onnx", schema="cxrs-edge/card/9"), "upgrade cxrs-edge"),
    ModelCase(
        "input of 10^9 pixels", lambda: replaced('"size": 32', '"size": 32000'), "card field input.size"
    ),
    ModelCase(
        "wrong length", lambda: with_fields("tflite", base_bytes=1), "card field base_bytes: got 1, but"
    ),
    ModelCase("wrong hash", lambda: with_fields("onnx", sha256="0" * 64), "card field sha256: got '000"),
    ModelCase("changed weight", lambda: changed_weight(), "card field sha256: got"),
    # -- the graph's own files
    ModelCase("weights in /etc/passwd", lambda: external("/etc/passwd"), "keeps weights in another file"),
    ModelCase("weights upwards", lambda: external("../../etc/passwd"), "keeps weights in another file"),
    ModelCase("weights beside it", lambda: external("weights.bin"), "keeps weights in another file"),
    ModelCase(
        "weights in a FIFO's branch", lambda: external("fifo", nested=True), "keeps weights in another file"
    ),
    ModelCase("broken graph", lambda: with_card(b"\x3a\x02\x0a\x7f", CARD, "onnx"), "its graph is damaged"),
]


def changed_weight() -> bytes:
    data = bytearray(GOOD["tflite"])
    data[len(BASES["tflite"]) // 2] ^= 1
    return bytes(data)


def external(location: str, *, nested: bool = False) -> bytes:
    """Weights that are to be read from another file, if asked for in a branch of an If."""
    model = onnx.load_from_string(BASES["onnx"])
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "weights")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    if nested:
        model.graph.initializer.remove(weights)
        branch = helper.make_graph([], "branch", [], [], [weights])
        model.graph.node.append(helper.make_node("If", ["mean"], [], then_branch=branch))
    return with_card(model.SerializeToString(), CARD, "onnx")


def onnx_bomb(elements: int) -> bytes:
    """Constants of 4 bytes each, made while the model is loaded."""
    model = onnx.load_from_string(BASES["onnx"])
    cast, mean, *others = model.graph.node
    others[0].input[0] = "sum"
    bomb = [
        helper.make_node("ConstantOfShape", ["huge shape"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["huge mean"], keepdims=0),
        helper.make_node("Add", ["mean", "huge mean"], ["sum"]),
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array([elements]), "huge shape"))
    del model.graph.node[:]
    model.graph.node.extend([cast, mean, *bomb, *others])
    return with_card(model.SerializeToString(), CARD, "onnx")


def onnx_of_size(size: int) -> bytes:
    return with_card(tiny_onnx(TinyGraph(size=size)), CARD, "onnx")


def tflite_of_size(size: int) -> bytes:
    return with_card(tiny_tflite(TinyGraph(size=size)), CARD, "tflite")


def unknown_operator() -> bytes:
    base = BASES["onnx"].replace(b"ReduceMean", b"ReduceMoon")
    return with_card(base, CARD, "onnx")


def without_operators() -> bytes:
    builder = flatbuffers.Builder(64)
    builder.StartObject(5)
    builder.Finish(builder.EndObject(), b"TFL3")
    return with_card(bytes(builder.Output()), CARD, "tflite")


GRAPHS = [
    GraphCase("10 GB of constants", "onnx", lambda: onnx_bomb(10**10 // 4), "can't be"),
    GraphCase("4 TB of constants", "onnx", lambda: onnx_bomb(10**12), "can't be"),
    GraphCase("input of 60000 x 60000", "tflite", lambda: tflite_of_size(60_000), "can't be loaded"),
    GraphCase(
        "input of another size",
        "onnx",
        lambda: onnx_of_size(48),
        "got 32, but the graph takes 1 x 48",
    ),
    GraphCase(
        "other output", "tflite", lambda: with_card(OTHER_OUTPUT, CARD, "tflite"), "has the outputs zones"
    ),
    GraphCase("unknown operator", "onnx", unknown_operator, "can't be loaded"),
    GraphCase("no graph", "tflite", without_operators, "can't be loaded"),
    GraphCase(
        "noise",
        "tflite",
        lambda: with_card(b"\x1c\0\0\0TFL3" + bytes(range(256)), CARD, "tflite"),
        "can't be loaded",
    ),
]
NOISE = b"\x1c\0\0\0TFL3" + bytes(range(256))
OTHER_OUTPUT = tiny_tflite(TinyGraph(output_name="zones"))
