"""`cxrs-edge watch` killed at any moment, on full disks and on shares that go away: each file once, none lost."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrs_edge import files, watch
from cxrs_edge.errors import InputError
from cxrs_edge.grader import Grader
from cxrs_edge.watch import LONGEST_WAIT, Watch
from cxrs_edge.watch_folders import Folders, open_folders

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file locks and signals of POSIX")

BAD_EACH = 10
"""One file in so many is no image."""


class Looks:
    """Says stop after so many sleeps, and keeps how long they were to be."""

    def __init__(self, looks: int) -> None:
        self.left = looks
        self.sleeps: list[float] = []

    @property
    def asked(self) -> bool:
        return self.left <= 0

    def sleep(self, seconds: float) -> None:
        self.left -= 1
        self.sleeps.append(seconds)


@pytest.fixture
def tiny(write_model):
    return write_model("onnx")


@pytest.fixture
def grader(tiny):
    return Grader.open(tiny, "onnx", 1)


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "in").mkdir()
    with open_folders(tmp_path / "in", tmp_path / "out") as folders:
        yield folders


@pytest.fixture
def other_disk(tmp_path):
    """A folder on another file system than `tmp_path`'s."""
    for place in ("/dev/shm", "/run/shm"):
        if Path(place).is_dir() and Path(place).stat().st_dev != tmp_path.stat().st_dev:
            folder = Path(tempfile.mkdtemp(dir=place))
            yield folder
            shutil.rmtree(folder)
            return
    pytest.skip("one file system only")


def image_bytes(number: int) -> bytes:
    """A drawn image, unlike that of any other number; every tenth is none."""
    if number % BAD_EACH == BAD_EACH - 1:
        return f"no image, number {number}".encode()
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@dataclass(frozen=True)
class Account:
    """What became of the files that went in."""

    files_in: int
    graded_once: int
    bad_once: int
    twice: int
    lost: int


def account(inbox: Path, output: Path, contents: list[bytes]) -> Account:
    """Compare what went in with records and files; each record is read, so a partial one would raise."""
    wanted = Counter(hashlib.sha256(content).hexdigest() for content in contents)
    found: dict[str, Counter[str]] = {"graded": Counter(), "error": Counter()}
    records = {path: output / "done" / path.stem for path in output.glob("grades/*")}
    reasons = output.glob("bad/*.reason.json")
    records |= {path: path.with_name(path.name.removesuffix(".reason.json")) for path in reasons}
    for path, file in records.items():
        record = json.loads(path.read_text())
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        assert record["file"]["sha256"] == sha256, f"{path} is of another file than {file}"
        assert record["source"] == file.name
        found[record["outcome"]][sha256] += 1
    kept = {*(output / "done").iterdir(), *(output / "bad").iterdir()} - records.keys()
    assert kept == set(records.values()), "a file without a record, or a partial one"
    assert names(inbox) == names(inbox / ".cxrs-edge") == []
    assert not list(output.glob("*/.*")), "partial files are left"
    total = found["graded"] + found["error"]
    return Account(
        files_in=wanted.total(),
        graded_once=sum(count == 1 for count in found["graded"].values()),
        bad_once=sum(count == 1 for count in found["error"].values()),
        twice=(total - wanted).total(),
        lost=(wanted - total).total(),
    )


# Every point between two changes of the disk, one after the other.


def live(grader: Grader, inbox: Path, output: Path, killed_at: int = 0) -> bool:
    """One `--once` in a process of its own that kills itself before its nth change; True if it came to its end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _kill_before_change(killed_at, (str(inbox), str(output)))
            with open_folders(inbox, output) as folders:
                Watch(grader, folders, 0.0, lambda _line: None).run_once(Looks(9))
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0


def _kill_before_change(number: int, below: tuple[str, ...]) -> None:
    """SIGKILL this process before the nth time that it opens, renames, removes or makes something below."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        if str(arguments[0]).startswith(below):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


FOUR = [image_bytes(number) for number in (1, 2, 3, BAD_EACH - 1)]


def prepare(grader: Grader, inbox: Path, output: Path) -> None:
    """An inbox with a new file under a used name, another one, and one that is no image."""
    inbox.mkdir()
    (inbox / "x.png").write_bytes(FOUR[0])
    assert live(grader, inbox, output)
    for name, content in zip(("x.png", "y.png", "z.png"), FOUR[1:], strict=True):
        (inbox / name).write_bytes(content)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("disk", ["same disk", "other disk"])
def test_killed_before_each_change_of_the_disk(grader, tmp_path, request, disk):
    where = tmp_path if disk == "same disk" else request.getfixturevalue("other_disk")
    chance, points, ended = random.Random(1), 0, False
    prepare(grader, tmp_path / "in", where / "out")
    while not ended:
        inbox = shutil.copytree(tmp_path / "in", tmp_path / f"in{points}")
        output = shutil.copytree(where / "out", where / f"out{points}")
        ended = live(grader, inbox, output, killed_at=points + 1)
        if not ended:
            points += 1
            live(grader, inbox, output, killed_at=chance.randint(1, 40))  # and once more on the way up
            assert live(grader, inbox, output)
        found = account(inbox, output, FOUR)
        assert found == Account(files_in=4, graded_once=3, bad_once=1, twice=0, lost=0), f"point {points}"
        assert names(output / "done") == ["x-2.png", "x.png", "y.png"], f"point {points}"
    print(f"{disk}: killed at {points} points")  # noqa: T201
    assert points > 40


# Kills of the real program at random moments.


class Sender(threading.Thread):
    """Sends files under names that are used again and again, by rename or by writing in place."""

    def __init__(self, inbox: Path, contents: list[bytes], pause: float) -> None:
        super().__init__(daemon=True)
        self.inbox, self.contents, self.pause = inbox, contents, pause

    def run(self) -> None:
        for number, content in enumerate(self.contents):
            path = self.inbox / f"scan{number % 25}.png"
            while path.exists():  # a sender's own file, still waiting, is not to be written over
                time.sleep(0.01)
            if number % 3:
                hidden = self.inbox / f".{path.name}"
                hidden.write_bytes(content)
                hidden.rename(path)
            else:
                path.write_bytes(content)
            time.sleep(self.pause)


@contextmanager
def start(inbox: Path, output: Path, model: Path) -> Iterator[subprocess.Popen[str]]:
    """The real program, killed at the end if it still runs."""
    command = [sys.executable, "-m", "cxrs_edge", "watch", inbox, "--output", output, "--model", model]
    process = subprocess.Popen(
        [*map(str, command), "--every", "0.05", "--settle", "0.2", "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert "watched" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def wait_for(condition, seconds=20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def stop(process: subprocess.Popen[str]) -> str:
    process.terminate()
    _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    return log


def seconds_for_one(tmp_path: Path, model: Path) -> float:
    """From the start of watching until a file that was there is graded, on this machine now."""
    inbox, output = tmp_path / "trial-in", tmp_path / "trial-out"
    inbox.mkdir()
    (inbox / "one.png").write_bytes(image_bytes(1))
    with start(inbox, output, model):
        started = time.monotonic()
        wait_for(lambda: names(output / "done") == ["one.png"], seconds=60)
        return time.monotonic() - started


@pytest.mark.parametrize("count", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_killed_at_random_moments_until_all_is_graded(tiny, tmp_path, count):
    chance, kills = random.Random(count), 0
    inbox, output = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    contents = [image_bytes(number) for number in range(count)]
    sender = Sender(inbox, contents, pause=0.02)
    sender.start()

    def finished() -> bool:
        return not sender.is_alive() and names(inbox) == names(inbox / ".cxrs-edge") == []

    # On a busy machine a process killed before it got anywhere says nothing, and three times is a bad file.
    usual = seconds_for_one(tmp_path, tiny)
    while not finished():
        with start(inbox, output, tiny):
            time.sleep(chance.uniform(0.5 * usual, 2 * usual))
        kills += 1
    with start(inbox, output, tiny) as process:  # takes away what the last one was still writing
        stop(process)
    found = account(inbox, output, contents)
    print(f"{kills} kills: {found}")  # noqa: T201
    assert kills >= count // 20, "too few to say anything"
    bad = count // BAD_EACH
    assert found == Account(files_in=count, graded_once=count - bad, bad_once=bad, twice=0, lost=0)


# Troubles that pass.


def look(grader: Grader, folders: Folders) -> tuple[watch.Look, list[str]]:
    """What two looks came to, the troubles of the second, and the log: at the second, all has settled."""
    log: list[str] = []
    watching = Watch(grader, folders, 0.0, log.append)
    first, second = watching.look(Looks(9)), watching.look(Looks(9))
    return watch.Look(first.graded + second.graded, first.bad + second.bad, second.troubles), log


def put(folders: Folders, name: str = "scan.png", number: int = 0) -> Path:
    path = folders.inbox / name
    path.write_bytes(image_bytes(number))
    return path


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_full_disk_is_waited_out_in_the_inbox(grader, folders, monkeypatch, step):
    put(folders)
    put(folders, "other.png", 1)

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if step == "replace" else (files.os, "fsync")), full)
        found, log = look(grader, folders)
    assert found.troubles == (
        "scan.png: waits: No space left on device (somewhere)",
        "other.png: waits: No space left on device (somewhere)",
    )
    assert log == []
    assert names(folders.inbox) == ["other.png", "scan.png"]  # where people look for them
    assert not list(folders.output.glob("*/*"))
    assert look(grader, folders)[0] == watch.Look(graded=2)


@pytest.fixture
def small_disk(tmp_path):
    """A real disk of 1 MB, mounted on `tmp_path / "out"`."""
    disk = tmp_path / "out"
    disk.mkdir()
    if not shutil.which("mount") or not mount("-t", "tmpfs", "-o", "size=1m", "none", disk):
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def mount(*arguments: str | Path) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def fill(disk: Path, leave: int) -> Path:
    """Write a file until so many bytes are left on a disk; removing it makes room again."""
    filler = disk / "filler"
    status = os.statvfs(disk)
    filler.write_bytes(bytes(status.f_bavail * status.f_frsize - leave))
    return filler


def test_a_disk_that_is_really_full(grader, tmp_path, small_disk):
    (tmp_path / "in").mkdir()
    with open_folders(tmp_path / "in", small_disk) as folders:
        put(folders)
        filler = fill(small_disk, leave=0)
        found, _ = look(grader, folders)
        assert found == watch.Look(troubles=(f"scan.png: waits: {os.strerror(errno.ENOSPC)}",))
        assert names(folders.inbox) == ["scan.png"]
        assert not list(small_disk.glob("*/*"))
        filler.unlink()
        assert look(grader, folders)[0] == watch.Look(graded=1)
        assert (small_disk / "done/scan.png").read_bytes() == image_bytes(0)


def test_a_disk_with_room_for_the_record_and_not_for_the_file(grader, tmp_path, small_disk):
    (tmp_path / "in").mkdir()
    with open_folders(tmp_path / "in", small_disk) as folders:
        path = put(folders)
        path.write_bytes(image_bytes(0) + bytes(200_000))  # what follows a PNG's end is not read
        filler = fill(small_disk, leave=60_000)
        found, _ = look(grader, folders)
        assert found.graded == 0
        assert [trouble.split(":")[:2] for trouble in found.troubles] == [["scan.png", " waits"]]
        record = (small_disk / "grades/scan.png.json").read_bytes()
        assert list((small_disk / "done").iterdir()) == []
        filler.unlink()
        found, log = look(grader, folders)
        assert (found.troubles, log) == ((), ["scan.png: has its record already; moved now"])
        assert (small_disk / "grades/scan.png.json").read_bytes() == record
        assert names(small_disk / "done") == ["scan.png"]
        assert names(folders.taken) == []


@pytest.mark.parametrize("read_only", ["in", "out"])
def test_a_read_only_disk_is_refused_at_the_start(tmp_path, small_disk, read_only):
    other = tmp_path / "other"
    other.mkdir()
    assert mount("-o", "remount,ro", small_disk)
    inbox, output = (small_disk, other) if read_only == "in" else (other, small_disk)
    with (
        pytest.raises(InputError, match=r"can't be used: Read-only file system$"),
        open_folders(inbox, output),
    ):
        pass


def test_clocks_that_jump_and_files_from_any_time(grader, folders, monkeypatch):
    for name, seconds in {"old.png": 0, "future.png": 4_000_000_000}.items():  # 1970, 2096
        os.utime(put(folders, name), (seconds, seconds))
    clock = {"monotonic": 100.0, "time": 1.7e9}
    for name in clock:
        monkeypatch.setattr(time, name, lambda name=name: clock[name])
    log: list[str] = []
    watching = Watch(grader, folders, 2.0, log.append)
    watching.look(Looks(9))
    clock.update(monotonic=101.9, time=1.8e9)  # three years pass for the wall's clock
    assert watching.look(Looks(9)) == watch.Look()
    clock.update(monotonic=102.0, time=0.0)  # and all of it backwards
    assert watching.look(Looks(9)) == watch.Look(graded=2)
    assert [line.split(":")[0] for line in log] == ["old.png", "future.png"]


@pytest.mark.parametrize("failing", range(1, 7))  # trying, taken, record, its folder, copy, its folder
def test_any_one_write_that_fails_is_made_up_for(grader, other_disk, tmp_path, monkeypatch, failing):
    (other_disk / "in").mkdir()
    real, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with open_folders(other_disk / "in", tmp_path / "out2") as across:
        put(across)
        assert len(look(grader, across)[0].troubles) == 1
        assert look(grader, across)[0].troubles == ()
        found = account(across.inbox, across.output, [image_bytes(0)])
    assert found == Account(files_in=1, graded_once=1, bad_once=0, twice=0, lost=0)


def test_waits_double_while_nothing_works_and_fall_back(grader, folders):
    put(folders)
    grades, aside = folders.output / "grades", folders.output / "aside"
    grades.rename(aside)
    grades.touch()  # a file in its place: nothing can be written there
    log: list[str] = []

    class Repaired(Looks):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.left == 2:
                grades.unlink()
                aside.rename(grades)

    stopping = Repaired(10)
    Watch(grader, folders, 0.0, log.append).run(2.0, stopping)
    assert stopping.sleeps == [2, 4, 8, 16, 32, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT, 2, 2]
    unwritten = f"({grades}/scan.png.json)"
    waits = [
        f"scan.png: waits: Not a directory {unwritten}; next try in {s:g} s" for s in stopping.sleeps[1:8]
    ]
    assert log[:7] == waits
    assert log[7].startswith("scan.png: graded level ")
    assert log[8:] == ["the trouble is over"]
    assert names(folders.output / "done") == ["scan.png"]


def test_an_inbox_that_goes_away_and_comes_back(tiny, tmp_path):
    inbox, output = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    with start(inbox, output, tiny) as process:
        (inbox / "a.png").write_bytes(image_bytes(0))
        wait_for((output / "done/a.png").exists)
        inbox.rename(tmp_path / "away")
        time.sleep(0.3)
        (tmp_path / "away/b.png").write_bytes(image_bytes(1))
        (tmp_path / "away").rename(inbox)
        wait_for((output / "done/b.png").exists)
        log = stop(process).splitlines()
    assert f"{inbox}: can't be listed: No such file or directory; next try in 0.1 s" in log
    assert "the trouble is over" in log
    found = account(inbox, output, [image_bytes(0), image_bytes(1)])
    assert found == Account(files_in=2, graded_once=2, bad_once=0, twice=0, lost=0)


def test_an_inbox_made_anew_has_no_folder_for_taken_files(grader, folders):
    shutil.rmtree(folders.inbox)
    folders.inbox.mkdir()
    put(folders)
    assert look(grader, folders)[0] == watch.Look(graded=1)


def test_a_file_that_vanishes_before_it_is_taken_is_no_trouble(grader, folders, monkeypatch):
    path = put(folders)
    put(folders, "stays.png", 1)
    log: list[str] = []
    watching = Watch(grader, folders, 0.0, log.append)
    watching.look(Looks(9))
    listing = watch.list_inbox(folders.inbox)
    path.unlink()
    monkeypatch.setattr(watch, "list_inbox", lambda _inbox: listing)
    assert watching.look(Looks(9)) == watch.Look(graded=1)
    assert [line.split(":")[0] for line in log] == ["stays.png"]


def test_a_file_that_grows_while_it_is_graded_is_graded_anew(tiny, folders):
    path = put(folders)
    whole, part = path.read_bytes(), path.read_bytes()[:-40]
    path.write_bytes(part)
    graded = []

    class Slow(Grader):
        """Its first file is written on meanwhile."""

        def grade(self, source, *, name=None):
            graded.append(len(source))
            if len(graded) == 1:
                with (folders.taken / name).open("ab") as file:
                    file.write(whole[len(part) :])
            return super().grade(source, name=name)

    watching = Watch(Slow.open(tiny, "onnx", 1), folders, 0.0, lambda _line: None)
    looks = [watching.look(Looks(9)) for _ in range(3)]
    assert graded == [len(part), len(whole)]
    assert looks == [watch.Look(), watch.Look(), watch.Look(graded=1)]
    assert (folders.output / "done/scan.png").read_bytes() == whole


def test_one_that_can_not_be_read_does_not_hold_up_the_others(grader, folders):
    os.mkfifo(folders.taken / "fifo.png")
    (folders.taken / "link.png").symlink_to("/etc/hostname")
    put(folders)
    found, _ = look(grader, folders)
    assert (found.graded, found.bad) == (1, 0)
    assert found.troubles == (
        f"fifo.png: waits: not a regular file; remove it ({folders.taken}/fifo.png)",
        f"link.png: waits: Too many levels of symbolic links ({folders.taken}/link.png)",
    )


def test_an_engine_that_breaks_down_makes_no_file_bad(write_model, grader, folders):
    broken = Grader.open(write_model("onnx", graph={"slope": float("nan")}), "onnx", 1)
    put(folders)
    found, _ = look(broken, folders)
    assert (found.graded, found.bad) == (0, 0)
    (trouble,) = found.troubles
    assert trouble.startswith("scan.png: waits: model tiny: output probabilities: got nan, expected")
    assert look(grader, folders)[0] == watch.Look(graded=1)


def test_a_log_that_nobody_reads_stops_nothing(tiny, tmp_path):
    inbox, output = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    with start(inbox, output, tiny) as process:
        process.stderr.close()
        for number in range(3):
            (inbox / f"{number}.png").write_bytes(image_bytes(number))
        wait_for(lambda: len(names(output / "done")) == 3)
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_partial_files_of_a_killed_one_are_taken_away(tmp_path):
    (tmp_path / "in").mkdir()
    with open_folders(tmp_path / "in", tmp_path / "out"):
        pass
    partial = [tmp_path / "out/done/.x.png.unfinished", tmp_path / "out/grades/.x.png.json.unfinished"]
    for path in (*partial, tmp_path / "out/done/.someones"):
        path.write_bytes(b"half")
    with open_folders(tmp_path / "in", tmp_path / "out"):
        assert [path.name for path in (tmp_path / "out").glob("*/.*")] == [".someones"]


def test_names_of_finished_files_are_forgotten(grader, folders):
    watching = Watch(grader, folders, 0.0, lambda _line: None)
    for number in range(5):
        put(folders, f"{number}.png", number)
        watching.look(Looks(9))
    watching.look(Looks(9))
    watching.look(Looks(9))
    assert watching._settling.names == ()
    assert len(names(folders.output / "done")) == 5
