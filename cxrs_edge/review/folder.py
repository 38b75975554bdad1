"""Images -> a booklet and its answers, both written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrs_edge.errors import InputError
from cxrs_edge.files import write_atomically
from cxrs_edge.review.answers import answers_of
from cxrs_edge.review.booklet import render_booklet
from cxrs_edge.review.case import Case

MOST_CASES = 500
"""More would make a file that browsers choke on, and no one reads them at a sitting."""


@dataclass(frozen=True)
class Target:
    """The two files to write; `open_target` has looked that both are free."""

    booklet: Path
    answers: Path

    def save(self, cases: Sequence[Case], *, names: bool = False) -> str:
        """Write the answers, then the booklet, and return its id; at least one case.

        The order of the cases is that of their files' digests: it tells nothing of the folders that they lay in, and
        it is the same each time. Raises `InputError` for what can't be written; then neither file is there.
        """
        ordered = sorted(cases, key=lambda case: (case.digest, case.source))
        answers = answers_of(ordered)
        page = render_booklet(ordered, answers["booklet"], names=names)
        _write(self.answers, f"{json.dumps(answers, indent=1, allow_nan=False)}\n")
        try:
            _write(self.booklet, page)
        except InputError:
            self.answers.unlink(missing_ok=True)
            raise
        return str(answers["booklet"])


def open_target(path: Path) -> Target:
    """Where a booklet and its answers go. Raises `InputError` if one of them is there already.

    Never overwritten: readings of the old booklet would be worth nothing without its answers.
    """
    target = Target(path, path.with_suffix(".answers.json"))
    for one in (target.booklet, target.answers):
        if os.path.lexists(one):
            raise InputError(f"{one}: is there already and is not overwritten; name another --output")
    if not path.parent.is_dir():
        raise InputError(f"{path}: no folder {path.parent}; make it, or name another --output")
    return target


def check_count(count: int) -> None:
    """Raises `InputError` for more cases than a booklet can hold."""
    if count > MOST_CASES:
        raise InputError(f"{count} images; a booklet holds at most {MOST_CASES}: make one for each part")


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror}; name another --output") from error
