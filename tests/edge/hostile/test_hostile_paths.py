"""Names that lead nowhere, to what is no file, or to what changes: the table, through the real command."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hostile_command import PREDICT, WITHOUT_THE_POWERS_OF_ROOT, forbidden, needs_setpriv, predict

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files and names of POSIX")


class PathCase(NamedTuple):
    """A path, the kind of error and what is said of it."""

    name: str
    make: Callable[[Path], Path]
    says: str
    kind: str = "image"


def link_to(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def listening(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def sparse(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(2**40)
    return path


def text(path: Path) -> Path:
    path.write_text("no image")
    return path


def empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


CASES = [
    PathCase("missing", lambda d: d / "missing.png", "can't be read: No such file or directory"),
    PathCase("name of 5000 letters", lambda d: d / ("x" * 5000), "can't be read: File name too long"),
    PathCase("below a file", lambda d: text(d / "file") / "scan.png", "can't be read: Not a directory"),
    PathCase(
        "link to itself",
        lambda d: link_to(d / "loop.png", d / "loop.png"),
        "Too many levels of symbolic links",
    ),
    PathCase(
        "link to nothing", lambda d: link_to(d / "dangling.png", d / "none"), "No such file or directory"
    ),
    PathCase("FIFO", lambda d: fifo(d / "fifo.png"), "not a regular file; expected an image file"),
    PathCase("link to a FIFO", lambda d: link_to(d / "to.png", fifo(d / "other")), "not a regular file"),
    PathCase("socket", lambda d: listening(d / "socket.png"), "not a regular file"),
    PathCase("device", lambda _: Path("/dev/zero"), "not a regular file"),
    PathCase("link to a device", lambda d: link_to(d / "zero.png", Path("/dev/zero")), "not a regular file"),
    PathCase("1 TB of nothing", lambda d: sparse(d / "huge.png"), "larger than 100 MB"),
    PathCase("folder without images", lambda d: empty_folder(d / "empty"), "no image in or below", "input"),
    PathCase("newline in its name", lambda d: text(d / "a\nb.png"), "not an image"),
    PathCase("terminal codes in its name", lambda d: text(d / "\x1b[2J\x1b]0;x\x07.png"), "not an image"),
    PathCase("no Unicode in its name", lambda d: text(d / os.fsdecode(b"\xff\xfe.png")), "not an image"),
    PathCase("right to left name", lambda d: text(d / "\u202egnp.png"), "not an image"),
]
UNREADABLE = [
    PathCase("file", lambda d: forbidden(d / "closed.png"), "can't be read: Permission denied"),
    PathCase(
        "folder", lambda d: forbidden(d / "closed", folder=True), "can't be read: Permission denied", "input"
    ),
]


@pytest.fixture
def tiny(tmp_path, write_models):
    return write_models("onnx", empty_folder(tmp_path / "model"))


def check(case: PathCase, path: Path, line: str) -> None:
    answer = json.loads(line)
    source = os.fsencode(path).decode(errors="replace")
    assert answer["outcome"] == "error"
    assert (
        answer["source"].encode() == source.encode(errors="replace") or answer["source"].count("\ufffd") == 2
    )
    assert answer["error"]["kind"] == case.kind
    assert case.says in answer["error"]["message"]


def test_every_path_is_refused_with_its_reason(tiny, tmp_path):
    paths = [case.make(tmp_path) for case in CASES]
    done = predict(tiny, *paths)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for case, path, line in zip(CASES, paths, done.stdout.splitlines(), strict=True):
        check(case, path, line)


@pytest.mark.parametrize("style", ["text", "csv"])
def test_no_name_steers_the_terminal(style, tiny, tmp_path):
    paths = [case.make(tmp_path) for case in CASES]
    done = predict(tiny, *paths, style=style)
    lines = (done.stdout + done.stderr).splitlines()
    assert all(char.isprintable() or 0xDC80 <= ord(char) <= 0xDCFF for line in lines for char in line)
    assert len([line for line in lines if str(tmp_path) in line or "/dev/zero" in line]) == len(CASES)


@needs_setpriv
def test_what_may_not_be_read_is_refused(tiny, tmp_path):
    paths = [case.make(tmp_path) for case in UNREADABLE]
    done = predict(tiny, *paths, before=WITHOUT_THE_POWERS_OF_ROOT)
    assert done.returncode == 1
    for case, path, line in zip(UNREADABLE, paths, done.stdout.splitlines(), strict=True):
        check(case, path, line)


@needs_setpriv
def test_a_folder_goes_on_past_what_may_not_be_read(tiny, draw_xray, tmp_path):
    for name in ("scans/a.png", "scans/deep/b.png", "scans/z/c.png"):
        draw_xray(name)
    (tmp_path / "scans/deep").chmod(0)
    draw_xray("scans/b.png").chmod(0)
    done = predict(tiny, tmp_path / "scans", before=WITHOUT_THE_POWERS_OF_ROOT)
    answers = {
        Path(line["source"]).name: line["outcome"] for line in map(json.loads, done.stdout.splitlines())
    }
    assert answers == {"a.png": "graded", "b.png": "error", "c.png": "graded", "deep": "error"}
    assert done.returncode == 1


def test_a_file_that_goes_away_after_the_folder_was_listed(tiny, draw_xray, tmp_path):
    first = draw_xray("first.png")
    for name in ("scans/a.png", "scans/b.png"):
        draw_xray(name)
    command = [sys.executable, *PREDICT, "--model", tiny, first, "-", tmp_path / "scans"]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes) as process:
        assert json.loads(process.stdout.readline())["outcome"] == "graded"
        # The list is made now, and the second input, from here, is waited for.
        (tmp_path / "scans/a.png").unlink()
        process.stdin.write(first.read_bytes())
        process.stdin.close()
        outcomes = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=60) == 1
    assert [outcome["outcome"] for outcome in outcomes] == ["graded", "error", "graded"]
    assert "a.png: can't be read: No such file or directory" in outcomes[1]["error"]["message"]
