"""Damaged, hostile and odd DICOM files: an error that names the file, no patient's name, bounded work."""

from __future__ import annotations

import functools
import io
import logging
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.tag import Tag

from cxrs_edge.dicom import HEADER_BYTES, is_dicom
from cxrs_edge.dicom.decode import MAX_PIXELS
from cxrs_edge.dicom.reader import MAX_INFLATED, MAX_READS
from cxrs_edge.errors import CxrsError, ImageError
from cxrs_edge.image import read_image

from .conftest import PATIENT, encode, lut_item, new_dataset, stored_values
from .test_matrix import LOSSLESS, frame

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")
EIGHT = functools.partial(imagecodecs.jpeg8_encode, level=90)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(data, name="scan")
    message = str(caught.value)
    assert message.startswith("scan: ")
    return message


@functools.cache
def sample(syntax: str) -> bytes:
    """With everything that the reader looks at."""
    bits, signed = (8, False) if syntax == uid.JPEGBaseline8Bit else (12, True)
    low = -(2 ** (bits - 1)) if signed else 0
    dataset = new_dataset(
        stored_values(bits, signed),
        bits,
        PhotometricInterpretation="MONOCHROME1",
        PresentationLUTShape="INVERSE",
        RescaleSlope=1,
        RescaleIntercept=0,
        WindowCenter=[1, 2],
        WindowWidth=[300, 400],
        VOILUTFunction="SIGMOID",
        VOILUTSequence=[lut_item(low, 10, np.arange(2**bits) // 4)],
        PixelPaddingValue=low,
        SeriesDescription="Thorax",
        PatientOrientation=["L", "F"],
        StudyDate="20200101",
        PatientBirthDate="19500101",
        PatientAge=None,
        BurnedInAnnotation="YES",
        AccessionNumber=PATIENT[:16],
    )
    if syntax == uid.JPEGBaseline8Bit:
        return encode(dataset, syntax, EIGHT(stored_values(8)))
    return encode(dataset, syntax, frame(syntax, bits, signed) if syntax in LOSSLESS else None)


COMPRESSED = {
    syntax: encoder(stored_values(8), 8) for syntax, encoder in LOSSLESS.items() if encoder is not None
} | {uid.JPEGBaseline8Bit: EIGHT(stored_values(8))}
SYNTAXES = sorted({uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit, *LOSSLESS})
by_keyword = pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: uid.UID(syntax).keyword)


@by_keyword
def test_a_truncated_file_is_never_taken_for_whole(syntax: str) -> None:
    data = sample(syntax)
    assert read_image(data, name="scan").pixels.shape == (72, 88)
    for percent in range(1, 100):
        refusal(data[: len(data) * percent // 100])


@pytest.mark.parametrize("syntax", sorted(COMPRESSED), ids=lambda syntax: uid.UID(syntax).keyword)
@pytest.mark.parametrize("percent", [30, 60, 90, 99])
def test_a_truncated_picture_in_a_whole_file_is_refused(syntax: str, percent: int) -> None:
    whole = COMPRESSED[syntax]
    dataset = new_dataset(stored_values(8), 8)
    assert read_image(encode(dataset, syntax, whole), name="scan").size == (88, 72)
    message = refusal(encode(dataset, syntax, whole[: len(whole) * percent // 100]))
    # A cut through a run is damage, one between runs an early end.
    assert ("damaged pixel data" if syntax == uid.RLELossless else "end too early") in message


def test_a_truncated_deflated_file_says_so() -> None:
    data = sample(uid.DeflatedExplicitVRLittleEndian)
    for cut in (len(data) // 2, len(data) - 20):
        assert "its deflated data set ends too early" in refusal(data[:cut])


def run_lengths(segments: int, packets: bytes) -> bytes:
    return np.array([segments, 64, *[0] * 14], "<u4").tobytes() + packets


@pytest.mark.parametrize(
    ("frame_bytes", "reason"),
    [
        # 49 runs of 128 and one of 64 are 72 x 88 pixels.
        (run_lengths(1, b"\x81\x07" * 49 + b"\xc1\x07"), ""),
        (run_lengths(1, b"\x81\x07" * 49), "end too early"),
        (run_lengths(2, b"\x81\x07" * 50), "2 run-length segments, expected 1"),
        (b"\1\0\0\0", "end too early"),
        # The padding behind a picture of odd length is read as a run.
        (run_lengths(1, b"\x81\x07" * 49 + b"\xc1\x07" + b"\xff\x07"), ""),
    ],
)
def test_run_lengths_must_give_each_pixel(frame_bytes: bytes, reason: str) -> None:
    data = encode(new_dataset(stored_values(8), 8), uid.RLELossless, frame_bytes)
    if reason:
        assert reason in refusal(data)
    else:
        assert (read_image(data, name="scan").pixels == 7).all()


def still_read_or_refused(data: bytes) -> None:
    try:
        image = read_image(data, name="scan")
    except CxrsError as error:
        text = str(error)
        # A flipped byte may turn the format into another, of which Pillow's messages tell.
        assert text.startswith("scan: ")
    else:
        assert image.pixels.dtype in (np.uint8, np.uint16)
        assert image.size[0] * image.size[1] <= MAX_PIXELS
        text = " ".join(image.notes)
    assert "Ephemeral" not in text
    assert "Nobody" not in text


@settings(max_examples=600, deadline=None)
@given(
    syntax=st.sampled_from(SYNTAXES),
    flips=st.lists(st.tuples(st.integers(0, 2**31), st.integers(1, 255)), min_size=1, max_size=6),
    head=st.booleans(),
)
def test_flipped_bytes_give_an_image_or_an_error(
    syntax: str, flips: list[tuple[int, int]], head: bool
) -> None:
    data = bytearray(sample(syntax))
    for place, value in flips:
        # The header, or anywhere; in a compressed file that is mostly the code stream.
        data[132 + place % min(len(data) - 132, 900 if head else len(data))] ^= value
    still_read_or_refused(bytes(data))


@settings(max_examples=300, deadline=None)
@given(
    keyword=st.sampled_from(
        [
            "Rows",
            "Columns",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
            "SamplesPerPixel",
            "WindowCenter",
            "WindowWidth",
            "VOILUTFunction",
            "RescaleSlope",
            "RescaleIntercept",
            "Modality",
            "PixelPaddingValue",
            "PixelPaddingRangeLimit",
            "PatientAge",
            "NumberOfFrames",
            "ViewPosition",
            "PatientOrientation",
            "PhotometricInterpretation",
            "SOPClassUID",
            "BodyPartExamined",
        ]
    ),
    vr=st.sampled_from(["US", "SS", "DS", "IS", "LO", "FD", "UN", "OB", "UI", "CS", "PN"]),
    raw=st.binary(max_size=12),
    syntax=st.sampled_from([uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.RLELossless]),
)
def test_any_value_of_any_type_gives_an_image_or_an_error(
    keyword: str, vr: str, raw: bytes, syntax: str
) -> None:
    still_read_or_refused(with_raw(sample(syntax), keyword, vr, raw))


def with_raw(data: bytes, keyword: str, vr: str, raw: bytes) -> bytes:
    """The file with an attribute of this type and these bytes in front of the others, where it counts."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    tag = Tag(keyword)
    raw += b"\0" * (len(raw) % 2)
    dataset[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)
    buffer = io.BytesIO()
    try:
        pydicom.dcmwrite(buffer, dataset)
    except Exception:  # what can't be written can't be read either
        return b"\x08\0" + bytes(200)
    return buffer.getvalue()


@settings(max_examples=200, deadline=None)
@given(meta=st.booleans(), rest=st.binary(max_size=400))
def test_random_bytes_behind_a_prefix_are_refused(meta: bool, rest: bytes) -> None:
    prefix = bytes(128) + b"DICM" if meta else b"\x08\0\x05\0CS\x0a\0"
    refusal(prefix + rest + bytes(200))


# -- bombs ----------------------------------------------------------------------------------------


def test_a_deflate_bomb_is_refused() -> None:
    data = sample(uid.DeflatedExplicitVRLittleEndian)
    # The file meta information's length stands at its beginning; what follows it is deflated.
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = b"".join(deflater.compress(bytes(10_000_000)) for _ in range(30)) + deflater.flush()
    assert len(bomb) < 1_000_000
    assert f"inflates to more than {MAX_INFLATED // 1_000_000} MB" in refusal(data[:start] + bomb)


@pytest.mark.parametrize(
    ("syntax", "bomb"),
    [
        (uid.JPEGLosslessSV1, imagecodecs.jpeg8_encode(np.zeros((9000, 9000), np.uint8), lossless=True)),
        (uid.JPEGBaseline8Bit, EIGHT(np.zeros((9000, 9000), np.uint8))),
        (uid.JPEGBaseline8Bit, EIGHT(np.zeros((72, 88, 3), np.uint8))),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode(np.zeros((9000, 9000), np.uint8))),
        (uid.JPEG2000, imagecodecs.jpeg2k_encode(np.zeros((2000, 2000), np.uint8), codecformat="j2k")),
    ],
)
def test_a_picture_larger_than_the_header_says_is_not_decoded(syntax: str, bomb: bytes) -> None:
    message = refusal(encode(new_dataset(stored_values(8), 8), syntax, bomb))
    assert message == (
        "scan: compressed pixels of another kind or size than the header says; expected 88 x 72 in gray; "
        "export it again"
    )


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLosslessSV1, uid.ExplicitVRLittleEndian])
def test_a_header_that_promises_too_much_is_refused_before_decoding(syntax: str) -> None:
    dataset = new_dataset(stored_values(8), 8, Rows=65535, Columns=65535)
    data = encode(dataset, syntax, frame(syntax, 8, False) if syntax in LOSSLESS else None)
    assert "65535 x 65535 pixels; expected at most 40 megapixels" in refusal(data)


def test_a_run_length_bomb_unpacks_to_no_more_than_a_picture() -> None:
    # Each two bytes stand for 128.
    bomb = run_lengths(1, b"\x81\0" * 1_000_000)
    assert "damaged pixel data" in refusal(encode(new_dataset(stored_values(8), 8), uid.RLELossless, bomb))


def test_a_million_attributes_are_refused() -> None:
    data = sample(uid.ExplicitVRLittleEndian)
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    attribute = b"\x09\0\x10\0LO\0\0"
    assert "too many attributes" in refusal(data[:start] + attribute * MAX_READS + data[start:])


def test_a_sequence_of_a_million_items_is_refused() -> None:
    dataset = new_dataset(stored_values(12), 12, ViewPosition=None)
    item = b"\xfe\xff\x00\xe0\0\0\0\0"
    data = encode(dataset)
    sequence = b"\x54\0\x20\x02SQ\0\0" + (8_000_000).to_bytes(4, "little") + item * 1_000_000
    pixels = data.index(b"\xe0\x7f\x10\x00OW")
    message = refusal(data[:pixels] + sequence + data[pixels:])
    assert message == "scan: ViewCodeSequence of 8000000 bytes; expected at most 4000000; export it again"


def test_sequences_nested_without_end_are_refused() -> None:
    data = sample(uid.ExplicitVRLittleEndian)
    pixels = data.index(b"\xe0\x7f\x10\x00OW")
    nest = b"\x54\0\x20\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20_000
    refusal(data[:pixels] + nest + data[pixels:])


# -- other ways to write a file -------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [False, True])
def test_files_without_prefix_are_read(syntax: str, meta: bool) -> None:
    data = sample(syntax)
    start = 132 if meta else 132 + 12 + int.from_bytes(data[140:144], "little")
    bare = data[start:]
    assert is_dicom(bare[:HEADER_BYTES])
    image, whole = read_image(bare, name="scan"), read_image(data, name="scan")
    np.testing.assert_array_equal(image.pixels, whole.pixels)
    assert image.grayscale == whole.grayscale


@pytest.mark.parametrize(
    "data", [b"", b"\x08\0", bytes(1000), b"\x08\0\0\0 written text" * 20, b"\x89PNG" * 40]
)
def test_other_files_are_not_taken_for_dicom(data: bytes) -> None:
    assert not is_dicom(data)


def test_fragments_are_joined() -> None:
    whole = frame(uid.JPEGLSLossless, 12, False)
    assert whole is not None
    dataset = new_dataset(stored_values(12), 12)
    dataset.file_meta.TransferSyntaxUID = uid.JPEGLSLossless
    data = encode(dataset, uid.JPEGLSLossless, whole)
    plain = read_image(data, name="scan").pixels
    dataset.PixelData = encapsulate([whole], fragments_per_frame=3)
    dataset["PixelData"].VR = "OB"
    np.testing.assert_array_equal(read_image(encode(dataset, uid.JPEGLSLossless), name="scan").pixels, plain)


# -- what gets out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "vr"),
    [
        ("ViewPosition", "CS"),
        ("Modality", "CS"),
        ("PatientAge", "AS"),
        ("StudyDate", "DA"),
        ("Rows", "LO"),
        ("WindowCenter", "DS"),
        ("SOPClassUID", "UI"),
        ("PhotometricInterpretation", "PN"),
    ],
)
def test_nothing_of_the_patient_gets_into_messages_logs_or_warnings(
    keyword: str,
    vr: str,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # pydicom warns and logs, with the value, that none of these is what its type should be.
    data = with_raw(sample(uid.ExplicitVRLittleEndian), keyword, vr, PATIENT.encode())
    caplog.clear()
    recwarn.clear()
    with caplog.at_level(logging.DEBUG):
        for damaged in (data, data[: len(data) // 2], data[:600]):
            still_read_or_refused(damaged)
    assert "Ephemeral" not in caplog.text
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("pydicom").disabled


def test_pydicom_does_log_the_patient_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    data = with_raw(sample(uid.ExplicitVRLittleEndian), "SOPClassUID", "UI", PATIENT.encode())
    caplog.clear()
    assert pydicom.dcmread(io.BytesIO(data)).SOPClassUID == PATIENT
    assert PATIENT in caplog.text


def test_an_unforeseen_error_is_named_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def quote(*_args: object) -> None:
        raise ValueError(f"invalid value: {PATIENT}")

    monkeypatch.setattr("cxrs_edge.dicom.reader.check_gradable", quote)
    assert refusal(sample(uid.ExplicitVRLittleEndian)) == (
        "scan: damaged DICOM file (ValueError); copy it again from where it was made"
    )


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from cxrs_edge.image import read_image
from cxrs_edge.errors import MissingDependency
try:
    read_image(sys.stdin.buffer.read(), name="scan")
except MissingDependency as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "syntax", "message"),
    [
        (
            "pydicom",
            uid.ExplicitVRLittleEndian,
            "pydicom: not installed; run: pip install 'cxrs-edge[dicom]'\n",
        ),
        ("imagecodecs", uid.RLELossless, "imagecodecs: not installed; run: pip install 'cxrs-edge[dicom]'\n"),
        ("imagecodecs", uid.ExplicitVRLittleEndian, ""),
    ],
)
def test_a_missing_package_is_named_with_its_cure(package: str, syntax: str, message: str) -> None:
    command = [sys.executable, "-c", WITHOUT, package]
    run = subprocess.run(command, input=sample(syntax), capture_output=True, check=True)
    assert run.stdout.decode() == message
