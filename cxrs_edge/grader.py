"""Compose the stops: bytes -> GrayImage -> pixels -> gate -> outputs -> Grade. Start reading here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from cxrs_edge.card import FRONTAL_CHEST, ModelCard
from cxrs_edge.engines import Engine, Outputs
from cxrs_edge.engines.registry import choose_engine, doubts, open_engine
from cxrs_edge.errors import ImageError
from cxrs_edge.gate import OFF, Gate, Verdict
from cxrs_edge.grade import REJECTED, EngineInfo, Grade, ImageInfo, ModelInfo, grade
from cxrs_edge.image import GrayImage, read_file, read_image
from cxrs_edge.model_file import Kind, read_model_file
from cxrs_edge.prepare import Pixels, pixels_needed, prepare

BUNDLED = Path(__file__).parent / "models" / "cxrs"


@dataclass(frozen=True, eq=False)
class Examination:
    """One graded image, and what its grade was made of.

    Attributes
    ----------
    image : the X-ray as it was decoded.
    pixels : what the network saw of it, uint8, 1 x H x W x C.
    outputs : what it said, as the engine gave it: all that the card names, ``evidence`` too if it does, checked;
        empty if the quality gate rejected the image.
    """

    grade: Grade
    image: GrayImage
    pixels: Pixels
    outputs: Outputs


class Grader:
    """Grades chest X-rays with one model on one engine.

    >>> grader = Grader.bundled()                       # doctest: +SKIP
    >>> grader.grade("scan.png").level                  # doctest: +SKIP
    2

    Parameters
    ----------
    card : of the model that the engine holds.
    engine : anything with the attributes and the one verb of `cxrs_edge.engines.Engine`.
    gated : whether the quality gate rejects what is no upright frontal chest X-ray; without it each grade has a note.
        A model whose card says that it takes other images has none.
    """

    def __init__(self, card: ModelCard, engine: Engine, *, gated: bool = True) -> None:
        self.card = card
        self.engine = engine
        gateable = card.gate == FRONTAL_CHEST
        self._gate = Gate.bundled() if gated and gateable else None
        off = (OFF,) if gateable and not gated else ()
        self._doubts = off + doubts(engine.name, card.precision)

    @classmethod
    def bundled(cls, engine: str = "auto", threads: int | None = None, *, gated: bool = True) -> Grader:
        """The bundled model `cxrs` on the fastest installed engine, or on the one named, in the file it runs.

        Raises as `open`.
        """
        return cls.open(bundled_path(choose_engine(engine).kind), engine, threads, gated=gated)

    @classmethod
    def open(
        cls,
        model_path: str | os.PathLike[str],
        engine: str = "auto",
        threads: int | None = None,
        *,
        gated: bool = True,
    ) -> Grader:
        """A ``.tflite`` or ``.onnx`` file with a card.

        `threads` is by default one for each physical core that the process may use. Raises `ModelError` for
        a file that can't be honoured, `EngineError` for an engine that can't run it or isn't installed.
        """
        file = read_model_file(model_path)
        return cls(file.card, open_engine(file, engine, threads), gated=gated)

    def grade(self, source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> Grade:
        """Grade one image, given as a path or as the bytes of a file.

        `name` is what to call it; by default the path, or ``image``. Raises `ImageError` for what is no
        readable X-ray, `EngineError` when the engine breaks down.
        """
        return self.examine(source, name=name).grade

    def examine(self, source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> Examination:
        """The same with the pixels and the outputs behind the grade, for who explains it."""
        name = name or ("image" if isinstance(source, bytes) else os.fspath(source))
        started = perf_counter()
        with enough_memory(name):
            image = self._read(source, name)
            read = perf_counter()
            pixels = prepare(image, self.card.input)
        prepared = perf_counter()
        verdict = self._judge(pixels, image)
        judged = perf_counter()
        outputs: Outputs = {} if verdict.rejected else self.engine.infer(pixels)
        inferred = perf_counter()
        decision = REJECTED if verdict.rejected else grade(outputs, self.card)
        graded = Grade(
            source=image.name,
            outcome=decision.outcome,
            level=decision.level,
            probabilities=decision.probabilities,
            notes=image.notes + verdict.notes + decision.notes + self._doubts,
            model=self.model_info,
            engine=self.engine_info,
            timing_ms={
                "read": _milliseconds(started, read),
                "prepare": _milliseconds(read, prepared),
                **({"gate": _milliseconds(prepared, judged)} if self._gate else {}),
                "infer": _milliseconds(judged, inferred),
            },
            image=ImageInfo.of(image, self.card.input),
            zones=decision.zones,
            geographic=decision.geographic,
            opacity=decision.opacity,
        )
        return Examination(graded, image, pixels, outputs)

    @property
    def model_info(self) -> ModelInfo:
        """Which model this is."""
        card = self.card
        return ModelInfo(card.name, card.version, card.precision, card.sha256)

    @property
    def engine_info(self) -> EngineInfo:
        """What runs it."""
        return EngineInfo(self.engine.name, self.engine.version, self.engine.threads)

    def _judge(self, pixels: Pixels, image: GrayImage) -> Verdict:
        return self._gate.judge(pixels[0, :, :, 0], image.size) if self._gate else Verdict(rejected=False)

    def _read(self, source: str | os.PathLike[str] | bytes, name: str) -> GrayImage:
        data = source if isinstance(source, bytes) else read_file(source)
        return read_image(data, name=name, at_least=pixels_needed(self.card.input))


def bundled_path(kind: Kind) -> Path:
    """Where the bundled model of this kind is installed."""
    return BUNDLED / f"cxrs-int8.{kind}"


@contextmanager
def enough_memory(name: str) -> Iterator[None]:
    """What `name`'s pixels need and this machine hasn't got becomes an `ImageError`."""
    try:
        yield
    except MemoryError as error:
        raise ImageError(f"{name}: too large for this machine's memory; export it smaller") from error


def _milliseconds(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
