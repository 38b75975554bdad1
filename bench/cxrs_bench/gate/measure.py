"""What the quality gate says of real films, spoiled films, drawn phantoms, pictures and made images."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrs_bench.data.parallel import map_in_processes
from cxrs_bench.gate.films import Film
from cxrs_bench.gate.made import MADE
from cxrs_bench.gate.packaged import SMALLEST, packaged_pictures
from cxrs_bench.gate.spoil import SPOILS
from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_bench.progress import Report
from cxrs_edge.errors import ImageError
from cxrs_edge.gate import Gate, Verdict
from cxrs_edge.gate.gate import ADVICE, DOUBTFUL, DRAWN
from cxrs_edge.image import GrayImage, read_file, read_image
from cxrs_edge.prepare import InputSpec, pixels_needed, prepare, to_8_bit

Plane = NDArray[np.uint8]

MADE_EACH, PHANTOMS, PARTS = 50, 40, 5
MADE_SIZE = (600, 600)
MEASURED_SEED = 1_000_000
"""Of made images and phantoms; those of the fit come from others."""
REASONS = {kind: looks_like for kind, (looks_like, _) in ADVICE.items()} | {
    "nearly blank": "nearly blank",
    "small": "too small",
}
"""Spoiled kind -> words of the note that names what is wrong."""
SHOWN_LEAST = 0.4
PIXELS_LEAST = 128


@dataclass(frozen=True)
class Tally:
    """Of one kind of images: how many were rejected, passed with a note of doubt, or passed.

    Attributes
    ----------
    patients : whose films they are, 0 if nobody's.
    right_reason : rejected for what was wrong with them, None if any reason is right.
    drawn : passed with the note that they look drawn; among `passed`.
    """

    kind: str
    images: int
    rejected: int
    noted: int
    passed: int
    patients: int = 0
    right_reason: int | None = None
    drawn: int = 0


def measure_films(films: Sequence[Film], report: Report, workers: int | None = None) -> list[Tally]:
    """One tally for each set and split, every film through the device's own reading and preparation."""
    verdicts = list(
        map_in_processes(judge_file, [film.path for film in films], "real films", report, workers)
    )
    groups = dict.fromkeys(film.group for film in films)
    return [
        _tally(
            group,
            [verdict for film, verdict in zip(films, verdicts, strict=True) if film.group == group],
            _count_patients([film for film in films if film.group == group]),
        )
        for group in groups
    ]


def measure_spoiled(films: Sequence[Film], report: Report, workers: int | None = None) -> list[Tally]:
    """One tally for each way to spoil a film."""
    found: dict[str, list[Verdict]] = defaultdict(list)
    for verdicts in map_in_processes(_judge_spoiled, films, "spoiled films", report, workers):
        for kind, verdict in verdicts.items():
            found[kind].append(verdict)
    patients = _count_patients(films)
    return [_tally(f"film, {kind}", verdicts, patients, kind) for kind, verdicts in found.items()]


def measure_others(report: Report) -> list[Tally]:
    """Drawn phantoms, pictures of packages and windows of them, made images."""
    found: dict[str, list[Verdict]] = defaultdict(list)
    for done, (kind, plane) in enumerate(_others()):
        report("phantoms, pictures, made images", done, done + 1)
        found[kind].append(judge_plane(plane))
    return [_tally(kind, verdicts) for kind, verdicts in found.items()]


def judge_plane(plane: Plane, size: tuple[int, int] | None = None) -> Verdict:
    """What the bundled gate says of gray pixels, as if their file had this width and height; by default their own."""
    size = size or (plane.shape[1], plane.shape[0])
    return _judge(GrayImage(pixels=plane, name="image", format="PNG", size=size))


def _judge(image: GrayImage) -> Verdict:
    try:
        pixels = prepare(image, InputSpec())
    except ImageError as error:
        return Verdict(rejected=True, notes=(str(error),))
    return Gate.bundled().judge(pixels[0, :, :, 0], image.size)


def judge_file(path: Path) -> Verdict:
    """What the bundled gate says of a file, prepared as for the bundled model; raises `ImageError`."""
    return _judge(_read(path))


def _read(path: Path) -> GrayImage:
    return read_image(read_file(path), name=str(path), at_least=pixels_needed(InputSpec()))


def _judge_spoiled(film: Film) -> dict[str, Verdict]:
    # The name decides, so that a film is spoiled alike whichever others are measured with it.
    rng = np.random.default_rng(zlib.crc32(film.path.name.encode()))
    image = _read(film.path)
    plane = to_8_bit(image.pixels)
    return {
        # A part keeps the film's size: most films here are so small that each of their parts would be too small.
        kind: judge_plane(spoil(plane, rng), None if kind == "small" else image.size)
        for kind, spoil in SPOILS.items()
    }


def _others() -> Iterator[tuple[str, Plane]]:
    for phantom in varied_phantoms(PHANTOMS, seed=MEASURED_SEED):
        yield "drawn phantom", draw_phantom(phantom)
    rng = np.random.default_rng(MEASURED_SEED)
    for picture in packaged_pictures():
        yield picture.kind, picture.plane
        if min(picture.plane.shape) > SMALLEST:
            yield from ((f"{picture.kind}, parts", _part_of(picture.plane, rng)) for _ in range(PARTS))
    for kind, make in MADE.items():
        yield from ((kind, make(MADE_SIZE, rng)) for _ in range(MADE_EACH))


def _part_of(plane: Plane, rng: np.random.Generator) -> Plane:
    """A random part at any turn, at the least of `PIXELS_LEAST` a side."""
    shape = np.array(plane.shape)
    rows, columns = np.maximum(rng.uniform(SHOWN_LEAST, 1, 2) * shape, PIXELS_LEAST).astype(int)
    top, left = (rng.random(2) * (shape - (rows, columns) + 1)).astype(int)
    return np.ascontiguousarray(
        np.rot90(plane[top : top + rows, left : left + columns], int(rng.integers(4)))
    )


def _tally(kind: str, verdicts: Sequence[Verdict], patients: int = 0, spoiled: str | None = None) -> Tally:
    rejected = [verdict for verdict in verdicts if verdict.rejected]
    passed = [verdict for verdict in verdicts if not verdict.rejected]
    noted = sum(any(note.startswith(DOUBTFUL) for note in verdict.notes) for verdict in passed)
    reason = REASONS.get(spoiled or "")
    return Tally(
        kind=kind,
        images=len(verdicts),
        rejected=len(rejected),
        noted=noted,
        passed=len(passed) - noted,
        patients=patients,
        right_reason=sum(reason in verdict.notes[0] for verdict in rejected) if reason else None,
        drawn=sum(DRAWN in verdict.notes for verdict in passed),
    )


def _count_patients(films: Sequence[Film]) -> int:
    return len({film.patient for film in films})
