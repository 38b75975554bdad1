"""Packages behind an extra: imported when first needed, with the cure named when they are missing."""

from __future__ import annotations

import importlib
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
