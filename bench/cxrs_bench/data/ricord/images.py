"""One film -> one 8 bit PNG as the published preparation makes it, with its provenance inside."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset

from cxrs_bench.data.ricord.plan import Film
from cxrs_bench.data.ricord.published import Box
from cxrs_edge.dicom.attributes import Refusal, shown, word
from cxrs_edge.dicom.reader import read_dicom
from cxrs_edge.errors import CxrsError, ImageError
from cxrs_edge.files import write_atomically
from cxrs_edge.image import read_file

VIEWS = ("AP", "PA")
RECIPE = 1
"""Raised when the pixels of the same film would come out otherwise, so that older images are made again."""
PROVENANCE = "cxrs-edge"
"""Keyword of the PNG's text chunk."""


@dataclass(frozen=True)
class Provenance:
    """How an image was made, and what its DICOM file tells of the patient: `age` as ``061Y``, `sex` as M, F, O.

    `stamp` is the DICOM file's size in bytes and its time of change in nanoseconds.
    """

    dicom: str
    stamp: tuple[int, int]
    box: Box | None
    recipe: int
    view: str
    age: str
    sex: str


@dataclass(frozen=True)
class Prepared:
    """An image that is there, or why it could not be made."""

    provenance: Provenance | None
    refusal: str = ""


@dataclass(frozen=True)
class Job:
    """A film and the PNG that it becomes; can be sent to another process."""

    film: Film
    image: Path


def prepare_image(job: Job) -> Prepared:
    """Make the image unless it is already there, made from the same file with the same box and recipe."""
    made, film = read_provenance(job.image), job.film
    now = (film.where, _stamp(film.dicom), film.box, RECIPE)
    if made and (made.dicom, made.stamp, made.box, made.recipe) == now:
        return Prepared(made)
    try:
        return Prepared(_make(job))
    except CxrsError as error:
        return Prepared(None, str(error).removeprefix(f"{job.film.where}: "))


def read_provenance(image: Path) -> Provenance | None:
    """The provenance inside a PNG of ours; None if there is no such file, or it is damaged or something else."""
    try:
        with Image.open(image, formats=["PNG"]) as png:
            png.load()
            told = json.loads(png.info[PROVENANCE])
            box = tuple(told["box"]) if told["box"] else None
            return Provenance(**{**told, "stamp": tuple(told["stamp"]), "box": box})
    except (OSError, KeyError, TypeError, ValueError, SyntaxError):  # the last is Pillow's for a broken PNG
        return None


def _stamp(file: Path) -> tuple[int, int]:
    """Size and time of change; zeros for a file that isn't there, which reading it will tell."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _make(job: Job) -> Provenance:
    film = job.film
    told: dict[str, str] = {}

    def accept(dataset: Dataset) -> tuple[str, ...]:
        """Which films are usable is published; only the view is looked at, as the published preparation does."""
        view = word(dataset, "ViewPosition")
        if view not in VIEWS:
            raise Refusal(f"ViewPosition {shown(view) if view else 'is not stated'}; expected AP or PA")
        told.update(view=view, age=word(dataset, "PatientAge"), sex=word(dataset, "PatientSex"))
        return ()

    stamp = _stamp(film.dicom)  # before it is read: a change meanwhile is then noticed the next time
    image = read_dicom(read_file(film.dicom), name=film.where, accept=accept, stretch=True)
    pixels = image.pixels.astype(np.uint8, copy=False)
    provenance = Provenance(film.where, stamp, film.box, RECIPE, **told)
    text = PngImagePlugin.PngInfo()
    text.add_text(PROVENANCE, json.dumps(asdict(provenance)))
    png = io.BytesIO()
    Image.fromarray(_crop(pixels, film.box, film.where)).save(png, "PNG", pnginfo=text)
    write_atomically(job.image, png.getvalue())
    return provenance


def _crop(pixels: NDArray[np.uint8], box: Box | None, name: str) -> NDArray[np.uint8]:
    if box is None:
        return pixels
    left, top, right, bottom = box
    cropped = pixels[top:bottom, left:right]
    if not cropped.size:
        height, width = pixels.shape
        raise ImageError(f"{name}: crop box {box} lies outside the film of {width} x {height} pixels")
    return cropped
