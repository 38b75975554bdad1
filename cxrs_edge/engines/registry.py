"""Which engines there are, which are installed, and which one runs a model file.

A further engine is one more file beside this one, with `open_model(file, package, threads) -> Engine`, one more
line in `ENGINES` and its package's place in `cxrs_edge.engines.preference`. The conformance tests then run it too.
"""

from __future__ import annotations

import importlib
import platform
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cxrs_edge.engines.preference import by_preference, has_vnni, saturates
from cxrs_edge.engines.threads import check_threads, count_cores
from cxrs_edge.errors import EngineError, MissingDependency

if TYPE_CHECKING:
    from cxrs_edge.engines import Engine
    from cxrs_edge.model_file import Kind, ModelFile


@dataclass(frozen=True)
class EngineEntry:
    """One engine that could be installed.

    Attributes
    ----------
    name : what ``--engine`` calls it, and its module in this package.
    kind : of model file that it runs.
    extra : of cxrs-edge that installs it.
    packages : as imported; the first that is installed is used.
    """

    name: str
    kind: Kind
    extra: str
    packages: tuple[str, ...]

    def package(self) -> str | None:
        """The installed package that would be used, found without importing it."""
        return next((package for package in self.packages if find_spec(package)), None)

    def require_package(self) -> str:
        """The same, or `MissingDependency` saying how to install one."""
        package = self.package()
        if package is None:
            raise MissingDependency(self.packages[0], self.extra)
        return package


ENGINES: tuple[EngineEntry, ...] = (
    EngineEntry("tflite", "tflite", "tflite", ("ai_edge_litert", "tflite_runtime", "tensorflow")),
    EngineEntry("onnx", "onnx", "onnx", ("onnxruntime",)),
    EngineEntry("openvino", "onnx", "openvino", ("openvino",)),
)
"""The smallest to install first: it is the one to name where none is installed."""


def available_engines() -> tuple[EngineEntry, ...]:
    """The installed engines, the fastest on this CPU first; imports none of them."""
    found = {package: entry for entry in ENGINES if (package := entry.package())}
    order = by_preference(platform.machine(), found, vnni=has_vnni())
    return tuple(found[package] for package in order)


def doubts(name: str, precision: str) -> tuple[str, ...]:
    """What speaks against the answers of the engine called `name` on this CPU, for models of this precision."""
    if precision != "int8" or not saturates(name, platform.machine(), vnni=has_vnni()):
        return ()
    return (
        f"{name}: no VNNI found in this CPU, without which int8 probabilities were off by up to 0.21; use another "
        "engine, or check this one with cxrs-edge selftest",
    )


def package_version(package: str) -> str:
    """Version of an installed package, without importing it; ``unknown`` where it has no metadata."""
    # Its import takes longer than decoding an X-ray.
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def imported_version(package: str) -> str:
    """The same of an imported package, from itself if it says so: metadata takes longer to read."""
    # OpenVINO's goes on with the build: 2026.4.1-12345-abcdef.
    version = getattr(sys.modules[package], "__version__", None)
    return package_version(package) if version is None else str(version).split("-")[0]


def choose_engine(name: str = "auto", kind: Kind | None = None) -> EngineEntry:
    """The entry that `name` means for model files of this kind, or of any kind if None.

    ``auto`` is the installed one that is the fastest on this CPU, or the first of all if none is. Raises
    `EngineError` for a name that isn't an engine or doesn't run the kind.
    """
    fitting = [entry for entry in ENGINES if kind in (None, entry.kind)]
    if name == "auto":
        return next((entry for entry in available_engines() if entry in fitting), fitting[0])
    for entry in fitting:
        if entry.name == name:
            return entry
    names = " or ".join(["auto", *(entry.name for entry in fitting)])
    what = f"a .{kind} file" if kind else "any model"
    raise EngineError(f"engine {name}: doesn't run {what}; expected {names}")


def open_engine(file: ModelFile, name: str = "auto", threads: int | None = None) -> Engine:
    """Load a model file into the engine called `name`.

    Parameters
    ----------
    threads : at least 1; by default one for each physical core that the process may use.

    Raises `ModelError` naming the card's field that the graph disagrees with, `MissingDependency` if
    the engine isn't installed, `EngineError` if it doesn't run such files or can't load this one.
    """
    threads = count_cores() if threads is None else check_threads(threads)
    entry = choose_engine(name, file.kind)
    return open_package(file, entry, entry.require_package(), threads)


def open_package(file: ModelFile, entry: EngineEntry, package: str, threads: int) -> Engine:
    """Load a model file with one of the packages of `entry`; raises as `open_engine`."""
    module = importlib.import_module(f"cxrs_edge.engines.{entry.name}")
    engine: Engine = module.open_model(file, package, threads)
    return engine
