"""Near-duplicates: one X-ray in two files that differ in encoding, size, window, sign or framing.

Two stages. A perceptual hash of 256 bits (imagehash's pHash) picks candidates quickly; all chests resemble each
other, so each candidate is then verified by the correlation of its thumbnails after local normalization, which a
change of window hardly moves. Both cuts were chosen, and what they find and miss was measured, with
``tests/bench/data/test_near_duplicates.py`` on real X-rays (docs/data.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrs_bench.data.parallel import map_in_processes
from cxrs_bench.progress import Report
from cxrs_edge.errors import CxrsError, ImageError
from cxrs_edge.extras import import_extra
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import InputSpec, find_frame, to_8_bit

SIDE = 64
"""Pixels a side of a thumbnail: pHash's own for 16 x 16 bits."""
BITS = 256
MAX_HAMMING = 60
"""Bits of 256 in which the hashes of two candidates may differ."""
MIN_CORRELATION = 0.88
NEIGHBOURHOOD = 5.0
"""Standard deviation, in pixels of the thumbnail, of the window that local normalization looks through."""
NOISE = 4.0
"""Gray values (of 255) added to the local contrast, so that flat background stays flat."""
BORDER_CONTRAST, BORDER_SHARE = 12, 0.02
"""A row or column is border when at most this share of it differs by more than this from the corner."""
ROWS_PER_BLOCK = 256

Box = tuple[float, float, float, float]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Look:
    """What an image looks like in each of its framings.

    Attributes
    ----------
    hashes : float32, framings x 256, -1 or 1: the bits of pHash.
    thumbnails : float32, framings x 4096, each locally normalized, with mean 0 and length 1.
    """

    hashes: FloatArray
    thumbnails: FloatArray


class Match(NamedTuple):
    """Positions in the two sequences that were compared, and the correlation, negative for a negative."""

    first: int
    second: int
    similarity: float


def look_at(path: Path) -> Look:
    """Read an image and compute its look; raises `ImageError`."""
    gray = to_8_bit(read_image(read_file(path), name=str(path), at_least=4 * SIDE).pixels)
    return look_of(Image.fromarray(gray))


def look_at_all(paths: Sequence[Path], report: Report) -> tuple[dict[Path, Look], dict[Path, ImageError]]:
    """The look of each readable image, computed in parallel, and the errors of the others."""
    outcomes = zip(paths, map_in_processes(_look_or_error, paths, "looking at images", report), strict=True)
    looks, errors = {}, {}
    for path, look in outcomes:
        if isinstance(look, ImageError):
            errors[path] = look
        else:
            looks[path] = look
    return looks, errors


def look_of(image: Image.Image) -> Look:
    """The look of a gray image (mode L) in its framings."""
    phash = partial(import_extra("imagehash", "data").phash, hash_size=16)
    size = (SIDE, SIDE)
    thumbnails = [image.resize(size, Image.Resampling.BOX, box=box) for box in _framings(image)]
    bits = np.array([phash(thumbnail).hash.ravel() for thumbnail in thumbnails])
    return Look(
        hashes=np.where(bits, 1, -1).astype(np.float32),
        thumbnails=np.array([_normalized(np.asarray(thumbnail)) for thumbnail in thumbnails]),
    )


def find_near_duplicates(first: Sequence[Look], second: Sequence[Look]) -> Iterator[Match]:
    """Compare every look of `first` with every one of `second`; yields the best match of each near pair."""
    if not first or not second:
        return
    framings = len(second[0].hashes)
    hashes = np.concatenate([look.hashes for look in second])
    thumbnails = np.concatenate([look.thumbnails for look in second])
    block = max(1, ROWS_PER_BLOCK // framings)
    for start in range(0, len(first), block):
        some = first[start : start + block]
        # Hashes of -1 and 1: their product is bits that agree less bits that differ; a negative differs in all.
        product = np.abs(np.concatenate([look.hashes for look in some]) @ hashes.T)
        rows, columns = np.nonzero(product >= BITS - 2 * MAX_HAMMING)
        candidates = np.concatenate([look.thumbnails for look in some])[rows]
        similarity = np.einsum("ij,ij->i", candidates, thumbnails[columns])
        yield from _best(start + rows // framings, columns // framings, similarity)


def _best(first: NDArray[np.intp], second: NDArray[np.intp], similarity: FloatArray) -> Iterator[Match]:
    best: dict[tuple[int, int], float] = {}
    for a, b, value in zip(first.tolist(), second.tolist(), similarity.tolist(), strict=True):
        if abs(value) >= max(MIN_CORRELATION, abs(best.get((a, b), 0.0))):
            best[a, b] = value
    for (a, b), value in sorted(best.items()):
        yield Match(a, b, value)


def _look_or_error(path: Path) -> Look | ImageError:
    try:
        return look_at(path)
    except CxrsError as error:
        # Others than ImageError, such as a missing package, can't be sent between processes.
        return error if isinstance(error, ImageError) else ImageError(f"{path}: {error}")


def _framings(image: Image.Image) -> Iterable[Box]:
    """The whole, without uniform borders, and the parts of it that networks of this family are shown."""
    width, height = image.size
    yield (0, 0, width, height)
    yield _without_border(np.asarray(image))
    cut = InputSpec().crop_top
    yield (0, height * cut, width, height)
    for spec in (InputSpec(crop_top=0), InputSpec()):
        frame = find_frame(width, height, spec)
        yield (frame.left, frame.top, frame.left + frame.side, frame.top + frame.side)


def _without_border(gray: NDArray[np.uint8]) -> Box:
    differs = np.abs(gray.astype(np.int16) - int(gray[0, 0])) > BORDER_CONTRAST
    rows = np.flatnonzero(differs.mean(axis=1) > BORDER_SHARE)
    columns = np.flatnonzero(differs.mean(axis=0) > BORDER_SHARE)
    if min(len(rows), len(columns)) < 2:
        return (0, 0, gray.shape[1], gray.shape[0])
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def _normalized(thumbnail: NDArray[np.uint8]) -> FloatArray:
    blur = partial(import_extra("scipy.ndimage", "data").gaussian_filter, sigma=NEIGHBOURHOOD)
    detail = thumbnail - blur(thumbnail.astype(np.float32))
    local = detail / (np.sqrt(blur(detail * detail)) + NOISE)
    centred = (local - local.mean()).ravel()
    unit: FloatArray = (centred / (np.linalg.norm(centred) + 1e-6)).astype(np.float32)
    return unit
