"""The table of docs/limits.md: peak memory of `cxrs-edge predict` for the largest file of each kind.

    make memory          # every kind, a few minutes
    python bench/measure_memory.py --only "PNG, 16 bit gray"

Each file has as many pixels as its kind may have (`cxrs_edge.image`), drawn as noise where that makes the file
larger, and is graded by a process of its own; the figure is that process's `ru_maxrss`.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
SIDE = 8000
"""Its square is `cxrs_edge.image.MAX_PIXELS`."""


class Run(NamedTuple):
    """One process: peak resident set in MB, exit status, and the CSV that it wrote."""

    peak_mb: float
    status: int
    csv: str


LAUNCHER = """
import os, sys
process = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(process, 0)
sys.stdout.write(f"{usage.ru_maxrss * 1024} {os.waitstatus_to_exitcode(status)}")
"""
"""A process starts with the peak of the one that it was forked from, so a small one stands between."""


def measure(path: Path, *options: str) -> Run:
    """Grade one file in a process of its own."""
    predict = ["-m", "cxrs_edge", "predict", str(path), "--threads", "1", "--format", "csv", *options]
    command = [sys.executable, "-S", "-c", LAUNCHER, *predict]
    done = subprocess.run(command, capture_output=True, check=True)
    *_, figures = done.stdout.decode().splitlines()
    peak, status = figures.split()
    return Run(int(peak) / 1e6, int(status), done.stdout.decode())


def smooth(mode: str, width: int, height: int) -> Image.Image:
    """A gradient: compresses well, so that the file is small and its pixels many."""
    row = np.linspace(0, 255, width, dtype=np.uint8)
    gray = Image.fromarray(np.broadcast_to(row, (height, width)).copy())
    return gray if mode == "L" else gray.convert(mode)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, row: bytes, *, interlaced: bool = False) -> bytes:
    """A PNG of equal rows; of an interlaced one the rows are only right in number of bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(b"\0" + row) for _ in range(height * (2 if interlaced else 1)))
    pixels = rows + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(mode: str, side: int, **options: object) -> bytes:
    return encode(smooth(mode, side, side), "TIFF", **options)


def deep(side: int) -> Image.Image:
    row = np.linspace(0, 65535, side).astype("<u2")
    return Image.frombytes("I;16", (side, side), np.broadcast_to(row, (side, side)).tobytes())


def noisy(mode: str, side: int) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (side, side), np.random.default_rng(0).bytes(side * side * channels))


KINDS: Mapping[str, Callable[[], bytes]] = {
    "small PNG": lambda: encode(smooth("L", 600, 600), "PNG"),
    "JPEG, gray": lambda: encode(smooth("L", SIDE, SIDE), "JPEG"),
    "JPEG, colour 4:2:0": lambda: encode(smooth("RGB", SIDE, SIDE), "JPEG"),
    "JPEG, colour 4:4:4": lambda: encode(smooth("RGB", 5770, 5770), "JPEG", subsampling=0, quality=95),
    "JPEG, colour 4:4:4 progressive": lambda: encode(
        smooth("RGB", 5770, 5770), "JPEG", subsampling=0, progressive=True
    ),
    "JPEG, CMYK progressive": lambda: encode(smooth("CMYK", 5000, 5000), "JPEG", progressive=True),
    "JPEG, gray noise of 90 MB": lambda: encode(noisy("L", 7900), "JPEG", quality=97),
    "PNG, 8 bit gray": lambda: encode(smooth("L", SIDE, SIDE), "PNG"),
    "PNG, 8 bit gray noise": lambda: encode(noisy("L", SIDE), "PNG", compress_level=1),
    "PNG, 16 bit gray": lambda: encode(deep(SIDE), "PNG", compress_level=1),
    "PNG, 16 bit interlaced": lambda: png(SIDE, SIDE, 16, 0, bytes(2 * SIDE), interlaced=True),
    "PNG, colour noise of 97 MB": lambda: encode(noisy("RGB", 5690), "PNG", compress_level=1),
    "PNG, colour": lambda: png(7070, 7070, 8, 2, bytes(range(210)) * 101),
    "PNG, with transparency": lambda: png(7070, 7070, 8, 6, bytes(range(140)) * 202),
    "PNG, gray with transparency": lambda: encode(smooth("LA", 7070, 7070), "PNG"),
    "PNG, palette": lambda: encode(smooth("P", SIDE, SIDE), "PNG"),
    "PNG, palette with transparency": lambda: encode(smooth("P", SIDE, SIDE), "PNG", transparency=3),
    "PNG, 1 bit": lambda: encode(smooth("1", SIDE, SIDE), "PNG"),
    "BMP, colour": lambda: encode(smooth("RGB", 5770, 5770), "BMP"),
    "BMP, gray": lambda: encode(smooth("L", SIDE, SIDE), "BMP"),
    "TIFF, 16 bit gray": lambda: encode(deep(7000), "TIFF"),
    "TIFF, 16 bit gray in one deflated strip": lambda: encode(
        deep(7070), "TIFF", compression="tiff_adobe_deflate", strip_size=2**31
    ),
    "TIFF, colour in one deflated strip": lambda: tiff(
        "RGB", 5345, compression="tiff_adobe_deflate", strip_size=2**31
    ),
    "TIFF, LZW colour": lambda: tiff("RGB", 7000, compression="tiff_lzw"),
    "TIFF, JPEG colour": lambda: tiff("RGB", 5345, compression="jpeg", strip_size=2**31),
    "TIFF, CMYK": lambda: tiff("CMYK", 4990),
    "TIFF, float": lambda: tiff("F", 4990),
    "TIFF, float deflated": lambda: tiff("F", 7000, compression="tiff_adobe_deflate"),
    "TIFF, 32 bit integers": lambda: tiff("I", 4990),
    "TIFF, 32 bit integers deflated": lambda: tiff("I", 7000, compression="tiff_adobe_deflate"),
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
            path.write_bytes(KINDS[kind]())
            run = measure(path, "--engine", engine)
            answer = "graded" if run.status == 0 else run.csv.splitlines()[1].split(": ", 1)[1]
            click.echo(f"| {kind} | {path.stat().st_size / 1e6:.1f} | {run.peak_mb:.0f} | {answer} |")


if __name__ == "__main__":
    main()
