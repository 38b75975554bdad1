"""All that is done to an image before an engine is needed: read, prepare, and judge whether it can be graded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from cxrs_edge.card import FRONTAL_CHEST, ModelCard
from cxrs_edge.errors import ImageError
from cxrs_edge.gate import Gate, Verdict
from cxrs_edge.grade import ImageInfo
from cxrs_edge.image import GrayImage, read_file, read_image
from cxrs_edge.prepare import Pixels, pixels_needed, prepare

Source = str | os.PathLike[str] | bytes
"""A path, or the bytes of a file."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One image as an engine takes it, without the picture that it was made of, which may be far larger.

    Attributes
    ----------
    name : what to call it.
    info : how the pixels were made.
    pixels : uint8, 1 x H x W x C.
    rejected : whether the quality gate refused it.
    notes : what a reader of the grade should know so far.
    timing_ms : milliseconds in ``read``, ``prepare`` and, where it is on, ``gate``.
    """

    name: str
    info: ImageInfo
    pixels: Pixels
    rejected: bool
    notes: tuple[str, ...]
    timing_ms: Mapping[str, float]


class Intake:
    """Prepares images for one model; needs no engine, so that an engine can be busy with another image meanwhile.

    Parameters
    ----------
    card : of the model.
    gated : whether the quality gate judges; it doesn't if the card says that the model takes other images.
    """

    def __init__(self, card: ModelCard, *, gated: bool = True) -> None:
        self._card = card
        self._gate = Gate.bundled() if gated and card.gate == FRONTAL_CHEST else None

    def prepare(self, source: Source, *, name: str | None = None) -> Prepared:
        """Take one image in; `name` is by default the path, or ``image``. Raises `ImageError`."""
        return self.take(source, name=name)[1]

    def take(self, source: Source, *, name: str | None = None) -> tuple[GrayImage, Prepared]:
        """The same with the image as it was decoded."""
        name = name or ("image" if isinstance(source, bytes) else os.fspath(source))
        started = perf_counter()
        with enough_memory(name):
            image = self._read(source, name)
            read = perf_counter()
            pixels = prepare(image, self._card.input)
        prepared = perf_counter()
        verdict = self._judge(pixels, image)
        timing = {"read": milliseconds(started, read), "prepare": milliseconds(read, prepared)}
        if self._gate:
            timing["gate"] = milliseconds(prepared, perf_counter())
        info = ImageInfo.of(image, self._card.input)
        notes = image.notes + verdict.notes
        return image, Prepared(image.name, info, pixels, verdict.rejected, notes, timing)

    def _read(self, source: Source, name: str) -> GrayImage:
        data = source if isinstance(source, bytes) else read_file(source)
        return read_image(data, name=name, at_least=pixels_needed(self._card.input))

    def _judge(self, pixels: Pixels, image: GrayImage) -> Verdict:
        return self._gate.judge(pixels[0, :, :, 0], image.size) if self._gate else Verdict(rejected=False)


@contextmanager
def enough_memory(name: str) -> Iterator[None]:
    """What `name`'s pixels need and this machine hasn't got becomes an `ImageError`."""
    try:
        yield
    except MemoryError as error:
        raise ImageError(f"{name}: too large for this machine's memory; export it smaller") from error


def milliseconds(start: float, end: float) -> float:
    """Between two readings of `time.perf_counter`, to the microsecond."""
    return round((end - start) * 1000, 3)
