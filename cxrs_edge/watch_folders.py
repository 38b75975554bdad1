"""The folders of `cxrs-edge watch`: where a file lies says what was done with it, whenever the program is killed.

    IN/x.png                                           arrived
    IN/.cxrs-edge/x.png                                taken: no sender writes there, the name is its own for good
    IN/.cxrs-edge/x.png and OUT/grades/x.png.json      graded: only the move is missing
    OUT/done/x.png      and OUT/grades/x.png.json      finished

A file that can't be graded ends as ``OUT/bad/x.png`` and ``OUT/bad/x.png.reason.json`` by the same steps. Each
step is one rename on one file system, so it happened or it didn't. Where IN and OUT are on two, the last step is
copy, fsync, rename, delete; a kill between the last two leaves the file on both sides, and only the delete is
made up for.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from cxrs_edge.errors import InputError
from cxrs_edge.files import numbered_names, write_atomically
from cxrs_edge.grade import Failure, Grade
from cxrs_edge.render import to_json

TAKEN = ".cxrs-edge"
LOCK = ".lock"
SHELVES = ("grades", "done", "bad")
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""What network shares answer that can't fsync a folder."""


class Place(NamedTuple):
    """Where a file ends: its record, whose existence says that it needs no grading any more, and itself."""

    record: Path
    file: Path


@dataclass(frozen=True)
class Folders:
    """The inbox and the output folder of one watch; `open_folders` makes and locks them."""

    inbox: Path
    output: Path

    @property
    def taken(self) -> Path:
        """Files on their way, inside the inbox so that taking one is a rename on one file system."""
        return self.inbox / TAKEN

    def good(self, name: str) -> Place:
        """Where a file with a grade ends."""
        return Place(self.output / "grades" / f"{name}.json", self.output / "done" / name)

    def bad(self, name: str) -> Place:
        """Where a file that can't be graded ends."""
        return Place(self.output / "bad" / f"{name}.reason.json", self.output / "bad" / name)

    def free_name(self, name: str) -> str:
        """The name itself if no file here ever had it, else scan-2.png and so on; a name too long is cut."""
        return next(free for free in numbered_names(name) if not self._has(free))

    def take(self, path: Path, name: str) -> bool:
        """Move a file among the taken ones under a free name; False if it vanished."""
        self.taken.mkdir(exist_ok=True)
        try:
            path.rename(self.taken / name)
        except FileNotFoundError:
            if os.path.lexists(path):
                raise
            return False
        _sync_folder(self.taken)
        return True

    def list_taken(self) -> list[str]:
        """Names of files that were taken and aren't finished."""
        if not self.taken.exists():
            return []
        return sorted(path.name for path in self.taken.iterdir() if not path.name.startswith("."))

    def find_record(self, name: str, sha256: str) -> Place | None:
        """Where this taken file is to be moved, if its result was written before the program ended."""
        places = (self.good(name), self.bad(name))
        return next((place for place in places if _recorded_sha256(place.record) == sha256), None)

    def belongs_to_another(self, name: str) -> bool:
        """Whether a taken file's name was given away by another inbox that shared the output folder."""
        return any(map(os.path.lexists, (*self.good(name), *self.bad(name))))

    def write_record(self, name: str, result: Grade | Failure, size: int, sha256: str) -> Place:
        """Make the result durable: ``cxrs-edge/grade/1``, when, and of which bytes, in one line of JSON."""
        place = self.bad(name) if isinstance(result, Failure) else self.good(name)
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        content = {
            **to_json(result),
            "finished_at": finished,
            "file": {"bytes": size, "sha256": sha256},
        }
        write_atomically(place.record, f"{json.dumps(content, allow_nan=False)}\n".encode())
        _sync_folder(place.record.parent)
        return place

    def finish(self, name: str, place: Place, sha256: str) -> None:
        """Move a taken file whose record is written to its place; never over another file."""
        source = self.taken / name
        if not os.path.lexists(place.file):
            _move(source, place.file)
        elif _sha256(place.file) == sha256:
            source.unlink()
        else:
            raise FileExistsError(errno.EEXIST, "another file is there; move that away", str(place.file))

    def _has(self, name: str) -> bool:
        return os.path.lexists(self.taken / name) or self.belongs_to_another(name)


@contextmanager
def open_folders(inbox: Path, output: Path) -> Iterator[Folders]:
    """Make what is missing below the output folder, and keep other watches out of both folders.

    Raises `InputError`: no such inbox, one folder inside the other, another watch at work, nowhere to write.
    """
    _check_apart(inbox, output)
    folders = Folders(inbox, output)
    with ExitStack() as stack:
        try:
            folders.taken.mkdir(exist_ok=True)
            for shelf in SHELVES:
                (output / shelf).mkdir(parents=True, exist_ok=True)
            for folder in (output, folders.taken):
                stack.enter_context(_lock(folder))
            _remove_unfinished(output)
        except OSError as error:
            raise InputError(f"{error.filename}: can't be used: {error.strerror}") from error
        yield folders


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file to read; what took its place since it was listed is an `OSError`."""
    # A FIFO would wait for its writer, and a link could lead to what the sender may not read.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file; remove it", str(path))
        yield file


def _check_apart(inbox: Path, output: Path) -> None:
    if not inbox.is_dir():
        raise InputError(f"{inbox}: no such folder; expected the folder that X-rays arrive in")
    one, other = inbox.resolve(), output.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise InputError(
            f"{output}: output inside the watched folder {inbox}, or the other way round; expected two folders "
            "side by side"
        )


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold an advisory lock, which the kernel lets go of however the program ends."""
    if sys.platform == "win32":
        raise InputError(
            "watch: runs on Linux and macOS only; on Windows, let the task scheduler run predict"
        )
    import fcntl

    with (folder / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another `cxrs-edge watch` is at work here; stop it, or choose another folder"
            ) from error
        yield


def _remove_unfinished(output: Path) -> None:
    """What a killed program was still writing has no meaning; its file will be done anew."""
    for shelf in SHELVES:
        for path in (output / shelf).glob(".*.unfinished"):
            path.unlink()


def _recorded_sha256(record: Path) -> str | None:
    try:
        return str(json.loads(record.read_bytes())["file"]["sha256"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None  # not ours: a bad file may itself be called x.png.reason.json


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        source.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy to another file system; a kill or an error leaves no part of it under the target's name."""
    partial = target.with_name(f".{target.name}.unfinished")
    try:
        with open_regular(source) as file, partial.open("wb") as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
