"""COVID-Net's published lists: usable images with crop boxes, study UIDs, and the official test set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.data.ricord.clinical import Study
from cxrs_bench.labelled import read_labelled
from cxrs_edge.errors import DataError

USABLE, STUDIES, TEST = (
    "ricord_data_set.txt", "ricord_patientid_to_studyid_mapping.json", "test_COVIDxSev.txt",
)  # fmt: skip
FOLDERS = (".", "create_ricord_dataset", "labels")
"""Where in a clone of github lindawangg/COVID-Net they are."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of the whole film."""


@dataclass(frozen=True)
class Published:
    """The lists.

    Attributes
    ----------
    boxes : name of each usable image -> its crop box, None for the whole film.
    studies : patients and UIDs of the usable images' studies.
    test_levels : name of each official test image -> 1 or 2.
    test_patients : the patients of those images.
    """

    boxes: dict[str, Box | None]
    studies: tuple[Study, ...]
    test_levels: dict[str, int]
    test_patients: frozenset[str]


def read_published(folder: Path) -> Published:
    """Read the lists in `folder`, or in the subfolders of a clone. Raises `DataError`."""
    usable, studies, test = (_find(folder, name) for name in (USABLE, STUDIES, TEST))
    rows = read_labelled(test)
    try:
        return Published(
            boxes=dict(_read_boxes(usable)),
            studies=tuple(_read_studies(studies)),
            test_levels={row.path.name: row.level for row in rows},
            test_patients=frozenset(row.patient for row in rows),
        )
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{folder}: can't be read: {error}") from error


def _find(folder: Path, name: str) -> Path:
    for path in (folder / place / name for place in FOLDERS):
        if path.is_file():
            return path
    raise DataError(f"{folder}: no {name} in it; expected the lists of github lindawangg/COVID-Net")


def _read_boxes(path: Path) -> Iterator[tuple[str, Box | None]]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        name, *numbers = line.split() or [""]
        if not name:
            continue
        if not numbers:
            yield name, None
            continue
        if len(numbers) != 4 or not all(word.isdecimal() for word in numbers):
            raise DataError(f"{path}:{number}: {line[:80]!r}; expected: file, or file left top right bottom")
        left, top, right, bottom = map(int, numbers)
        if left >= right or top >= bottom:
            raise DataError(f"{path}:{number}: an empty box in {line[:80]!r}")
        yield name, (left, top, right, bottom)


def _read_studies(path: Path) -> Iterator[Study]:
    try:
        studies = json.loads(path.read_text(encoding="utf-8-sig"))
        pairs = [(patient, uid) for patient, uids in studies.items() for uid in uids]
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: {error}; expected JSON: patient -> list of study UIDs") from error
    for patient, uid in pairs:
        if not isinstance(uid, str):
            raise DataError(
                f"{path}: a study UID of {patient} is no text; expected JSON: patient -> list of UIDs"
            )
        yield Study(patient, uid)
