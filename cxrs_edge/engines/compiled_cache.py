"""What an engine made of a model, kept so that the next start needn't make it again.

Nothing kept is trusted: a file counts only if it is this user's, nobody else may write it, and it begins with the
SHA-256 of its key and of all that follows. Whatever is wrong with it, the engine starts as if it weren't there. It
holds a compiled model and nothing of any image.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from cxrs_edge.files import write_atomically

DIGEST_BYTES = hashlib.sha256().digest_size
KEPT = 6
"""Files: a model has one for each number of threads, and all are replaced when the engine is updated."""


class CompiledCache:
    """A folder of files named by their key, below ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Parameters
    ----------
    folder : name of the engine.
    key : all that the result depends on: the model's hash, the engine's version and settings, the CPU.
    """

    def __init__(self, folder: str, key: str) -> None:
        self._key = key.encode()
        base = _cache_home()
        name = hashlib.sha256(self._key).hexdigest()
        self._path = None if base is None else base / "cxrs-edge" / folder / name

    def read(self) -> bytes | None:
        """What was kept; None if nothing was, or if it isn't to be trusted."""
        if self._path is None:
            return None
        # Without waiting for the writer of what turns out to be a pipe.
        with suppress(OSError, MemoryError), open(self._path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not _is_ours(status):
                return None
            digest, content = file.read(DIGEST_BYTES), file.read()
            if digest == self._digest(content):
                return content
        return None

    def write(self, content: bytes) -> None:
        """Keep it, and of all files in the folder the newest; where that can't be done, it isn't."""
        if self._path is None:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._path, self._digest(content) + content)
            newest = sorted(self._path.parent.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in newest[:-KEPT]:
                path.unlink()

    def _digest(self, content: bytes) -> bytes:
        digest = hashlib.sha256(self._key)
        digest.update(content)
        return digest.digest()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _cache_home() -> Path | None:
    """Where the XDG Base Directory Specification has it; None where files have no owner to check."""
    if not hasattr(os, "geteuid"):
        return None
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):
        return given if given.is_absolute() else Path.home() / ".cache"
    return None


def _is_ours(status: os.stat_result) -> bool:
    shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not shared
