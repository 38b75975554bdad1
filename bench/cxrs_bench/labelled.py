"""Labelled sets of chest X-rays: which image, whose, which level, which split.

Two formats: a folder with ``labels.csv`` and ``images/`` (columns ``image_id, patient_id, level, split`` and,
where given, ``fold, source, level_basis, licence, view, age, sex`` and those of `cxrs_bench.readings`), and
COVIDxSev text files (github lindawangg/COVID-Net): ``patient file level source`` a line, one list a split, with a
folder of images.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cxrs_bench.label_table import Row, filled, image_path, read_table, refuse_duplicates, with_suffix
from cxrs_bench.readings import NOT_READ, Readings, parse_readings
from cxrs_edge.errors import DataError

LEVELS = (0, 1, 2)
REQUIRED_COLUMNS = ("image_id", "patient_id", "level", "split")
LISTED_SPLITS = ("train", "test", "val")
"""What the name of a COVIDxSev list says it is."""
NO_DERIVATIVES = re.compile(r"(?<![a-z])(nd(?![a-z])|no.?deriv)", re.IGNORECASE)
"""As a code, in words or in the address of a licence."""


@dataclass(frozen=True)
class LabelledImage:
    """One X-ray with its level: 0 (no zone with opacity), 1 (one or two zones) or 2 (three or more).

    `view`, `age` and `sex` are as the set writes them, empty where it doesn't.
    """

    image_id: str
    path: Path
    patient: str
    level: int
    split: str
    fold: int = -1
    source: str = ""
    basis: str = ""
    licence: str = ""
    view: str = ""
    age: str = ""
    sex: str = ""
    readings: Readings = NOT_READ


LabelledSet = tuple[LabelledImage, ...]


def read_labelled(path: Path, *, images: Path | None = None) -> LabelledSet:
    """Read a labelled set of either format; patients shared between its splits are refused by name.

    Parameters
    ----------
    path : a folder with ``labels.csv``, that file itself, a COVIDxSev ``.txt`` list, or a folder of such lists,
        whose names say train, test or val. One list alone can't tell that it shares patients with another.
    images : folder of the images; default, beside the file, ``images/``, else a folder named as the split, else
        for a list its own folder.
    """
    try:
        files = _files_of(path)
        if len(files) == 1:
            (path,) = files
        rows = tuple(row for file in files for row in _read_file(file, images))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    if not rows:
        raise DataError(f"{path}: no images; expected at least one row")
    refuse_duplicates([row.image_id for row in rows], path)
    refuse_shared_patients(rows)
    return rows


def covidxsev_lists(folder: Path) -> list[Path]:
    """The lists in a folder whose names say train, test or val, sorted."""
    return [file for file in sorted(folder.glob("*.txt")) if _split_of(file) in LISTED_SPLITS]


class Assigned(Protocol):
    """An image that belongs to a patient and a split."""

    @property
    def patient(self) -> str: ...
    @property
    def split(self) -> str: ...


def refuse_shared_patients(*sets: Iterable[Assigned]) -> None:
    """Raise `DataError` naming the patients that are in more than one split."""
    splits: dict[str, set[str]] = {}
    for image in (image for rows in sets for image in rows):
        splits.setdefault(image.patient, set()).add(image.split)
    shared = sorted(patient for patient, found in splits.items() if len(found) > 1)
    if shared:
        names = ", ".join(f"{p} ({' and '.join(sorted(splits[p]))})" for p in shared[:5])
        more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
        raise DataError(
            f"{len(shared)} patients are in more than one split: {names}{more}; "
            "expected every patient's images in one split; move them together"
        )


def in_split(rows: LabelledSet, split: str, levels: Sequence[int] = LEVELS) -> LabelledSet:
    """The rows of one split (``all`` for every one) with one of the levels."""
    chosen = tuple(r for r in rows if split in ("all", r.split) and r.level in levels)
    if not chosen:
        have = ", ".join(sorted({r.split for r in rows}))
        raise DataError(
            f"split {split!r}: no images with level {' or '.join(map(str, levels))}; the set has: {have}"
        )
    return chosen


def without_no_derivatives(rows: LabelledSet) -> LabelledSet:
    """Leave out images whose licence forbids derivatives (CC ... ND): they may be judged on, not trained on."""
    return tuple(r for r in rows if not NO_DERIVATIVES.search(r.licence))


def set_digest(rows: LabelledSet) -> str:
    """SHA-256 over ids, patients and levels: names the exact data a model was trained on."""
    lines = sorted(f"{r.image_id}\t{r.patient}\t{r.level}\n" for r in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if (path / "labels.csv").is_file():
        return [path / "labels.csv"]
    lists = covidxsev_lists(path)
    if not lists:
        where = path / "labels.csv" if path.is_dir() else path
        raise DataError(f"{where}: no such file; expected labels.csv or COVIDxSev .txt lists")
    return lists


def _read_file(path: Path, images: Path | None) -> LabelledSet:
    return (_read_covidxsev if path.suffix == ".txt" else _read_csv)(path, images)


def _images_beside(path: Path, split: str, otherwise: Path) -> Path:
    # Any other word of a table from elsewhere could lead out of its folder.
    names = ("images", split) if split in LISTED_SPLITS else ("images",)
    folders = (path.parent / name for name in names)
    return next((folder for folder in folders if folder.is_dir()), otherwise)


def _read_csv(path: Path, images: Path | None) -> LabelledSet:
    return tuple(_from_row(row, path, where, images) for where, row in read_table(path, REQUIRED_COLUMNS))


def _from_row(row: Row, path: Path, where: str, images: Path | None) -> LabelledImage:
    image_id, patient, split = (filled(row, key, where) for key in ("image_id", "patient_id", "split"))
    folder = images or _images_beside(path, split, path.parent / "images")
    return LabelledImage(
        image_id=image_id,
        path=image_path(folder, with_suffix(image_id), where),
        patient=patient,
        level=_integer(row, "level", where, LEVELS),
        split=split,
        fold=_integer(row, "fold", where, range(-1, 100)) if row.get("fold") else -1,
        source=row.get("source", ""),
        basis=row.get("level_basis", ""),
        licence=row.get("licence", ""),
        view=row.get("view", ""),
        age=row.get("age", ""),
        sex=row.get("sex", ""),
        readings=parse_readings(row, where),
    )


def _split_of(path: Path) -> str:
    words = re.split("[^a-z]+", path.stem.lower())
    return next((name for name in LISTED_SPLITS if name in words), path.stem)


def _read_covidxsev(path: Path, images: Path | None) -> LabelledSet:
    split = _split_of(path)
    folder = images or _images_beside(path, split, path.parent)
    words = {f"level{level}": level for level in LEVELS}
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        where, parts = f"{path}:{number}", line.split()
        if len(parts) != 4:
            raise DataError(f"{where}: {len(parts)} words; expected: patient file level source")
        patient, file, level, source = parts
        if level not in words:
            raise DataError(f"{where}: level {level!r}; expected one of {', '.join(words)}")
        rows.append(
            LabelledImage(
                image_id=Path(file).stem,
                path=image_path(folder, file, where),
                patient=patient,
                level=words[level],
                split=split,
                source=source,
            )
        )
    return tuple(rows)


def _integer(row: Row, key: str, where: str, allowed: Iterable[int]) -> int:
    text = row.get(key, "").strip()
    choices = list(allowed)
    if text not in {str(choice) for choice in choices}:
        raise DataError(f"{where}: {key} {text!r}; expected {choices[0]} to {choices[-1]}")
    return int(text)
