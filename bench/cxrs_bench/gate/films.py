"""Real films of a labelled set, whatever its labels: which file, whose, which split."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.label_table import filled, image_path, read_table, refuse_duplicates, with_suffix
from cxrs_edge.errors import DataError

REQUIRED_COLUMNS = ("image_id", "patient_id", "split")


@dataclass(frozen=True)
class Film:
    """One X-ray; `group` names its set and split, `source` the collection inside the set if it says so."""

    path: Path
    patient: str
    split: str
    group: str
    source: str


def at_most(count: int | None, films: Sequence[Film]) -> list[Film]:
    """The same ones each time, drawn from each group by a hash of the names; all of them if `count` is None."""
    drawn = sorted(films, key=lambda film: hashlib.sha256(film.path.name.encode()).digest())
    groups = dict.fromkeys(film.group for film in films)
    return [film for group in groups for film in [one for one in drawn if one.group == group][:count]]


def read_films(folder: Path) -> tuple[Film, ...]:
    """Read a folder with ``labels.csv`` and ``images/``; raises `DataError` as the other readers do."""
    path = folder / "labels.csv"
    ids, films = [], []
    try:
        for where, row in read_table(path, REQUIRED_COLUMNS):
            ids.append(filled(row, "image_id", where))
            split = filled(row, "split", where)
            films.append(
                Film(
                    path=image_path(folder / "images", with_suffix(ids[-1]), where),
                    patient=filled(row, "patient_id", where),
                    split=split,
                    group=f"{folder.name}, {split}",
                    source=row.get("source", ""),
                )
            )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    refuse_duplicates(ids, path)
    if not films:
        raise DataError(f"{path}: no rows; expected one for each film")
    return tuple(films)
