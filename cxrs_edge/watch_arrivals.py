"""Which files of a watched inbox are whole: polled, so that it works on network shares."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PARTIAL = (".part", ".partial", ".filepart", ".crdownload", ".tmp")
"""Ends of names that browsers and copying programs give to what they haven't finished."""
DESKTOP = ("thumbs.db", "desktop.ini")
"""What Windows leaves in a shared folder by looking at it."""


class Signature(NamedTuple):
    """What changes while a file is being written; no inode, because network shares make those up."""

    changed_ns: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """Of an open or a listed file."""
        return cls(status.st_mtime_ns, status.st_size)


@dataclass(frozen=True)
class Listing:
    """What lies directly in the inbox: regular files, and the names of what is left alone, with what it is."""

    files: Mapping[str, Signature]
    others: Mapping[str, str]


def list_inbox(inbox: Path) -> Listing:
    """Look at the inbox, without hidden and unfinished files; raises `OSError`."""
    files: dict[str, Signature] = {}
    others: dict[str, str] = {}
    with os.scandir(inbox) as entries:
        for entry in entries:
            if _is_passed_over(entry.name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                files[entry.name] = Signature.of(status)
            else:
                others[entry.name] = _kind(status.st_mode)
    return Listing(files, others)


class Settling:
    """Remembers since when each file of the inbox has looked the same; forgets those that left it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: dict[str, tuple[Signature, float]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the files that lay in the inbox last time."""
        return tuple(self._since)

    def ready(self, files: Mapping[str, Signature], now: float) -> list[str]:
        """Files unchanged for long enough at time `now` (seconds), and at two looks; oldest first."""
        before = self._since
        self._since = {
            name: before[name] if name in before and before[name][0] == signature else (signature, now)
            for name, signature in files.items()
        }
        quiet = [name for name, (_, since) in self._since.items() if name in before and since < now]
        return sorted(
            (name for name in quiet if now - self._since[name][1] >= self.seconds),
            key=lambda name: (files[name], name),
        )


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(PARTIAL) or name.lower() in DESKTOP


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link, which is not followed"
    if stat.S_ISDIR(mode):
        return "a folder; only files directly in the watched folder are graded"
    return "not a regular file"
