"""Download, studies, gradings and published lists -> which film becomes which image, and why others do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.data.ricord.annotations import INVALID, Grading
from cxrs_bench.data.ricord.clinical import Study
from cxrs_bench.data.ricord.published import Box, Published
from cxrs_edge.errors import DataError

COLLECTION = "MIDRC-RICORD-1C"
FILM_PATTERNS = tuple(f"{above}{COLLECTION}-*/*/*/*.dcm" for above in ("", "*/", "*/*/"))
"""From the collection's folder, its parent, or the download tool's folder around both."""

NO_STUDY = "study neither in the spreadsheet nor in the published mapping"
NOT_USABLE = "not in the published list of usable images"
NOT_GRADED = "no airspace grade"
GRADED_INVALID = "graded invalid by the majority"
NOT_IN_TEST = "of an official test patient, but no official test image"
MISSING = "in the published list of usable images, but not in the download"
NOT_READ = "the DICOM file was refused"


@dataclass(frozen=True)
class Film:
    """One DICOM file that becomes one image; `grading` is None where only the published test level is known."""

    name: str
    dicom: Path
    study: Study
    box: Box | None
    level: int
    split: str
    grading: Grading | None

    @property
    def where(self) -> str:
        """The DICOM file inside the collection: patient, study, series, file."""
        return inside_collection(self.dicom)


@dataclass(frozen=True)
class Exclusion:
    """One image that is left out: a reason out of a few, and what more there is to say."""

    name: str
    patient: str
    reason: str
    detail: str = ""
    dicom: str = ""


@dataclass(frozen=True)
class Plan:
    """What to do, in the order of the image names."""

    films: tuple[Film, ...]
    exclusions: tuple[Exclusion, ...]


def inside_collection(dicom: Path) -> str:
    """Patient, study, series and file: the path that is the same in every download."""
    return "/".join(dicom.parts[-4:])


def make_plan(
    download: Path, clinical: Iterable[Study], gradings: Mapping[str, Grading], published: Published
) -> Plan:
    """Decide on every DICOM file below `download` and every published image. Raises `DataError`."""
    studies = _join(clinical, published.studies)
    films: list[Film] = []
    exclusions: list[Exclusion] = []
    found = dict(_find_films(download))
    for name, (patient, tail, dicom) in found.items():
        decided = _decide(name, dicom, studies.get((patient, tail)), gradings, published)
        if isinstance(decided, Film):
            films.append(decided)
        else:
            exclusions.append(Exclusion(name, patient, *decided, inside_collection(dicom)))
    for name in sorted(published.boxes.keys() - found.keys()):
        exclusions.append(Exclusion(name, _patient_of(name), MISSING))
    return Plan(tuple(films), tuple(sorted(exclusions, key=lambda one: one.name)))


def _join(clinical: Iterable[Study], mapping: Iterable[Study]) -> dict[tuple[str, str], Study]:
    """By patient and tail of the UID; the spreadsheet, which knows dates, goes before the mapping."""
    studies: dict[tuple[str, str], Study] = {}
    for study in (*clinical, *mapping):
        known = studies.setdefault(study.key, study)
        if known.uid != study.uid:
            raise DataError(
                f"patient {study.patient}: the studies {known.uid} and {study.uid} end alike, so that their "
                "files can't be told apart; expected the spreadsheet and lists of RICORD-1C"
            )
    return studies


def _find_films(download: Path) -> Iterator[tuple[str, tuple[str, str, Path]]]:
    """Image name -> patient, tail of the study's UID and file.

    The published names number the files of a study in the order of their paths, lateral views included.
    """
    paths = next((found for pattern in FILM_PATTERNS if (found := list(download.glob(pattern)))), None)
    if not paths:
        raise DataError(
            f"{download}: no {COLLECTION}-*/*/*/*.dcm in it; expected the folder that the download tool made"
        )
    studies: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(paths, key=Path.as_posix):
        patient = path.parents[2].name.removeprefix(f"{COLLECTION}-")
        studies.setdefault((patient, path.parents[1].name.rsplit("-", 1)[-1]), []).append(path)
    for (patient, tail), files in sorted(studies.items()):
        for number, path in enumerate(files):
            yield f"{COLLECTION}-{patient}-{tail}-{number}.png", (patient, tail, path)


def _decide(
    name: str, dicom: Path, study: Study | None, gradings: Mapping[str, Grading], published: Published
) -> Film | tuple[str, str]:
    """The film, or a reason and a detail."""
    if name not in published.boxes:
        return NOT_USABLE, ""
    if study is None:
        return NO_STUDY, ""
    grading, box = gradings.get(study.uid), published.boxes[name]
    if name in published.test_levels:
        return Film(name, dicom, study, box, published.test_levels[name], "test", grading)
    if grading is None:
        return NOT_GRADED, study.uid
    if grading.winner == INVALID:
        return GRADED_INVALID, str(grading)
    if study.patient in published.test_patients:
        return NOT_IN_TEST, str(grading)
    return Film(name, dicom, study, box, int(grading.winner[-1]), "train", grading)


def _patient_of(name: str) -> str:
    """An image is named by collection, patient, tail and number, and no tail has a hyphen."""
    return name.removeprefix(f"{COLLECTION}-").rsplit("-", 2)[0]
