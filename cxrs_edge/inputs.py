"""Paths that the user gave -> images in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cxrs_edge.dicom import HEADER_BYTES, is_dicom
from cxrs_edge.errors import InputError
from cxrs_edge.grade import Failure
from cxrs_edge.image import SUFFIXES, begins_as_image

NAMES = (*SUFFIXES, ".dcm", ".dicom")
"""Files so named get an answer, whatever is in them."""


def find_images(paths: Iterable[str]) -> Iterator[str | Failure]:
    """Files as they are given, folders as the images in and below them.

    In a folder: names with an image's or DICOM's suffix, and files of any name that begin as an image does, sorted,
    then those of its subfolders, sorted. Hidden files and folders and DICOMDIRs are left out, and links to folders
    are not followed (they may lead back). A folder without an image, or one that can't be read, is a `Failure`.
    """
    for path in paths:
        # pathlib's raises where a name is too long.
        if os.path.isdir(path):  # noqa: PTH112
            yield from _images_below(path)
        else:
            yield path


def _images_below(folder: str) -> Iterator[str | Failure]:
    errors: list[OSError] = []
    found = False
    for parent, folders, names in os.walk(folder, onerror=errors.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and _is_image(Path(parent, name)):
                found = True
                yield str(Path(parent, name))
    for error in errors:
        where = str(error.filename)
        yield _failure(where, f"{where}: can't be read: {error.strerror}")
    if not found and not errors:
        yield _failure(folder, f"{folder}: no image in or below this folder; expected {_suffixes()}")


def _is_image(path: Path) -> bool:
    """By its name, or by its first bytes: DICOM files are often named by a number or a UID."""
    if path.name.lower().endswith(NAMES):
        return True
    # The index of a CD or USB stick is a DICOM file too. Opening a FIFO would wait for its writer.
    if path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            return is_dicom(head) or begins_as_image(head)
    except OSError:
        return False


def _failure(source: str, message: str) -> Failure:
    return Failure.of(source, InputError(message))


def _suffixes() -> str:
    return (
        "files named " + ", ".join(f"*{suffix}" for suffix in NAMES) + ", or files that begin as one of these"
    )
