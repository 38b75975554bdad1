"""Every error that cxrs-edge raises on purpose, one tree.

    CxrsError                    exit status 1
    |-- InputError               a file the user gave can't be used
    |   |-- ImageError           ... as an image
    |   `-- DataError            ... as a labelled data set, a split or a prediction list
    |-- ModelError               a model file or its card can't be honoured
    |-- EngineError              the engine refused the model, or broke down
    |   `-- MissingDependency    the package isn't installed; the message has the pip line
    |-- TrainingError            a run can't start, or can't be resumed
    |-- VerificationError        an exported file does not reproduce the Keras model
    |-- SelftestError            this machine does not reproduce the released answers
    `-- SlowerError              a benchmark is slower than the one that it was compared with

A message names the subject, what it got, what it expected and the fix. `cxrs_edge.cli` turns each of
them into one line on stderr and the exit status; nothing else in the package prints.
"""

from __future__ import annotations


class CxrsError(Exception):
    """Base class. `kind` is the stable word for the error in machine-readable output."""

    kind = "error"
    exit_status = 1


class InputError(CxrsError):
    """A file that the user gave can't be used."""

    kind = "input"


class ImageError(InputError):
    """Not a readable, gradable image."""

    kind = "image"


class DataError(InputError):
    """A labelled data set, split list or prediction table is inconsistent or unreadable."""

    kind = "data"


class ModelError(CxrsError):
    """A model file or its card can't be honoured; the message names the field."""

    kind = "model"


class EngineError(CxrsError):
    """The inference engine refused the model or failed while running it."""

    kind = "engine"


class MissingDependency(EngineError):
    """A package behind an extra isn't installed.

    Parameters
    ----------
    package : name as imported, for example ``onnxruntime``.
    extra : the extra of cxrs-edge that brings it, for example ``onnx``.
    """

    kind = "dependency"

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package}: not installed; run: pip install 'cxrs-edge[{extra}]'")


class TrainingError(CxrsError):
    """A training run can't start, or can't be resumed."""

    kind = "training"


class VerificationError(CxrsError):
    """An exported file's outputs differ from the Keras model's by more than the limits."""

    kind = "verification"
    exit_status = 3


class SelftestError(CxrsError):
    """This machine's answers differ from those that the model was released with."""

    kind = "selftest"
    exit_status = 4


class SlowerError(CxrsError):
    """`bench compare --fail-if-slower` found something slower."""

    kind = "slower"
    exit_status = 6
