"""Chest X-rays as DICOM files, written in every way that the standard knows, and dcmtk's rendering of them."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

PATIENT = "Ephemeral^Nobody"
"""In every file, so that tests can see that it never gets out."""
HEIGHT, WIDTH = 72, 88


def stored_values(bits: int, signed: bool = False) -> NDArray[Any]:
    """H x W: every part of the range, its ends included, with noise that no codec can guess."""
    low = -(2 ** (bits - 1)) if signed else 0
    ramp = np.linspace(0, 2**bits - 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    noise = np.random.default_rng(bits).integers(-40, 41, (HEIGHT, WIDTH))
    values = np.clip(ramp + noise, 0, 2**bits - 1).astype(np.int64) + low
    values[0, :4] = [low, low + 1, low + 2**bits - 2, low + 2**bits - 1]
    dtype = f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    return values.astype(dtype)


def new_dataset(values: NDArray[Any], bits: int, **attributes: Any) -> FileDataset:
    """A DX image for presentation, seen from behind, with native pixels; `attributes` are added or replaced."""
    dataset = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.PatientName = PATIENT
    dataset.PatientID = PATIENT
    dataset.PatientAge = "061Y"
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    mask = np.array(2**bits - 1, f"u{values.dtype.itemsize}")
    dataset.PixelData = (values.view(mask.dtype) & mask).tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in attributes.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            del dataset[keyword]
    return dataset


def encode(dataset: Dataset, syntax: str = uid.ExplicitVRLittleEndian, frame: bytes | None = None) -> bytes:
    """The file in a transfer syntax; `frame` is its compressed picture."""
    syntax = uid.UID(syntax)
    dataset.file_meta.TransferSyntaxUID = syntax
    if frame is not None:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
    if syntax == uid.ExplicitVRBigEndian:
        # pydicom leaves words as they are given.
        swap_words(dataset, "PixelData")
        for item in [*dataset.get("VOILUTSequence", ()), *dataset.get("ModalityLUTSequence", ())]:
            swap_words(item, "LUTData")
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer,
        dataset,
        enforce_file_format=True,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
    )
    return buffer.getvalue()


def swap_words(dataset: Dataset, keyword: str) -> None:
    if dataset[keyword].VR == "OW":
        setattr(dataset, keyword, np.frombuffer(dataset[keyword].value, "<u2").byteswap().tobytes())
        dataset[keyword].VR = "OW"


def lut_item(first: int, bits: int, values: NDArray[Any]) -> Dataset:
    """An item of a Modality or VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(values) % 65536, first, bits])
    item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
    return item


Render = Callable[..., NDArray[np.uint16]]


@pytest.fixture(scope="session")
def render_by_dcmtk(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """dcmtk's rendering in 16 bits of a file's bytes: `render(data, "+Wi", "1")`."""
    folder = tmp_path_factory.mktemp("dcmtk")

    def render(data: bytes, *options: str, program: str = "dcmj2pnm") -> NDArray[np.uint16]:
        source, target = folder / "in.dcm", folder / "out.png"
        source.write_bytes(data)
        command = [dcmtk(program), "--quiet", "--no-overlays", *options, "+on2", source, target]
        subprocess.run(command, check=True, capture_output=True)
        with Image.open(target) as image:
            return np.asarray(image).astype(np.uint16)

    return render


@pytest.fixture(scope="session")
def recode_by_dcmtk(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """The same file in another transfer syntax by a program of dcmtk: `recode(data, "dcmcjpeg", "+el")`."""
    folder = tmp_path_factory.mktemp("dcmtk")

    def recode(data: bytes, program: str, *options: str) -> bytes:
        source, target = folder / "in.dcm", folder / "out.dcm"
        source.write_bytes(data)
        subprocess.run([dcmtk(program), *options, source, target], check=True, capture_output=True)
        return target.read_bytes()

    return recode


def dcmtk(program: str) -> str:
    """Where a program of dcmtk is; skips the test when it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is missing; install Debian's dcmtk: apt-get install dcmtk")
    return path


@pytest.fixture(scope="session")
def pydicom_file() -> Callable[[str], bytes]:
    """The bytes of a test file inside pydicom's wheel."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return lambda name: (folder / name).read_bytes()
