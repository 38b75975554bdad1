"""`cxrs-edge watch`: grade every file that arrives in a folder once, unattended.

Looks at regular files directly in the inbox. Folders, links (not followed), FIFOs and the like are left alone, with
a line in the log; hidden files and those whose name says that they are unfinished (`watch_arrivals.PARTIAL`) are
passed over silently. Any other file is taken for an X-ray, whatever its name ends in.

A file is taken once its size and time of change stayed the same for `settle` seconds. Then it is moved, graded,
its record written, and moved again, as `cxrs_edge.watch_folders` draws; after a kill at any moment the next start
goes on from there. The record decides: a file that has one is never graded again, and a new file under a used
name gets a name of its own (scan-2.png). A file in which the program ended `MOST_ENDS` times is a bad one.

Whatever may pass (disk full, share gone, permission missing, engine broken) leaves the file where it is; it is tried
again, less and less often. What is kept in memory is the names that lie in the inbox now.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from cxrs_edge.errors import EngineError, ImageError
from cxrs_edge.files import write_atomically
from cxrs_edge.grade import Failure, Grade
from cxrs_edge.grader import Grader
from cxrs_edge.image import MAX_BYTES
from cxrs_edge.watch_arrivals import Listing, Settling, Signature, list_inbox
from cxrs_edge.watch_folders import Folders, open_regular

LONGEST_WAIT = 60.0
"""Seconds between two tries while nothing works."""
MOST_ENDS = 3


class Stop(Protocol):
    """Whether to end after the current file, and a sleep that ends when asked to."""

    @property
    def asked(self) -> bool: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Look:
    """What one look at the inbox came to: how many got a grade, how many are bad, and what may pass."""

    graded: int = 0
    bad: int = 0
    troubles: tuple[str, ...] = ()


class Watch:
    """Grades what arrives in an inbox.

    Parameters
    ----------
    grader : with the model to use.
    folders : as `watch_folders.open_folders` gives them.
    settle : seconds for which a file must have stayed the same.
    report : called with one line for each thing that happened; must not raise.
    """

    def __init__(
        self, grader: Grader, folders: Folders, settle: float, report: Callable[[str], None]
    ) -> None:
        self._grader = grader
        self._folders = folders
        self._settling = Settling(settle)
        self._report = report
        self._trying = _Trying(folders.output / ".trying")
        self._left_alone: set[str] = set()

    def run(self, every: float, stop: Stop) -> None:
        """Look every so many seconds until asked to stop; while nothing works, wait longer and longer."""
        wait, in_trouble = every, False
        while not stop.asked:
            look = self.look(stop)
            hopeless = look.troubles and not look.graded and not look.bad
            wait = min(2 * wait, max(every, LONGEST_WAIT)) if hopeless else every
            if look.troubles:
                self._report(f"{_summary(look.troubles)}; next try in {wait:g} s")
            elif in_trouble:
                self._report("the trouble is over")
            in_trouble = bool(look.troubles)
            stop.sleep(wait)
        self._trying.forget()

    def run_once(self, stop: Stop) -> bool:
        """Grade what is there and settled, and end; False if something is bad or could not be done."""
        looks = [self.look(stop)]
        if self._settling.names:
            stop.sleep(self._settling.seconds)
            looks.append(self.look(stop))
        if troubles := looks[-1].troubles:
            self._report(_summary(troubles))
        self._trying.forget()
        return not looks[-1].troubles and not any(look.bad for look in looks)

    def look(self, stop: Stop) -> Look:
        """Finish what was taken before, then take and grade what has settled, oldest first."""
        try:
            taken, settled = self._folders.list_taken(), self._list_settled()
        except OSError as error:
            return Look(troubles=(f"{self._folders.inbox}: can't be listed: {error.strerror}",))
        steps = [(name, self._go_on) for name in taken] + [(name, self._begin) for name in settled]
        results: list[Grade | Failure] = []
        troubles: list[str] = []
        for name, step in steps:
            if stop.asked:
                break
            try:
                result = step(name)
            except (OSError, EngineError) as error:
                troubles.append(_trouble(name, error))
                continue
            if result is not None:
                results.append(result)
                self._report(_line(result))
        bad = sum(isinstance(result, Failure) for result in results)
        return Look(len(results) - bad, bad, tuple(troubles))

    def _list_settled(self) -> list[str]:
        listing = list_inbox(self._folders.inbox)
        self._report_left_alone(listing)
        return self._settling.ready(listing.files, time.monotonic())

    def _report_left_alone(self, listing: Listing) -> None:
        for name in sorted(listing.others.keys() - self._left_alone):
            self._report(f"{name}: left alone: {listing.others[name]}")
        self._left_alone = set(listing.others)

    def _begin(self, name: str) -> Grade | Failure | None:
        return self._take(self._folders.inbox / name)

    def _go_on(self, name: str) -> Grade | Failure | None:
        return self._process(name, self._trying.begin(name))

    def _take(self, path: Path) -> Grade | Failure | None:
        name = self._folders.free_name(path.name)
        # Before the move: while nothing can be written, files stay in the inbox, where people look for them.
        ends = self._trying.begin(name)
        if not self._folders.take(path, name):
            return None
        if name != path.name:
            self._report(f"{path.name}: this name is too long, or was here before; the file is now {name}")
        return self._process(name, ends)

    def _process(self, name: str, ends: int) -> Grade | Failure | None:
        """From any state of a taken file to finished; None if there was nothing to grade, or it still grows."""
        result = None
        with open_regular(self._folders.taken / name) as file:
            signature = Signature.of(os.fstat(file.fileno()))
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            place = self._folders.find_record(name, sha256)
            if place is None:
                if self._folders.belongs_to_another(name):
                    return self._take(self._folders.taken / name)
                result = self._grade(file, name, ends)
                if Signature.of(os.fstat(file.fileno())) != signature:
                    return None
                place = self._folders.write_record(name, result, signature.size, sha256)
        self._folders.finish(name, place, sha256)
        if result is None:
            self._report(f"{name}: has its record already; moved now")
        return result

    def _grade(self, file: BufferedReader, name: str, ends: int) -> Grade | Failure:
        if ends >= MOST_ENDS:
            reason = f"{name}: the program ended {ends} times while grading it; export it smaller"
            return Failure.of(name, ImageError(reason))
        file.seek(0)
        try:
            # One more byte than is allowed, so that decoding finds it too large.
            return self._grader.grade(file.read(MAX_BYTES + 1), name=name)
        except ImageError as error:
            return Failure.of(name, error)


class _Trying:
    """How often the program ended, killed or out of memory, while it was at one and the same file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name, self._ends = self._read()

    def begin(self, name: str) -> int:
        """Note durably that this file is begun; returns in how many earlier runs it was the last one."""
        ends = self._ends if name == self._name else 0
        write_atomically(self._path, json.dumps({"name": name, "ends": ends + 1}).encode())
        return ends

    def forget(self) -> None:
        """At an end in good order."""
        with suppress(OSError):
            self._path.unlink()

    def _read(self) -> tuple[str, int]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(self._path.read_bytes())
            return str(content["name"]), int(content["ends"])
        return "", 0


def _line(result: Grade | Failure) -> str:
    if isinstance(result, Failure):
        return f"bad: {result.message}"
    if result.level is None:
        return f"{result.source}: {result.outcome}: {'; '.join(result.notes)}"
    level = f"{result.source}: {result.outcome} level {result.level}"
    if result.level == 0 and result.zones:
        return f"{level}, largest zone {max(result.zones.values()):.3f}"
    return f"{level}, probability {result.probabilities[f'level{result.level}']:.3f}"


def _trouble(name: str, error: OSError | EngineError) -> str:
    if isinstance(error, EngineError):
        return f"{name}: waits: {error}"
    where = f" ({error.filename})" if error.filename else ""
    return f"{name}: waits: {error.strerror or error}{where}"


def _summary(troubles: Sequence[str]) -> str:
    others = f"; {len(troubles) - 1} more wait" if len(troubles) > 1 else ""
    return f"{troubles[0]}{others}"
