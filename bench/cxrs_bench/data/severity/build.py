"""Films -> a labelled set in one folder: images, labels.csv, excluded.csv."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cxrs_bench.data.near_duplicates import look_at_all
from cxrs_bench.data.parallel import map_in_processes
from cxrs_bench.data.severity.films import Film
from cxrs_bench.data.severity.merge import Merged, merge_copies
from cxrs_bench.data.severity.rows import (
    Exclusion,
    Row,
    exclusions_csv,
    image_id,
    labels_csv,
    make_row,
    stratum,
)
from cxrs_bench.data.severity.split import split_patients
from cxrs_bench.progress import Report
from cxrs_edge.errors import DataError
from cxrs_edge.files import write_atomically
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import to_8_bit

LONGEST_SIDE, QUALITY = 1024, 93
FRONTAL = ("PA", "AP", "AP Supine", "unknown")
X_RAY = ("", "x-ray")
NO_IMAGE = "no clone has its image"
NOT_FRONTAL = "no frontal X-ray"
NOT_READ = "the image can't be read"
COPY = "copy of another film"


@dataclass(frozen=True)
class Built:
    """The rows of labels.csv, and the scored films left out."""

    rows: tuple[Row, ...]
    exclusions: tuple[Exclusion, ...]


@dataclass(frozen=True)
class Job:
    """An image and the JPEG that it becomes; can be sent to another process."""

    image: Path
    jpeg: Path


def build(films: Sequence[Film], output: Path, report: Report, seed: int = 0) -> Built:
    """Write the set. Raises `DataError` when no film is left or the folder can't be written."""
    exclusions = [one for film in films if (one := _exclusion(film))]
    left_out = {one.name for one in exclusions}
    with_image = {film.image: film for film in films if film.image and film.name not in left_out}
    looks, errors = look_at_all(list(with_image), report)
    for path, error in errors.items():
        film = with_image[path]
        exclusions.append(Exclusion(film.name, film.source, NOT_READ, str(error)))
    if not looks:
        reasons = Counter(one.reason for one in exclusions).most_common(1)
        raise DataError(
            f"{output}: no film is left; {len(exclusions)} scored ones, most often: {reasons[0][0]}"
        )
    merged = merge_copies([with_image[path] for path in looks], list(looks.values()), _pixels(looks))
    for kept in merged:
        exclusions += [Exclusion(copy.name, copy.source, COPY, kept.film.name) for copy in kept.copies]
    try:
        rows = _write(merged, exclusions, output, report, seed)
    except OSError as error:
        raise DataError(f"{output}: can't be written: {error.strerror or error}") from error
    return Built(rows, tuple(exclusions))


def _exclusion(film: Film) -> Exclusion | None:
    if film.about.view not in FRONTAL or film.about.modality.lower() not in X_RAY:
        told = " ".join(word for word in (film.about.modality, film.about.view) if word)
        return Exclusion(film.name, film.source, NOT_FRONTAL, told)
    if film.image is None:
        return Exclusion(film.name, film.source, NO_IMAGE)
    return None


def _pixels(paths: Iterable[Path]) -> list[int]:
    counts = []
    for path in paths:
        with Image.open(path) as image:
            counts.append(image.width * image.height)
    return counts


def _write(
    merged: Sequence[Merged], exclusions: Sequence[Exclusion], output: Path, report: Report, seed: int
) -> tuple[Row, ...]:
    images = output / "images"
    images.mkdir(parents=True, exist_ok=True)
    jobs = [Job(one.film.image, images / f"{image_id(one)}.jpg") for one in merged if one.film.image]
    sizes = map_in_processes(save_image, jobs, "writing images", report)
    strata: dict[str, Counter[str]] = {}
    for one in merged:
        strata.setdefault(one.patient, Counter())[stratum(one)] += 1
    parts = split_patients(strata, seed)
    rows = tuple(make_row(one, parts[one.patient], size) for one, size in zip(merged, sizes, strict=True))
    write_atomically(output / "excluded.csv", exclusions_csv(exclusions).encode())
    # Last, since it is what makes the folder a labelled set.
    write_atomically(output / "labels.csv", labels_csv(rows).encode())
    return rows


def save_image(job: Job) -> tuple[int, int]:
    """Write an 8 bit gray JPEG of at most 1024 pixels a side, never enlarged; returns its width and height."""
    gray = Image.fromarray(to_8_bit(read_image(read_file(job.image), name=str(job.image)).pixels))
    gray.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()
    gray.save(jpeg, "JPEG", quality=QUALITY)
    write_atomically(job.jpeg, jpeg.getvalue())
    return gray.size
