"""A plan -> COVIDxSev folders and lists, labels.csv and the list of exclusions, in one folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.data.csv_text import csv_text
from cxrs_bench.data.parallel import map_in_processes
from cxrs_bench.data.ricord.images import Job, Prepared, Provenance, prepare_image, read_provenance
from cxrs_bench.data.ricord.plan import NOT_READ, Exclusion, Film, Plan
from cxrs_bench.progress import Report
from cxrs_edge.errors import DataError
from cxrs_edge.files import write_atomically

SPLITS = ("train", "test")
SOURCE = "ricord"
LABEL_COLUMNS = (
    "image_id", "patient_id", "level", "split", "source", "level_basis", "votes", "view", "age", "sex",
    "study_date", "exam", "study_uid",
)  # fmt: skip
EXCLUSION_COLUMNS = ("image_id", "patient_id", "reason", "detail", "dicom")


@dataclass(frozen=True)
class Made:
    """A film whose image is there."""

    film: Film
    provenance: Provenance


@dataclass(frozen=True)
class Built:
    """What a build came to."""

    made: tuple[Made, ...]
    exclusions: tuple[Exclusion, ...]


def build(plan: Plan, output: Path, report: Report, workers: int | None = None) -> Built:
    """Make every image of a plan, then write the lists, each file whole or not at all.

    Images that an earlier, interrupted run made are kept. Raises `DataError` when nothing is left or the disk is
    full.
    """
    try:
        return _build(plan, output, report, workers)
    except OSError as error:
        raise DataError(f"{output}: can't be written: {error.strerror or error}") from error


def _build(plan: Plan, output: Path, report: Report, workers: int | None) -> Built:
    for split in SPLITS:
        (output / split).mkdir(parents=True, exist_ok=True)
    (output / "labels.csv").unlink(missing_ok=True)  # until it is written again, the set isn't complete
    jobs = [Job(film, output / film.split / film.name) for film in plan.films]
    prepared = list(map_in_processes(prepare_image, jobs, "preparing images", report, workers))
    built = _sort_out(plan, prepared)
    if not built.made:
        raise DataError(
            f"{output}: no image could be made of {len(plan.films)} films; {_first_reason(built)}"
        )
    _remove_former(output, built.made)
    for split in SPLITS:
        write_atomically(output / f"{split}_COVIDxSev.txt", _covidxsev(built.made, split).encode())
    write_atomically(output / "excluded.csv", _exclusions_csv(built.exclusions).encode())
    # Last, since it is what makes the folder a labelled set.
    write_atomically(output / "labels.csv", _labels_csv(built.made).encode())
    return built


def _remove_former(output: Path, made: Iterable[Made]) -> None:
    """Remove images that an earlier run made and this one did not: who reads the folder would take them in."""
    current = {output / one.film.split / one.film.name for one in made}
    for split in SPLITS:
        for image in set((output / split).glob("*.png")) - current:
            if read_provenance(image) is not None:
                image.unlink()


def _sort_out(plan: Plan, prepared: Sequence[Prepared]) -> Built:
    made, exclusions = [], list(plan.exclusions)
    for film, outcome in zip(plan.films, prepared, strict=True):
        if outcome.provenance is None:
            refused = Exclusion(film.name, film.study.patient, NOT_READ, outcome.refusal, film.where)
            exclusions.append(refused)
        else:
            made.append(Made(film, outcome.provenance))
    return Built(tuple(made), tuple(sorted(exclusions, key=lambda one: one.name)))


def _first_reason(built: Built) -> str:
    counts = Counter(f"{one.reason}: {one.detail}" for one in built.exclusions)
    return "most often: " + counts.most_common(1)[0][0] if counts else "the plan was empty"


def _covidxsev(made: Iterable[Made], split: str) -> str:
    films = (one.film for one in made if one.film.split == split)
    return "".join(f"{film.study.patient} {film.name} level{film.level} {SOURCE}\n" for film in films)


def _labels_csv(made: Iterable[Made]) -> str:
    rows = (
        (
            one.film.name, one.film.study.patient, one.film.level, one.film.split, SOURCE, _basis(one.film),
            one.film.grading or "", one.provenance.view, one.provenance.age, one.provenance.sex,
            one.film.study.date, one.film.study.exam, one.film.study.uid,
        )
        for one in made
    )  # fmt: skip
    return csv_text(LABEL_COLUMNS, rows)


def _basis(film: Film) -> str:
    if film.split == "test":
        return "published"
    return "tie" if film.grading and film.grading.tied else "majority"


def _exclusions_csv(exclusions: Iterable[Exclusion]) -> str:
    rows = ((one.name, one.patient, one.reason, one.detail, one.dicom) for one in exclusions)
    return csv_text(EXCLUSION_COLUMNS, rows)
