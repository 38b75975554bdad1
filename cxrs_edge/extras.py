"""Packages behind an extra: imported when first needed, with the cure named when they are missing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from cxrs_edge.errors import MissingDependency


def import_extra(module: str, extra: str) -> ModuleType:
    """Import `module`; raises `MissingDependency` naming the extra of cxrs-edge that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is there but broken inside must not be taken for a missing one.
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependency(module.split(".")[0], extra) from error


@contextmanager
def without_modules(*names: str) -> Iterator[None]:
    """What is imported inside of this finds that these modules can't be imported; others may import them later."""
    before = {name: module for name, module in sys.modules.items() if name in names}
    # None in sys.modules is how Python says that a module can't be imported.
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)
