"""The repositories that the set is made of, and reading a table of one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrs_edge.errors import DataError
from cxrs_edge.image import SUFFIXES


@dataclass(frozen=True)
class Repository:
    """A repository on GitHub, what the set takes from it, and the folders of its images."""

    address: str
    gives: str
    images: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """What `git clone` calls it."""
        return self.address.split("/")[1]


BRIXIA = Repository(
    "BrixIA/Brixia-score-COVID-19",
    "Brixia scores and their films",
    ("data/public-cohen-subset", "public-cohen-subset"),
)
COVID_NET = Repository("lindawangg/COVID-Net", "Geographic and Opacity scores")
COHEN = Repository("ieee8023/covid-chestxray-dataset", "films, views, patients and licences", ("images",))
HANNOVER = Repository("ml-workgroup/covid-19-image-repository", "films, views and patients", ("png",))
FIGURE1 = Repository("agchung/Figure1-COVID-chestxray-dataset", "films and views", ("images",))
ACTUALMED = Repository("agchung/Actualmed-COVID-chestxray-dataset", "films, views and patients", ("images",))
REPOSITORIES = (BRIXIA, COVID_NET, COHEN, HANNOVER, FIGURE1, ACTUALMED)


def missing(clones: Path) -> tuple[Repository, ...]:
    """The repositories that are not below `clones`."""
    return tuple(one for one in REPOSITORIES if not (clones / one.folder).is_dir())


def key_of(name: str) -> str:
    """What a film is called in every collection: its file's name, without suffix and case."""
    stem, dot, suffix = name.strip().rpartition(".")
    return (stem if f"{dot}{suffix}".lower() in SUFFIXES else name.strip()).lower()


def find_images(clones: Path, repository: Repository) -> dict[str, Path]:
    """Key -> file of each image in a clone; empty without it."""
    found: dict[str, Path] = {}
    for folder in repository.images:
        for path in sorted((clones / repository.folder / folder).glob("*")):
            if path.suffix.lower() in SUFFIXES:
                found.setdefault(key_of(path.name), path)
    return found


def read_table(
    clones: Path, repository: Repository, places: Sequence[str], needs: Sequence[str]
) -> Iterator[dict[str, str]]:
    """The rows of the first table of a clone that is there, with column names in small letters; none without it.

    Cells are stripped, and ``nan`` is empty. Raises `DataError` for a table without the columns `needs`.
    """
    path = next((file for place in places if (file := clones / repository.folder / place).is_file()), None)
    if path is None:
        return
    try:
        # Some were written as Latin-1; places and notes, where that shows, are not used.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        rows = csv.DictReader(io.StringIO(text, newline=""))
        names = [name.strip().lower() for name in rows.fieldnames or ()]
        lacking = [name for name in needs if name not in names]
        if lacking:
            raise DataError(f"{path}: no column {lacking[0]}; it has: {', '.join(names)}")
        for row in rows:
            yield {name.strip().lower(): _cell(value) for name, value in row.items() if isinstance(name, str)}
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def _cell(value: str | None) -> str:
    text = (value or "").strip()
    return "" if text.lower() == "nan" else text
