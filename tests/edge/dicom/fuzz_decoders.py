# ruff: noqa: T201
"""Give decoders damaged pictures, each in a process that may die of it, and count what happened.

    cd tests/edge
    python -m dicom.fuzz_decoders --count 5000                      # this package's reader
    pip install python-gdcm
    python -m dicom.fuzz_decoders --decoder gdcm imagecodecs cxrs-edge

docs/adr/0008-decoding-dicom-with-imagecodecs.md has its numbers. Each decoder gets the same files.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import imagecodecs
import numpy as np
import pydicom
from pydicom import uid

from cxrs_edge.dicom.decode import CODECS
from cxrs_edge.image import read_image

from .conftest import encode, new_dataset, stored_values
from .test_matrix import jpeg_2000, jpeg_lossless, jpeg_ls

KINDS = {
    "JPEG baseline": (uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode(stored_values(8), level=90), 8),
    "JPEG lossless": (uid.JPEGLosslessSV1, jpeg_lossless(stored_values(12), 12), 12),
    "JPEG-LS": (uid.JPEGLSLossless, jpeg_ls(stored_values(12), 12), 12),
    "JPEG 2000": (uid.JPEG2000Lossless, jpeg_2000(stored_values(12), 12), 12),
}
SECONDS, SECONDS_EACH = 30, 0.3
"""For a child and each of its files; one that needs longer counts as hung."""


def by_cxrs_edge(data: bytes) -> None:
    read_image(data, name="scan")


def by_gdcm(data: bytes) -> None:
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.pixel_array_options(decoding_plugin="gdcm")
    _ = dataset.pixel_array


def by_imagecodecs(data: bytes) -> None:
    dataset = pydicom.dcmread(io.BytesIO(data))
    frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    getattr(imagecodecs, f"{CODECS[dataset.file_meta.TransferSyntaxUID]}_decode")(frame)


DECODERS: dict[str, Callable[[bytes], None]] = {
    "cxrs-edge": by_cxrs_edge,
    "gdcm": by_gdcm,
    "imagecodecs": by_imagecodecs,
}


def damaged(kind: str, seed: int) -> bytes:
    """A file of which one to five bytes of the code stream are others, more often at its beginning."""
    syntax, frame, bits = KINDS[kind]
    random = np.random.default_rng(seed)
    bad = bytearray(frame)
    for _ in range(random.integers(1, 6)):
        end = min(len(bad), 150) if random.random() < 0.5 else len(bad)
        bad[random.integers(2, end)] = random.integers(256)
    return encode(new_dataset(stored_values(bits), bits), syntax, bytes(bad))


def decode_all(decoder: str, kind: str, first: int, count: int) -> None:
    """In the child: one word to standard output for each file."""
    for seed in range(first, count):
        data = damaged(kind, seed)
        try:
            DECODERS[decoder](data)
        except Exception:
            print("refused", flush=True)
        else:
            print("decoded", flush=True)


def run(decoder: str, kind: str, count: int) -> Counter[str]:
    """In the parent: go on behind each file of which the child died or in which it hung."""
    outcomes: Counter[str] = Counter()
    while outcomes.total() < count:
        child = [
            sys.executable,
            "-m",
            __spec__.name,
            "--child",
            decoder,
            kind,
            str(outcomes.total()),
            str(count),
        ]
        with subprocess.Popen(child, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                output, _ = process.communicate(timeout=SECONDS + SECONDS_EACH * count)
                ended = "died" if process.returncode else ""
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
                ended = "hung"
        outcomes.update(output.split())
        outcomes.update([ended] if ended else [])
    return outcomes


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--decoder", nargs="+", choices=DECODERS, default=["cxrs-edge"])
    parser.add_argument("--child", nargs=4)
    options = parser.parse_args()
    if options.child:
        decoder, kind, first, count = options.child
        return decode_all(decoder, kind, int(first), int(count))
    print(
        "| decoder | kind | files | decoded | refused | process died | hung |\n|---|---|---|---|---|---|---|"
    )
    for decoder in options.decoder:
        for kind in KINDS:
            found = run(decoder, kind, options.count)
            counts = [found[outcome] for outcome in ("decoded", "refused", "died", "hung")]
            print(f"| {decoder} | {kind} | {options.count} | {' | '.join(map(str, counts))} |", flush=True)
    return None


if __name__ == "__main__":
    main()
