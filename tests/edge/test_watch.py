"""`cxrs-edge watch` when nothing goes wrong, and what it finds on its disk when it starts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_models import FULL

from cxrs_edge.card import Conformal, DecisionRule
from cxrs_edge.cli import main
from cxrs_edge.cli_watch import watch
from cxrs_edge.files import LONGEST_NAME
from cxrs_edge.grader import Grader
from cxrs_edge.render import RESEARCH_USE, SCHEMA
from cxrs_edge.watch_arrivals import Settling, Signature

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file locks and signals of POSIX")


@pytest.fixture(params=["onnx", "tflite"])
def each_kind(request, write_model):
    return write_model(request.param)


@pytest.fixture
def tiny(write_model):
    return write_model("onnx")


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


def once(inbox, output, model, *options):
    arguments = ["watch", inbox, "--output", output, "--once", "--settle", "0.05", "--model", model]
    return CliRunner().invoke(main, [str(argument) for argument in (*arguments, "--threads", "1", *options)])


@contextmanager
def start(inbox, output, model, *options):
    """The real program, once it watches; whatever a test finds, it doesn't outlive it."""
    command = [sys.executable, "-m", "cxrs_edge", "watch", inbox, "--output", output, "--model", model]
    process = subprocess.Popen(
        [*map(str, command), "--every", "0.05", "--threads", "1", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert "watched" in process.stderr.readline()
            assert process.stderr.readline() == f"{RESEARCH_USE}\n"
            yield process
        finally:
            process.kill()


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    _, log = process.communicate(timeout=20)
    return process.returncode, log


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def record(path):
    return json.loads(path.read_text())


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def log_of(result):
    """The log without the two lines that it begins with."""
    return result.stderr.splitlines()[2:]


def test_a_file_is_graded_recorded_and_moved(each_kind, draw_xray, inbox, output, expected_level2):
    path = draw_xray("in/scan.png", size=(160, 160))
    data, pixels = path.read_bytes(), np.asarray(Image.open(path))
    result = once(inbox, output, each_kind)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert names(inbox) == names(inbox / ".cxrs-edge") == []
    assert names(output) == ["bad", "done", "grades"]
    assert (output / "done/scan.png").read_bytes() == data
    (line,) = (output / "grades/scan.png.json").read_text().splitlines()
    content = json.loads(line)
    assert (content["schema"], content["source"], content["outcome"]) == (SCHEMA, "scan.png", "graded")
    assert content["probabilities"]["level2"] == pytest.approx(expected_level2(pixels), abs=0.005)
    assert content["file"] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert content["finished_at"].endswith("+00:00")
    assert log_of(result) == [
        f"scan.png: graded level 1, probability {content['probabilities']['level1']:.3f}"
    ]


def test_the_record_begins_with_what_predict_says(tiny, draw_xray, inbox, output):
    draw_xray("in/scan.png")
    once(inbox, output, tiny)
    result = CliRunner().invoke(
        main, ["predict", str(output / "done/scan.png"), "--model", str(tiny), "--format", "json"]
    )
    said, recorded = json.loads(result.stdout), record(output / "grades/scan.png.json")
    assert list(recorded) == [*said, "finished_at", "file"]
    assert recorded["probabilities"] == said["probabilities"]
    assert recorded["model"] == said["model"]


@pytest.mark.parametrize(
    ("rule", "outcome", "log"),
    [
        (DecisionRule(1.0, None, ""), ("graded", 0), "scan.png: graded level 0, largest zone {zone:.3f}"),
        (
            DecisionRule(None, Conformal(0.1, 0.0, 0.0), ""),
            ("uncertain", 1),
            "scan.png: uncertain level 1, probability {level1:.3f}",
        ),
    ],
)
def test_zones_are_recorded_and_the_log_tells_the_outcome(
    write_model, draw_xray, inbox, output, rule, outcome, log
):
    draw_xray("in/scan.png")
    model = write_model("onnx", FULL["graph"], FULL["card"] | {"decision": rule})
    result = once(inbox, output, model)
    content = record(output / "grades/scan.png.json")
    assert (content["outcome"], content["level"]) == outcome
    assert list(content["zones"]) == list("abcdef")
    assert 0 < content["opacity"] < content["geographic"] < 8
    expected = {"zone": max(content["zones"].values()), "level1": content["probabilities"]["level1"]}
    assert log_of(result) == [log.format(**expected)]


def test_a_bad_file_gets_its_reason_and_the_others_go_on(tiny, draw_xray, inbox, output):
    draw_xray("in/a.png")
    (inbox / "b.png").write_text("hello")
    (inbox / "c.png").touch()
    draw_xray("in/d.png")
    result = once(inbox, output, tiny)
    assert result.exit_code == 1
    assert names(output / "done") == ["a.png", "d.png"]
    assert names(output / "bad") == ["b.png", "b.png.reason.json", "c.png", "c.png.reason.json"]
    assert (output / "bad/b.png").read_text() == "hello"
    reason = record(output / "bad/b.png.reason.json")
    assert (reason["outcome"], reason["error"]["kind"]) == ("error", "image")
    assert reason["error"]["message"].startswith("b.png: not an image;")
    assert reason["file"] == {"bytes": 5, "sha256": sha256(output / "bad/b.png")}
    assert any(
        "bad: b.png: not an image; expected a PNG, JPEG, TIFF, BMP or DICOM image" in line
        for line in log_of(result)
    )
    assert names(output / "grades") == ["a.png.json", "d.png.json"]


def test_what_is_no_file_of_its_own_is_left_alone(tiny, draw_xray, inbox, output):
    outside = draw_xray("outside.png")
    (inbox / "link.png").symlink_to(outside)
    (inbox / "dangling.png").symlink_to("nowhere")
    os.mkfifo(inbox / "pipe.png")
    draw_xray("in/folder/deep.png")
    passed_over = [".hidden.png", "a.png.part", "b.TMP", "c.crdownload", "Thumbs.db", "desktop.ini"]
    for name in passed_over:
        (inbox / name).write_bytes(outside.read_bytes())
    before = sorted(path.name for path in inbox.iterdir())
    result = once(inbox, output, tiny)
    assert result.exit_code == 0
    assert sorted(path.name for path in inbox.iterdir()) == [".cxrs-edge", *before]
    assert names(output / "done") == names(output / "bad") == []
    assert log_of(result) == [
        "dangling.png: left alone: a link, which is not followed",
        "folder: left alone: a folder; only files directly in the watched folder are graded",
        "link.png: left alone: a link, which is not followed",
        "pipe.png: left alone: not a regular file",
    ]


@pytest.mark.parametrize("name", ["no-suffix", "scan.dcm", "-o", "two\nlines.png", "x" * 251 + ".png"])
def test_any_other_name_is_taken(tiny, draw_xray, inbox, output, name):
    (inbox / name).write_bytes(draw_xray().read_bytes())
    result = once(inbox, output, tiny)
    assert result.exit_code == 0
    (kept,) = names(output / "done")
    assert kept == (name if len(name) <= LONGEST_NAME else "x" * (LONGEST_NAME - 4) + ".png")
    assert names(output / "grades") == [f"{kept}.json"]
    assert result.stderr.count("\n") == 3 + (kept != name)


def test_a_name_that_is_no_text(tiny, draw_xray, inbox, output):
    name = os.fsdecode(b"\xff\xfe.png")
    (inbox / name).write_bytes(draw_xray().read_bytes())
    assert once(inbox, output, tiny).exit_code == 0
    assert names(output / "done") == [name]
    assert record(output / f"grades/{name}.json")["source"] == "\ufffd\ufffd.png"


def test_a_new_file_under_a_used_name_gets_its_own(tiny, draw_xray, inbox, output):
    contents = []
    for seed in (1, 2, 2):  # the third is the second, delivered again: a file like any other
        contents.append(draw_xray("in/scan.png", seed=seed).read_bytes())
        result = once(inbox, output, tiny)
    (inbox / "scan.png").write_text("hello")
    assert (
        log_of(result)[0] == "scan.png: this name is too long, or was here before; the file is now scan-3.png"
    )
    assert once(inbox, output, tiny).exit_code == 1
    kept = ["scan.png", "scan-2.png", "scan-3.png"]
    assert [(output / "done" / name).read_bytes() for name in kept] == contents
    for name in kept:
        content = record(output / f"grades/{name}.json")
        assert content["source"] == name
        assert content["file"]["sha256"] == sha256(output / "done" / name)
    assert names(output / "bad") == ["scan-4.png", "scan-4.png.reason.json"]


def test_a_file_that_looks_like_a_reason_does_not_hide_one(tiny, inbox, output):
    for name in ("x.png.reason.json", "x.png"):
        (inbox / name).write_text(f"I am {name}")
        once(inbox, output, tiny)
    assert (output / "bad/x.png.reason.json").read_text() == "I am x.png.reason.json"
    assert (output / "bad/x-2.png").read_text() == "I am x.png"
    assert "error" in record(output / "bad/x-2.png.reason.json")


def test_a_name_archived_from_done_is_still_used(tiny, draw_xray, inbox, output):
    draw_xray("in/scan.png", seed=1)
    once(inbox, output, tiny)
    (output / "done/scan.png").unlink()
    before = (output / "grades/scan.png.json").read_bytes()
    draw_xray("in/scan.png", seed=2)
    once(inbox, output, tiny)
    assert names(output / "done") == ["scan-2.png"]
    assert (output / "grades/scan.png.json").read_bytes() == before


# What a killed program leaves; tests/edge/test_watch_faults.py has it made by real kills.


@pytest.fixture
def recorded(tiny, draw_xray, inbox, output):
    """A file that was graded and moved, with the moving undone."""
    draw_xray("in/scan.png")
    once(inbox, output, tiny)
    (output / "done/scan.png").rename(inbox / ".cxrs-edge/scan.png")
    return output / "grades/scan.png.json"


def test_recorded_but_not_moved_is_only_moved(recorded, tiny, inbox, output):
    before, content = recorded.read_bytes(), (inbox / ".cxrs-edge/scan.png").read_bytes()
    result = once(inbox, output, tiny)
    assert log_of(result) == ["scan.png: has its record already; moved now"]
    assert result.exit_code == 0
    assert recorded.read_bytes() == before
    assert (output / "done/scan.png").read_bytes() == content
    assert names(inbox / ".cxrs-edge") == []


def test_recorded_and_copied_but_not_deleted_is_only_deleted(recorded, tiny, inbox, output):
    before, content = recorded.read_bytes(), (inbox / ".cxrs-edge/scan.png").read_bytes()
    (output / "done/scan.png").write_bytes(content)
    once(inbox, output, tiny)
    assert (recorded.read_bytes(), names(output / "grades")) == (before, ["scan.png.json"])
    assert (names(inbox / ".cxrs-edge"), names(output / "done")) == ([], ["scan.png"])


def test_a_bad_one_is_only_moved_too(tiny, inbox, output):
    (inbox / "b.png").write_text("hello")
    once(inbox, output, tiny)
    before = (output / "bad/b.png.reason.json").read_bytes()
    (output / "bad/b.png").rename(inbox / ".cxrs-edge/b.png")
    once(inbox, output, tiny)
    assert names(output / "bad") == ["b.png", "b.png.reason.json"]
    assert (output / "bad/b.png.reason.json").read_bytes() == before


def test_taken_but_not_recorded_is_graded(recorded, tiny, inbox, output):
    recorded.unlink()
    assert once(inbox, output, tiny).exit_code == 0
    assert record(recorded)["source"] == "scan.png"
    assert names(output / "done") == ["scan.png"]


def test_a_taken_name_that_another_inbox_used_in_the_meantime(recorded, tiny, draw_xray, inbox, output):
    before = recorded.read_bytes()
    taken = inbox / ".cxrs-edge/scan.png"
    taken.write_bytes(draw_xray("other.png", seed=9).read_bytes())
    once(inbox, output, tiny)
    assert recorded.read_bytes() == before
    assert names(output / "grades") == ["scan-2.png.json", "scan.png.json"]
    assert names(output / "done") == ["scan-2.png"]
    assert names(inbox / ".cxrs-edge") == []


@pytest.mark.usefixtures("recorded")
def test_nothing_is_moved_over_a_file_that_someone_put_there(tiny, inbox, output):
    (output / "done/scan.png").write_text("mine")
    result = once(inbox, output, tiny)
    assert result.exit_code == 1
    place = output / "done/scan.png"
    assert log_of(result) == [f"scan.png: waits: another file is there; move that away ({place})"]
    assert place.read_text() == "mine"
    assert names(inbox / ".cxrs-edge") == ["scan.png"]
    place.unlink()
    assert once(inbox, output, tiny).exit_code == 0


@pytest.mark.parametrize(
    ("trying", "shelf"),
    [
        ({"name": "scan.png", "ends": 3}, "bad"),
        ({"name": "scan.png", "ends": 2}, "done"),
        ({"name": "other.png", "ends": 3}, "done"),
        ([], "done"),
    ],
)
def test_a_file_that_ends_the_program_again_and_again(tiny, draw_xray, inbox, output, trying, shelf):
    output.mkdir()
    (output / ".trying").write_text(json.dumps(trying))
    draw_xray("in/scan.png")
    result = once(inbox, output, tiny)
    assert (output / shelf / "scan.png").exists()
    assert not (output / ".trying").exists()
    if shelf == "bad":
        assert log_of(result) == [
            "bad: scan.png: the program ended 3 times while grading it; export it smaller"
        ]


@pytest.mark.parametrize(("where", "inside"), [("in/out", "in"), ("in", "in"), (".", "in"), ("link", "in")])
def test_one_folder_inside_the_other_is_refused(tiny, tmp_path, inbox, where, inside):
    (tmp_path / "link").symlink_to(inbox)
    result = once(tmp_path / inside, tmp_path / where, tiny)
    assert result.exit_code == 1
    assert "expected two folders side by side" in result.stderr
    assert list(inbox.iterdir()) == []


def test_a_missing_inbox_and_an_output_that_is_a_file(tiny, tmp_path, inbox):
    missing = once(tmp_path / "none", tmp_path / "out", tiny)
    assert missing.exit_code == 1
    assert missing.stderr == (
        f"Error: {tmp_path}/none: no such folder; expected the folder that X-rays arrive in\n"
    )
    (tmp_path / "file").touch()
    refused = once(inbox, tmp_path / "file", tiny)
    assert refused.exit_code == 1
    assert refused.stderr == f"Error: {tmp_path}/file/grades: can't be used: Not a directory\n"


@pytest.mark.parametrize("shared", ["out", "in"])
def test_a_second_watch_on_one_folder_is_refused(tiny, tmp_path, inbox, output, shared):
    (tmp_path / "in2").mkdir()
    with start(inbox, output, tiny):
        second = (inbox, tmp_path / "out2") if shared == "in" else (tmp_path / "in2", output)
        refused = once(*second, tiny)
        assert refused.exit_code == 1
        locked = inbox / ".cxrs-edge" if shared == "in" else output
        assert refused.stderr == (
            f"Error: {locked}: another `cxrs-edge watch` is at work here; stop it, or choose another folder\n"
        )
    assert once(*second, tiny).exit_code == 0  # the first was killed, which leaves no lock behind


def draw_large(path):
    """An image that takes a while to read."""
    noise = np.random.default_rng(0).integers(0, 255, (4500, 4500), np.uint8)
    Image.fromarray(noise).save(path, compress_level=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_current_file(tiny, draw_xray, inbox, output, number):
    draw_large(inbox / "1.png")
    draw_xray("in/2.png")
    with start(inbox, output, tiny, "--settle", "0.1") as process:
        wait_for((inbox / ".cxrs-edge/1.png").exists)
        status, log = end(process, number)
    assert status == 0, log
    assert names(output / "grades") == ["1.png.json"]
    assert names(output / "done") == ["1.png"]
    assert names(inbox) == ["2.png"]
    assert "Traceback" not in log


def test_a_second_signal_ends_it_at_once_and_nothing_is_lost(tiny, inbox, output):
    draw_large(inbox / "1.png")
    with start(inbox, output, tiny, "--settle", "0.1") as process:
        wait_for((inbox / ".cxrs-edge/1.png").exists)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        assert process.returncode == -signal.SIGTERM
    assert names(inbox / ".cxrs-edge") == ["1.png"]
    assert once(inbox, output, tiny).exit_code == 0
    assert names(output / "done") == ["1.png"]


def test_an_idle_one_ends_soon(tiny, inbox, output):
    with start(inbox, output, tiny, "--every", "3600") as process:
        started = time.monotonic()
        assert end(process) == (0, "")
        assert time.monotonic() - started < 5


def test_a_slow_writer_is_waited_for_and_a_rename_is_not(tiny, draw_xray, inbox, output):
    data = draw_xray(size=(300, 300)).read_bytes()
    with start(inbox, output, tiny, "--settle", "1.5s") as process:
        (inbox / ".fast.png").write_bytes(data)
        with (inbox / "slow.png").open("wb") as file:
            for piece in range(10):
                file.write(data[piece * len(data) // 10 : (piece + 1) * len(data) // 10])
                file.flush()
                time.sleep(0.25)
                if piece == 0:
                    (inbox / ".fast.png").rename(inbox / "fast.png")
            assert names(output / "done") == ["fast.png"]
        wait_for((output / "done/slow.png").exists)
        status, log = end(process)
    assert status == 0
    assert [line.split(":")[0] for line in log.splitlines()] == ["fast.png", "slow.png"]
    assert names(output / "bad") == []
    assert record(output / "grades/slow.png.json")["file"]["bytes"] == len(data)


def test_what_is_left_alone_is_said_once(tiny, inbox, output):
    (inbox / "folder").mkdir()
    with start(inbox, output, tiny) as process:
        assert "folder: left alone" in process.stderr.readline()
        time.sleep(0.5)  # some ten looks more
        status, log = end(process)
    assert (status, log.count("folder: left alone")) == (0, 0)


def files(*signatures):
    return {name: Signature(changed, size) for name, changed, size in signatures}


def test_settling_by_hand():
    settling = Settling(2.0)
    assert settling.ready(files(("a", 1, 10)), 0.0) == []
    assert settling.ready(files(("a", 1, 20)), 2.0) == []  # grew
    assert settling.ready(files(("a", 2, 20)), 4.0) == []  # was written again
    assert settling.ready(files(("a", 2, 20), ("b", 1, 1)), 5.9) == []
    assert settling.ready(files(("a", 2, 20), ("b", 1, 1)), 6.0) == ["a"]
    assert settling.ready(files(("b", 1, 1)), 7.9) == ["b"]
    assert settling.ready({}, 8.0) == []
    assert settling.names == ()
    assert settling.ready(files(("a", 2, 20)), 20.0) == []  # is a new one
    assert settling.ready(files(("a", 2, 20), ("c", 0, 1)), 30.0) == ["a"]
    assert settling.ready(files(("a", 2, 20), ("c", 0, 1)), 40.0) == ["c", "a"]  # oldest first


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.floats(0.01, 3.0)), min_size=1, max_size=20))
def test_settled_is_unchanged_for_the_whole_time(looks):
    settling, now, unchanged_since, last = Settling(2.0), 0.0, 0.0, None
    for size, pause in looks:
        now += pause
        first = size != last
        unchanged_since, last = (now, size) if first else (unchanged_since, last)
        ready = settling.ready(files(("a", 1, size)), now)
        assert ready == (["a"] if not first and now - unchanged_since >= 2.0 else [])


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", "3601", "1m", ""])
@pytest.mark.parametrize("option", ["--every", "--settle"])
def test_no_duration_is_wrong_usage(inbox, output, option, text):
    result = CliRunner().invoke(main, ["watch", str(inbox), "-o", str(output), option, text])
    assert result.exit_code == 2
    assert f"got {text}; expected 0.05 to 3600 seconds, such as 2s" in result.stderr
    assert not output.exists()


def test_help_has_examples_and_every_option():
    text = CliRunner().invoke(main, ["watch", "--help"]).stdout
    assert "Examples:\n    cxrs-edge watch" in text
    options = [option for option in watch.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []
    assert [option.default for option in options if option.name in ("every", "settle")] == ["2s", "2s"]


def test_options_of_predict_mean_the_same(tiny, draw_xray, inbox, output):
    draw_xray("in/scan.png")
    result = once(inbox, output, tiny, "--engine", "onnx")
    engine = Grader.open(tiny, "onnx", 1).engine_info
    assert record(output / "grades/scan.png.json")["engine"] == {
        "name": "onnx",
        "version": engine.version,
        "threads": 1,
    }
    assert result.stderr.startswith(
        f"{inbox}: watched, tiny 1.2 float32 on onnx {engine.version}, 1 thread; results in {output}\n"
    )
    assert once(inbox, output, tiny, "--engine", "tflite").stderr == (
        "Error: engine tflite: doesn't run a .onnx file; expected auto or onnx or openvino\n"
    )


def test_the_unit_file_runs_this_command():
    root = Path(__file__).parents[2]
    unit = (root / "docs/systemd/cxrs-edge-watch.service").read_text()
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    program, command, *arguments = line.removeprefix("ExecStart=").split()
    assert (Path(program).name, command) == ("cxrs-edge", "watch")
    context = watch.make_context("watch", arguments)
    (writable,) = [line for line in unit.splitlines() if line.startswith("ReadWritePaths=")]
    folder = Path(writable.removeprefix("ReadWritePaths="))
    assert [context.params[name].parent for name in ("in_dir", "output")] == [folder, folder]


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt install systemd"
)
def test_systemd_finds_the_unit_file_sound_and_closed(tmp_path):
    root = Path(__file__).parents[2]
    unit = tmp_path / "cxrs-edge-watch.service"
    text = (root / "docs/systemd/cxrs-edge-watch.service").read_text()
    # Its program must exist.
    unit.write_text(text.replace("/opt/cxrs-edge/bin/cxrs-edge", sys.executable))
    verify = ["systemd-analyze", "verify", unit]
    run = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    security = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=5", unit]
    run = subprocess.run(security, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout  # exposure at most 0.5
    assert "exposure level for cxrs-edge-watch.service: 0.5" in run.stdout  # as docs/watch.md says
