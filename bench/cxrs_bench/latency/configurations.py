"""What there is to measure: model files, and the engines and thread counts to run each with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrs_bench.complexity import count_file
from cxrs_bench.record import Model
from cxrs_edge.engines.registry import ENGINES, available_engines
from cxrs_edge.errors import CxrsError, DataError, MissingDependency
from cxrs_edge.grader import bundled_path
from cxrs_edge.model_file import ModelFile, read_model_file

SUFFIXES = (".tflite", ".onnx")
NETWORKS = {"cxrs": "COVID-Net CXR-S", "resnet50": "ResNet-50", "chexnet": "CheXNet"}
"""Key in a report -> how a card's `network` begins."""


class Configuration(NamedTuple):
    """A model file on an engine with so many threads."""

    file: ModelFile
    engine: str
    threads: int

    @property
    def key(self) -> tuple[str, str, int]:
        """As `cxrs_bench.record.Run.key`."""
        return self.file.path.name, self.engine, self.threads

    @property
    def label(self) -> str:
        """For a line of progress."""
        return f"{self.file.path.name} on {self.engine}, {self.threads} thread{'s' * (self.threads > 1)}"


def find_models(folder: Path | None) -> tuple[ModelFile, ...]:
    """The model files of a folder, or of the bundled model those that an installed engine runs.

    Raises `DataError` for a folder without any, `ModelError` for a file that can't be honoured.
    """
    if folder is None:
        kinds = dict.fromkeys(entry.kind for entry in available_engines() or ENGINES[:1])
        return tuple(read_model_file(bundled_path(kind)) for kind in kinds)
    try:
        paths = sorted(
            path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith(".")
        )
    except OSError as error:
        raise DataError(
            f"{folder}: can't be read: {error.strerror}; expected a folder of model files"
        ) from error
    if not paths:
        raise DataError(
            f"{folder}: no .tflite and no .onnx file; expected what cxrs-edge export --baselines -o {folder} writes"
        )
    return tuple(read_model_file(path) for path in paths)


def find_engines(names: Sequence[str]) -> tuple[str, ...]:
    """The engines named, else all installed ones; raises `MissingDependency` if there is none."""
    if names:
        return tuple(dict.fromkeys(names))
    found = tuple(entry.name for entry in available_engines())
    if not found:
        ENGINES[0].require_package()
    return found


def configure(
    models: Sequence[ModelFile], engines: Sequence[str], threads: Sequence[int]
) -> tuple[Configuration, ...]:
    """Every combination that an engine is made for, in the order of the models."""
    runs = {entry.name: entry.kind for entry in ENGINES}
    return tuple(
        Configuration(file, engine, count)
        for file in models
        for engine in engines
        for count in threads
        if runs[engine] == file.kind
    )


def missing(engines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Engines that aren't installed, each with the line that tells how to."""
    for entry in ENGINES:
        if entry.name in engines:
            try:
                entry.require_package()
            except MissingDependency as error:
                yield entry.name, str(error)


def describe_model(file: ModelFile) -> Model:
    """What a report tells of a model file; its MACs are counted on it, if they can be."""
    card = file.card
    try:
        cost = count_file(file.path)
    except CxrsError:
        # A graph with operators of its own kind still runs, and can be timed.
        cost = None
    return Model(
        id=file.path.name,
        network=next((key for key, words in NETWORKS.items() if card.network.startswith(words)), card.name),
        name=card.name,
        version=card.version,
        precision=card.precision,
        format=file.kind,
        size=card.input.size,
        channels=card.input.channels,
        bytes=file.path.stat().st_size,
        sha256=card.sha256,
        parameters=None if cost is None or cost.unknown else cost.parameters,
        macs=None if cost is None or cost.unknown else cost.macs,
        trained=card.is_trained,
    )
