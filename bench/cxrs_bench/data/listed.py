"""Any list of images -> entries: which file, whose, under which label, and where its pixels are.

Wider than `cxrs_bench.labelled`, which reads what a network is trained on: lists of other tasks and plain
folders can be compared with a test set too.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.label_table import filled, read_table, with_suffix
from cxrs_bench.labelled import LISTED_SPLITS, covidxsev_lists
from cxrs_edge.errors import DataError
from cxrs_edge.grade import Failure
from cxrs_edge.image import SUFFIXES
from cxrs_edge.inputs import find_images

MAX_LIST_BYTES = 200_000_000
"""A hundred times the longest COVIDx list."""


@dataclass(frozen=True)
class Entry:
    """One image of a list; what the list doesn't say is empty or None."""

    file: str
    patient: str = ""
    label: str = ""
    source: str = ""
    path: Path | None = None


@dataclass(frozen=True)
class ImageList:
    """A named list; the splits of one ``labels.csv`` are lists of their own."""

    name: str
    entries: tuple[Entry, ...]


def read_lists(path: Path, images: Sequence[Path] = ()) -> tuple[ImageList, ...]:
    """Read a list, a table or a folder.

    Parameters
    ----------
    path : a text list of COVIDx's kinds (``patient file label source``, or ``file`` with a crop box), maybe
        with ``.gz``; a table ``.csv`` with the column ``image_id`` (and ``patient_id, level`` or ``label,
        split, source``); a folder with ``labels.csv`` or with COVIDxSev lists; or any other folder of images.
    images : folders where the files of a text list or a table are looked for, besides the usual places.

    Raises
    ------
    DataError : unreadable, empty, or a line without an image's file name.
    """
    try:
        if path.is_dir() and not (path / "labels.csv").is_file():
            lists = (one for text in covidxsev_lists(path) for one in read_lists(text, images))
            return tuple(lists) or (_read_folder(path),)
        table = path / "labels.csv" if path.is_dir() else path
        text = _read_text(table)
        if table.suffix == ".csv":
            return tuple(_read_table(table, images))
        return (ImageList(path.name, tuple(_read_lines(text, table, images))),)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: no such list; expected a .txt, .txt.gz or .csv file or a folder of images")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        data = file.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise DataError(
            f"{path}: more than {MAX_LIST_BYTES // 1_000_000} MB of text; expected a list of images"
        )
    text = data.decode("utf-8-sig")
    if not text.strip():
        raise DataError(f"{path}: empty; expected one image a line")
    return text


def _read_folder(folder: Path) -> ImageList:
    entries = []
    for found in find_images([str(folder)]):
        if isinstance(found, Failure):
            raise DataError(found.message)
        entries.append(Entry(file=Path(found).name, path=Path(found)))
    return ImageList(str(folder), tuple(entries))


def _read_lines(text: str, path: Path, images: Sequence[Path]) -> Iterator[Entry]:
    places = (".", "images", *LISTED_SPLITS)
    folders = (*images, *(path.parent / place for place in places))
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        words = line.split()
        # COVIDx has patients of two words ("COVID 12"); the file is the word that looks like one.
        at = next((i for i, word in enumerate(words) if word.lower().endswith(SUFFIXES)), None)
        if at is None:
            raise DataError(
                f"{path}:{number}: no image file in {line[:80]!r}; expected: patient file label source"
            )
        after = [word for word in words[at + 1 :] if not word.isdecimal()]
        yield Entry(
            file=words[at],
            patient=" ".join(words[:at]),
            label=after[0] if after else "",
            source=after[1] if len(after) > 1 else "",
            path=_find(words[at], folders),
        )


def _read_table(path: Path, images: Sequence[Path]) -> Iterator[ImageList]:
    places = ("images", ".", *LISTED_SPLITS)
    folders = (*images, *(path.parent / place for place in places))
    splits: dict[str, list[Entry]] = {}
    for where, row in read_table(path, ("image_id",)):
        file = with_suffix(filled(row, "image_id", where))
        entry = Entry(
            file=file,
            patient=row.get("patient_id", "").strip(),
            label=f"level{row['level']}" if row.get("level") else row.get("label", ""),
            source=row.get("source", ""),
            path=_find(file, folders),
        )
        splits.setdefault(row.get("split", ""), []).append(entry)
    name = path.parent.name if path.name == "labels.csv" else path.name
    for split, entries in splits.items():
        yield ImageList(f"{name} ({split})" if split else name, tuple(entries))


def _find(file: str, folders: Sequence[Path]) -> Path | None:
    # A list from elsewhere must not make the program read files outside the folders it was given.
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise DataError(f"{file!r}: expected a file's name inside the folder of images")
    return next((folder / file for folder in folders if (folder / file).is_file()), None)
