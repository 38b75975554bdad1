"""Where explanations are written: names that no file has, so nothing is ever overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrs_edge.errors import InputError
from cxrs_edge.evidence.factors import Explanation
from cxrs_edge.evidence.page import render_page
from cxrs_edge.evidence.picture import draw_picture
from cxrs_edge.evidence.words import explanation_json
from cxrs_edge.files import numbered_names, write_atomically


def _encode_json(explanation: Explanation) -> bytes:
    return f"{json.dumps(explanation_json(explanation), allow_nan=False)}\n".encode()


def _encode_page(explanation: Explanation) -> bytes:
    return render_page(explanation).encode()


ENCODERS: Mapping[str, Callable[[Explanation], bytes]] = {
    ".evidence.png": draw_picture,
    ".evidence.html": _encode_page,
    ".evidence.json": _encode_json,
}
PICTURE_ONLY = (".evidence.png",)


@dataclass(frozen=True)
class Folder:
    """A folder for explanations; `open_folder` makes it."""

    path: Path

    def save(self, explanation: Explanation, kinds: tuple[str, ...] = tuple(ENCODERS)) -> tuple[Path, ...]:
        """Write one file for each kind, named after the source, or after it and a number if that name is taken.

        The explanation must be one (its `reason` empty). Raises `InputError` for what can't be written.
        """
        name = Path(explanation.examination.grade.source).name or "image"
        free = next(name for name in numbered_names(name) if not self._has(name))
        paths = tuple(self.path / f"{free}{kind}" for kind in kinds)
        for kind, path in zip(kinds, paths, strict=True):
            data = ENCODERS[kind](explanation)
            try:
                write_atomically(path, data)
            except OSError as error:
                raise InputError(f"{path}: can't be written: {error.strerror}") from error
        return paths

    def _has(self, name: str) -> bool:
        return any(os.path.lexists(self.path / f"{name}{kind}") for kind in ENCODERS)


def open_folder(path: Path) -> Folder:
    """Make the folder if it is missing; raises `InputError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: can't be used: {error.strerror}; name a folder to write to") from error
    return Folder(path)
