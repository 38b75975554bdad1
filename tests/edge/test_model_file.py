"""The card inside a model file: there and back, and every way in which a file may be wrong."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from cxrs_edge.card import MAX_JSON_BYTES, ModelCard, parse_card
from cxrs_edge.errors import ModelError
from cxrs_edge.model_file import Kind, ModelFile, read_model_file, with_card
from cxrs_edge.prepare import InputSpec

CARD = ModelCard(
    name="tiny",
    version="1",
    network="two numbers",
    precision="float32",
    input=InputSpec(size=32),
    outputs={"probabilities": "level 1, level 2"},
    labels=("level1", "level2"),
    licence="Apache-2.0",
    intended_use="tests",
    base_bytes=1,
    sha256="",
    training={"note": "Ä" * 50},
)


def onnx_bytes() -> bytes:
    """y = 2x."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"trained by": "nobody"})
    data: bytes = model.SerializeToString()
    return data


TFLITE = b"\x1c\0\0\0TFL3" + np.random.default_rng(0).bytes(700)
ONNX = onnx_bytes()
BASES: dict[Kind, bytes] = {"tflite": TFLITE, "onnx": ONNX}
KINDS = sorted(BASES)
in_one_folder = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def carded(kind: Kind) -> bytes:
    return with_card(BASES[kind], CARD, kind)


def read(folder: Path, data: bytes) -> ModelFile:
    path = folder / "m.bin"
    path.write_bytes(data)
    return read_model_file(path)


def refusal(folder: Path, data: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        read(folder, data)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'm.bin'}: ")
    assert message.isprintable()
    return message


def zip_of(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = comment
    return buffer.getvalue()


def card_text(base: bytes) -> bytes:
    return replace(CARD, base_bytes=len(base), sha256=hashlib.sha256(base).hexdigest()).to_json().encode()


def metadata(key: str, value: bytes) -> bytes:
    """A metadata_props field as protobuf's own library writes it."""
    entry = onnx.StringStringEntryProto(key=key, value=value.decode())
    data: bytes = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    return data


# -- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: Kind, tmp_path: Path) -> None:
    base = BASES[kind]
    data = carded(kind)
    file = read(tmp_path, data)
    expected = replace(CARD, base_bytes=len(base), sha256=hashlib.sha256(base).hexdigest())
    assert file == ModelFile(path=tmp_path / "m.bin", kind=kind, card=expected)
    assert data.startswith(base)
    assert data == carded(kind)  # the same bytes on every day


def test_the_parts_are_what_other_tools_write(tmp_path: Path) -> None:
    assert carded("onnx") == ONNX + metadata("cxrs-edge.card", card_text(ONNX))
    with zipfile.ZipFile(io.BytesIO(carded("tflite"))) as archive:
        assert archive.testzip() is None
        assert archive.read("card.json") == card_text(TFLITE)
    assert read(tmp_path, TFLITE + zip_of(("card.json", card_text(TFLITE)))).kind == "tflite"


@in_one_folder
@given(head=st.binary(min_size=4, max_size=4), rest=st.binary(max_size=300))
def test_any_tflite_bytes(head: bytes, rest: bytes, tmp_path: Path) -> None:
    base = head + b"TFL3" + rest
    file = read(tmp_path, with_card(base, CARD, "tflite"))
    assert (file.kind, file.card.base_bytes) == ("tflite", len(base))
    assert file.card.sha256 == hashlib.sha256(base).hexdigest()


PROTOBUF = st.lists(
    st.one_of(
        st.builds(lambda n: bytes([8, n]), st.integers(0, 127)),
        st.builds(lambda p: bytes([18, len(p)]) + p, st.binary(max_size=60)),
        st.builds(lambda p: bytes([0x7D]) + p, st.binary(min_size=4, max_size=4)),  # field 15, 32 bit
        st.builds(lambda p: bytes([0xF9, 1]) + p, st.binary(min_size=8, max_size=8)),  # field 31, 64 bit
        st.just(metadata("other", b"value")),
        st.just(metadata("cxrs-edge.card", b"{}")),
    ),
    max_size=5,
).map(b"".join)


@in_one_folder
@given(base=PROTOBUF.filter(lambda base: base and base[4:8] != b"TFL3"))
def test_any_protobuf_bytes(base: bytes, tmp_path: Path) -> None:
    file = read(tmp_path, with_card(base, CARD, "onnx"))
    assert (file.kind, file.card.base_bytes) == ("onnx", len(base))
    assert file.card.sha256 == hashlib.sha256(base).hexdigest()


@pytest.mark.parametrize("length", [1, 60, 127, 128, 5000, 16383, 16384, 2**21, 2_500_000])
@pytest.mark.parametrize("kind", KINDS)
def test_cards_of_any_length(kind: Kind, length: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(33, 127, length, dtype=np.uint8).tobytes().decode()
    card = replace(CARD, training={"noise": noise.replace("\\", "-").replace('"', "-")})
    assert read(tmp_path, with_card(BASES[kind], card, kind)).card.training == card.training


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_that_could_not_be_read_is_not_written(kind: Kind) -> None:
    for wrong in (
        replace(CARD, precision="int4"),
        replace(CARD, name="two\nlines"),
        replace(CARD, input=InputSpec(size=1)),
        replace(CARD, training={"noise": "x" * MAX_JSON_BYTES}),
    ):
        with pytest.raises(ModelError):
            with_card(BASES[kind], wrong, kind)


def test_a_second_card_replaces_the_first(tmp_path: Path) -> None:
    for kind in KINDS:
        file = read(tmp_path, with_card(carded(kind), replace(CARD, version="2"), kind))
        assert (file.card.version, file.card.base_bytes) == ("2", len(carded(kind)))


# -- others read the file as before ---------------------------------------------------------------


def test_onnx_and_onnxruntime_see_graph_and_card() -> None:
    data = carded("onnx")
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model)
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert set(props) == {"trained by", "cxrs-edge.card"}
    del model.metadata_props[1:]
    assert model == onnx.load_from_string(ONNX)

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    seen = session.get_modelmeta().custom_metadata_map
    assert seen == props
    card = parse_card(seen["cxrs-edge.card"].encode(), name="m.onnx")
    assert card.sha256 == hashlib.sha256(ONNX).hexdigest()
    (y,) = session.run(None, {"x": np.array([1, -3], np.float32)})
    assert y.tolist() == [2, -6]


# -- hash and length ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.999])
def test_a_changed_byte_is_noticed(kind: Kind, where: float, tmp_path: Path) -> None:
    data = bytearray(carded(kind))
    data[int(where * len(BASES[kind]))] ^= 1
    refusal(tmp_path, bytes(data))


def test_a_changed_weight_is_named(tmp_path: Path) -> None:
    data = bytearray(carded("tflite"))
    data[300] ^= 1
    message = refusal(tmp_path, bytes(data))
    assert "card field sha256: got" in message
    assert hashlib.sha256(data[: len(TFLITE)]).hexdigest() in message
    assert hashlib.sha256(TFLITE).hexdigest() in message


def forged(kind: Kind, **fields: object) -> bytes:
    """A file whose card says something else than the truth."""
    text = json.dumps({**json.loads(card_text(BASES[kind])), **fields}).encode()
    end = zip_of(("card.json", text)) if kind == "tflite" else metadata("cxrs-edge.card", text)
    return BASES[kind] + end


@pytest.mark.parametrize("kind", KINDS)
def test_forging_helper_is_right(kind: Kind, tmp_path: Path) -> None:
    assert read(tmp_path, forged(kind)) == read(tmp_path, carded(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "0" * 64),
        ("sha256", ""),
        ("sha256", "x" * 100_000),
        ("sha256", hashlib.sha256(TFLITE).hexdigest().upper()),
        ("base_bytes", 1),
        ("base_bytes", len(TFLITE) + 1),
        ("base_bytes", 2**40),
        ("schema", "cxrs-edge/card/2"),
        ("precision", "int4"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_lying_card_is_refused(kind: Kind, field: str, value: object, tmp_path: Path) -> None:
    message = refusal(tmp_path, forged(kind, **{field: value}))
    assert f"card field {field}: got " in message
    assert len(message) < 600


@pytest.mark.parametrize("kind", KINDS)
def test_cut_short_anywhere(kind: Kind, tmp_path: Path) -> None:
    data = carded(kind)
    for percent in range(100):
        refusal(tmp_path, data[: len(data) * percent // 100])
    refusal(tmp_path, data[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_after_the_card(kind: Kind, tmp_path: Path) -> None:
    for more in (b"\0", b"x", b"\0" * 100, b"PK\x05\x06" + bytes(17), b"\x08\x08", metadata("a", b"b"), ONNX):
        refusal(tmp_path, carded(kind) + more)


def test_a_graph_merged_into_a_carded_onnx_is_noticed(tmp_path: Path) -> None:
    evil = helper.make_model(helper.make_graph([], "evil", [], [])).SerializeToString()
    refusal(tmp_path, carded("onnx") + evil)
    # Moving the card behind it doesn't help: the hash covers all that precedes the card.
    card = carded("onnx")[len(ONNX) :]
    message = refusal(tmp_path, ONNX + evil + card)
    assert "base_bytes" in message


@pytest.mark.parametrize("key", ["cxrs-edge.car", "cxrs-edge.card2", "CXRS-EDGE.CARD", ""])
def test_metadata_under_another_key_is_no_card(key: str, tmp_path: Path) -> None:
    assert "no model card" in refusal(tmp_path, ONNX + metadata(key, card_text(ONNX)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_model_has_no_card(kind: Kind, tmp_path: Path) -> None:
    assert "no model card at its end" in refusal(tmp_path, BASES[kind])


@pytest.mark.parametrize(("outer", "inner"), [(1, 0), (0, 1), (0, -1), (1, 1), (2**40, 0)])
def test_wrong_lengths_in_the_last_field_are_refused(outer: int, inner: int, tmp_path: Path) -> None:
    def field(tag: int, payload: bytes, lie: int = 0) -> bytes:
        length, varint = len(payload) + lie, b""
        while length > 127:
            varint, length = varint + bytes([length & 127 | 128]), length >> 7
        return bytes([tag]) + varint + bytes([length]) + payload

    def ending(outer: int, inner: int) -> bytes:
        entry = field(0x0A, b"cxrs-edge.card") + field(0x12, card_text(ONNX), inner)
        return field(0x72, entry, outer)

    assert ONNX + ending(0, 0) == carded("onnx")
    assert "no model card" in refusal(tmp_path, ONNX + ending(outer, inner))


# -- hostile zips ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "archive",
    [
        zip_of(),
        zip_of(("card.json", card_text(TFLITE)), ("other", b"")),
        zip_of(("other", b""), ("card.json", card_text(TFLITE))),
        zip_of(("../card.json", card_text(TFLITE))),
        zip_of(("/card.json", card_text(TFLITE))),
        zip_of(("a/card.json", card_text(TFLITE))),
        zip_of(("card.json/", card_text(TFLITE))),
        zip_of(("CARD.JSON", card_text(TFLITE))),
        zip_of(("card.json", card_text(TFLITE)), comment=b"hello"),
        zip_of(("card.json", card_text(TFLITE)), comment=bytes(65535)),
        zip_of(("card.json", card_text(TFLITE)), method=zipfile.ZIP_STORED),
        zip_of(("card.json", card_text(TFLITE)), method=zipfile.ZIP_LZMA),
        zip_of(("card.json", b"")),
        zip_of(("card.json", b"[" * 100_000)),
        zip_of(("card.json", b"[" * 2_000_000)),
        zip_of(("card.json", b"\xff\xfe")),
    ],
)
def test_other_zips_are_refused(archive: bytes, tmp_path: Path) -> None:
    refusal(tmp_path, TFLITE + archive)


def bombs() -> list[bytes]:
    """60 MB of spaces, honestly stated, and stated to be 1000 bytes."""
    honest = zip_of(("card.json", b" " * 60_000_000))
    size = struct.pack("<I", 60_000_000)
    assert honest.count(size) == 2  # local and central header
    return [honest, honest.replace(size, struct.pack("<I", 1000))]


def test_zip_bombs_are_refused_without_unpacking_them(tmp_path: Path) -> None:
    for bomb in bombs():
        tracemalloc.start()
        try:
            refusal(tmp_path, TFLITE + bomb)
            assert tracemalloc.get_traced_memory()[1] < 30_000_000
        finally:
            tracemalloc.stop()


# -- other files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"x", b"TFL3", bytes(7), b"\x1c\0\0\0TFL3", b"PK\x05\x06" + bytes(18), b"text\n" * 99, b"\xff" * 99],
)
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    refusal(tmp_path, data)


def test_empty_missing_folder_and_fifo(tmp_path: Path) -> None:
    assert "empty file" in refusal(tmp_path, b"")
    os.mkfifo(tmp_path / "fifo")
    for name, reason in (
        ("missing", "no such file"),
        ("", "not a regular file"),
        ("fifo", "not a regular file"),
        ("nul\0", "no such file"),
        ("x" * 5000, "can't be read"),
    ):
        with pytest.raises(ModelError, match=re.escape(reason)):
            read_model_file(tmp_path / name)


def test_text_paths_are_taken(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(carded("onnx"))
    assert read_model_file(str(tmp_path / "m.onnx")).path == tmp_path / "m.onnx"


@pytest.mark.parametrize("head", [b"", b"\x1c\0\0\0TFL3", ONNX])
def test_a_large_file_of_zeros_is_refused_at_once(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(head)
    os.truncate(path, 2**30)
    started = time.perf_counter()
    with pytest.raises(ModelError, match="no model card"):
        read_model_file(path)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("kind", KINDS)
def test_reading_does_not_copy_the_model(kind: Kind, tmp_path: Path) -> None:
    weights = bytes(40_000_000)
    base = TFLITE + weights
    if kind == "onnx":
        base = ONNX + metadata("weights", weights)
    data = with_card(base, CARD, kind)
    path = tmp_path / "m.bin"
    path.write_bytes(data)
    del data, base, weights
    tracemalloc.start()
    try:
        assert read_model_file(path).kind == kind
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
