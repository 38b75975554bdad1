"""Compose the stops: bytes -> GrayImage -> pixels -> gate (all `Intake`) -> outputs -> Grade. Start reading here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from cxrs_edge.card import FRONTAL_CHEST, ModelCard
from cxrs_edge.engines import Engine, Outputs
from cxrs_edge.engines.registry import choose_engine, doubts, open_engine
from cxrs_edge.gate import OFF
from cxrs_edge.grade import REJECTED, EngineInfo, Grade, ModelInfo, grade
from cxrs_edge.image import GrayImage
from cxrs_edge.intake import Intake, Prepared, Source, milliseconds
from cxrs_edge.model_file import Kind, read_model_file
from cxrs_edge.prepare import Pixels

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
        self.intake = Intake(card, gated=gated)
        off = (OFF,) if card.gate == FRONTAL_CHEST and not gated else ()
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

    def grade(self, source: Source, *, name: str | None = None) -> Grade:
        """Grade one image, given as a path or as the bytes of a file.

        `name` is what to call it; by default the path, or ``image``. Raises `ImageError` for what is no
        readable X-ray, `EngineError` when the engine breaks down.
        """
        return self.grade_prepared(self.intake.prepare(source, name=name))

    def grade_prepared(self, prepared: Prepared) -> Grade:
        """Grade what `intake` prepared, maybe in another thread; raises `EngineError`."""
        return self._infer(prepared)[0]

    def examine(self, source: Source, *, name: str | None = None) -> Examination:
        """As `grade`, with the image, the pixels and the outputs behind the grade, for who explains it."""
        image, prepared = self.intake.take(source, name=name)
        graded, outputs = self._infer(prepared)
        return Examination(graded, image, prepared.pixels, outputs)

    def _infer(self, prepared: Prepared) -> tuple[Grade, Outputs]:
        started = perf_counter()
        outputs: Outputs = {} if prepared.rejected else self.engine.infer(prepared.pixels)
        inferred = perf_counter()
        decision = REJECTED if prepared.rejected else grade(outputs, self.card)
        graded = Grade(
            source=prepared.name,
            outcome=decision.outcome,
            level=decision.level,
            probabilities=decision.probabilities,
            notes=prepared.notes + decision.notes + self._doubts,
            model=self.model_info,
            engine=self.engine_info,
            timing_ms={**prepared.timing_ms, "infer": milliseconds(started, inferred)},
            image=prepared.info,
            zones=decision.zones,
            geographic=decision.geographic,
            opacity=decision.opacity,
        )
        return graded, outputs

    @property
    def model_info(self) -> ModelInfo:
        """Which model this is."""
        card = self.card
        return ModelInfo(card.name, card.version, card.precision, card.sha256)

    @property
    def engine_info(self) -> EngineInfo:
        """What runs it."""
        return EngineInfo(self.engine.name, self.engine.version, self.engine.threads)


def bundled_path(kind: Kind) -> Path:
    """Where the bundled model of this kind is installed."""
    return BUNDLED / f"cxrs-int8.{kind}"
