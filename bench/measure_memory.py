"""The table of docs/limits.md: peak memory of `cxrs-edge predict` for the largest file of each kind.

    make memory          # every kind, a few minutes
    python bench/measure_memory.py --only "PNG, 16 bit gray"

Each file has as many pixels as its kind may have (`cxrs_edge.decoding_cost`) or as fit into 100 MB. It is graded by
a process of its own; the figure is that process's `ru_maxrss`.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import click
import imagecodecs
import numpy as np
import pydicom
from PIL import Image, PngImagePlugin
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder

from cxrs_bench.latency.apart import run_apart
from cxrs_edge.structure import MAX_PNG_PACKED_TEXTS

Image.MAX_IMAGE_PIXELS = None
BOUND_MB = 600
"""What docs/limits.md promises, with a margin for other engines and versions."""


class Run(NamedTuple):
    """One process: peak resident set in MB, exit status, and the CSV that it wrote."""

    peak_mb: float
    status: int
    csv: str


def measure(path: Path, *options: str) -> Run:
    """Grade one file in a process of its own."""
    # What is made here is no chest: the quality gate would spare the inference that is to be measured.
    options = ("--threads", "1", "--format", "csv", "--no-gate", *options)
    usage = run_apart([sys.executable, "-m", "cxrs_edge", "predict", str(path), *options])
    return Run(usage.peak_bytes / 1e6, usage.status, "".join(usage.lines))


def smooth(mode: str, side: int) -> Image.Image:
    """A gradient: compresses well, so that the file is small and its pixels many."""
    row = np.linspace(0, 255, side, dtype=np.uint8)
    gray = Image.fromarray(np.broadcast_to(row, (side, side)).copy())
    return gray if mode == "L" else gray.convert(mode)


def deep(side: int) -> Image.Image:
    row = np.linspace(0, 65535, side).astype("<u2")
    return Image.frombytes("I;16", (side, side), np.broadcast_to(row, (side, side)).tobytes())


def noisy(mode: str, side: int) -> Image.Image:
    return Image.frombytes(mode, (side, side), np.random.default_rng(0).bytes(side * side * len(mode)))


def texts() -> PngImagePlugin.PngInfo:
    """As many packed texts as are allowed, each as large as Pillow unpacks, of the widest letters."""
    info = PngImagePlugin.PngInfo()
    for number in range(MAX_PNG_PACKED_TEXTS):
        info.add_itxt(f"text {number}", "\U00012000" * 260_000, zip=True)
    return info


class Kind(NamedTuple):
    """A kind of file: the side of the largest allowed one in pixels, how an image is drawn and how it is saved."""

    side: int
    draw: Callable[[int], Image.Image]
    file_format: str
    options: Mapping[str, object] = MappingProxyType({})

    def make(self, side: int | None = None) -> bytes:
        """The file; of another side if given."""
        buffer = io.BytesIO()
        self.draw(side or self.side).save(buffer, self.file_format, **self.options)
        return buffer.getvalue()


def jpeg_2000(pixels: np.ndarray) -> bytes:
    """A bare code stream, as DICOM holds it."""
    encoded: bytes = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k")
    return encoded


def run_length(pixels: np.ndarray) -> bytes:
    """The largest of DICOM's compressed forms: nothing in it repeats."""
    encoded: bytes = get_encoder(uid.RLELossless).encode(
        pixels,
        rows=len(pixels),
        columns=len(pixels),
        number_of_frames=1,
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=16,
        photometric_interpretation="MONOCHROME2",
        pixel_representation=0,
    )
    return encoded


class DicomKind(NamedTuple):
    """A DICOM X-ray of 16 bit, `side` pixels a side, in a transfer syntax."""

    side: int
    syntax: str = uid.ExplicitVRLittleEndian
    encode: Callable[[np.ndarray], bytes] | None = None

    def make(self, side: int | None = None) -> bytes:
        """The file; of another side if given."""
        side = side or self.side
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = self.syntax
        dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
        dataset.SOPInstanceUID, dataset.Modality, dataset.PresentationIntentType = (
            "1.2",
            "DX",
            "FOR PRESENTATION",
        )
        dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
        dataset.Rows = dataset.Columns = side
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.WindowCenter, dataset.WindowWidth = "32768", "65536"
        pixels = np.asarray(deep(side))
        if self.encode is None:
            dataset.add_new("PixelData", "OW", pixels.tobytes())
        else:
            dataset.add_new("PixelData", "OB", encapsulate([self.encode(pixels)]))
            dataset["PixelData"].is_undefined_length = True
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()


def of(mode: str) -> Callable[[int], Image.Image]:
    return partial(smooth, mode)


QUICK = {"compress_level": 1}
DEFLATED = {"compression": "tiff_adobe_deflate"}
ONE_STRIP = {"strip_size": 2**31}
KINDS: Mapping[str, Kind | DicomKind] = {
    "PNG of 600 x 600": Kind(600, of("L"), "PNG"),
    "PNG, 16 bit gray of 12 megapixels": Kind(3464, deep, "PNG", QUICK),
    "JPEG, gray": Kind(8000, of("L"), "JPEG"),
    "JPEG, gray noise": Kind(7900, partial(noisy, "L"), "JPEG", {"quality": 97}),
    "JPEG, colour 4:2:0": Kind(8000, of("RGB"), "JPEG"),
    "JPEG, colour 4:4:4": Kind(5700, of("RGB"), "JPEG", {"subsampling": 0}),
    "JPEG, progressive": Kind(5700, of("RGB"), "JPEG", {"subsampling": 0, "progressive": True}),
    "JPEG, CMYK progressive": Kind(4950, of("CMYK"), "JPEG", {"progressive": True}),
    "PNG, 8 bit gray noise": Kind(8000, partial(noisy, "L"), "PNG", QUICK),
    "PNG, 16 bit gray": Kind(8000, deep, "PNG", QUICK),
    "PNG, 16 bit gray and packed texts": Kind(8000, deep, "PNG", {**QUICK, "pnginfo": texts()}),
    "PNG, colour": Kind(7070, of("RGB"), "PNG", QUICK),
    "PNG, colour noise": Kind(5690, partial(noisy, "RGB"), "PNG", QUICK),
    "PNG, transparent": Kind(7070, of("RGBA"), "PNG", QUICK),
    "PNG, palette with transparency": Kind(8000, of("P"), "PNG", {"transparency": 3}),
    "PNG, 1 bit": Kind(8000, of("1"), "PNG"),
    "BMP, gray": Kind(8000, of("L"), "BMP"),
    "BMP, colour": Kind(5770, of("RGB"), "BMP"),
    "TIFF, 16 bit gray": Kind(7000, deep, "TIFF"),
    "TIFF, 16 bit gray deflated in one strip": Kind(7000, deep, "TIFF", {**DEFLATED, **ONE_STRIP}),
    "TIFF, 16 bit gray, to be turned": Kind(7000, deep, "TIFF", {"tiffinfo": {274: 6}}),
    "TIFF, LZW colour": Kind(7000, of("RGB"), "TIFF", {"compression": "tiff_lzw"}),
    "TIFF, colour deflated in one strip": Kind(4990, of("RGB"), "TIFF", {**DEFLATED, **ONE_STRIP}),
    "TIFF, JPEG colour in one strip": Kind(4990, of("RGB"), "TIFF", {"compression": "jpeg", **ONE_STRIP}),
    "TIFF, CMYK": Kind(4990, of("CMYK"), "TIFF"),
    "TIFF, 32 bit integers": Kind(4990, of("I"), "TIFF"),
    "TIFF, 32 bit integers deflated": Kind(7000, of("I"), "TIFF", DEFLATED),
    "TIFF, float (refused)": Kind(4990, of("F"), "TIFF"),
    "DICOM, 16 bit": DicomKind(6320),
    "DICOM, 16 bit, deflated": DicomKind(6320, uid.DeflatedExplicitVRLittleEndian),
    "DICOM, 16 bit, JPEG-LS": DicomKind(6320, uid.JPEGLSLossless, imagecodecs.jpegls_encode),
    "DICOM, 16 bit, JPEG 2000": DicomKind(6320, uid.JPEG2000Lossless, jpeg_2000),
    "DICOM, 16 bit, RLE": DicomKind(6320, uid.RLELossless, run_length),
}


@click.command()
@click.option("--only", metavar="KIND", type=click.Choice(list(KINDS)), multiple=True)
@click.option("--engine", default="auto", show_default=True)
def main(only: tuple[str, ...], engine: str) -> None:
    """Print the table, a line for each kind as soon as it is measured."""
    click.echo("| file | MB | peak MB | answer |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in only or KINDS:
            path = Path(folder, "scan")
            path.write_bytes(KINDS[kind].make())
            run = measure(path, "--engine", engine)
            answer = "graded" if run.status == 0 else run.csv.splitlines()[1].split(": ", 1)[1]
            click.echo(f"| {kind} | {path.stat().st_size / 1e6:.1f} | {run.peak_mb:.0f} | {answer} |")


if __name__ == "__main__":
    main()
