"""The command line as a process: statuses, signals, pipes and terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxrs_edge.cli import main
from cxrs_edge.engines.registry import choose_engine, open_engine
from cxrs_edge.image import read_image
from cxrs_edge.render import RESEARCH_USE, STYLES

posix = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and terminals of POSIX")
COMMAND = [sys.executable, "-m", "cxrs_edge"]


def spawn(*arguments, **options):
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def start(*arguments, **options):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
    # Unbuffered output would hide a missing flush, and what is still to be flushed at the end.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(command, text=True, env=environment, **pipes)


@pytest.fixture
def tiny(write_model):
    return write_model("onnx")


def objects(output):
    return [json.loads(line) for line in output.splitlines()]


def test_statuses_of_the_real_program(draw_xray, tmp_path):
    good = spawn("predict", draw_xray(), "--format", "json")
    assert good.returncode == 0
    assert objects(good.stdout)[0]["engine"]["name"] == choose_engine().name
    bad = spawn("predict", tmp_path / "none.png", "--engine", "onnx", "--threads", "1")
    assert bad.returncode == 1
    assert bad.stdout == ""
    assert "Traceback" not in bad.stderr
    assert spawn("predict").returncode == 2


@posix
def test_a_file_name_that_the_console_can_not_show(tiny, draw_xray, tmp_path):
    name = os.fsencode(tmp_path) + "/肺".encode() + b"\xff.png"
    Path(os.fsdecode(name)).write_bytes(draw_xray().read_bytes())
    for style in STYLES:
        environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
        command = [*COMMAND, "predict", name, "--model", tiny, "--format", style]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert b"graded" in done.stdout


def test_a_result_is_there_before_the_next_input(tiny, draw_xray):
    path = draw_xray()
    with start("predict", path, "-", "--model", tiny, "--format", "json") as process:
        assert json.loads(process.stdout.readline())["source"] == str(path)
        process.stdin.buffer.write(path.read_bytes())
        process.stdin.close()
        assert json.loads(process.stdout.readline())["source"] == "stdin"
        assert process.wait(timeout=20) == 0


@posix
def test_a_reader_that_goes_away_ends_it_quietly(tiny, draw_xray):
    paths = [draw_xray()] * 300
    with start("predict", *paths, "--model", tiny, "--format", "json") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=20) == 141
        assert process.stderr.read().splitlines()[2:] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_can_not_be_written_is_one_line(tiny, draw_xray):
    with open("/dev/full", "w") as full:
        command = [*COMMAND, "predict", str(draw_xray()), "--model", str(tiny)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[2:] == ["Error: input or output: No space left on device"]


@posix
@pytest.mark.parametrize(("closed", "status"), [("<&-", 1), ("2>&-", 0)])
def test_a_closed_stream_is_no_traceback(tiny, draw_xray, closed, status):
    path = draw_xray()
    source = "-" if closed == "<&-" else path
    shell = f'"$0" -m cxrs_edge predict "$1" --model "$2" --format json {closed}'
    command = ["sh", "-c", shell, sys.executable, str(source), str(tiny)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    (result,) = objects(done.stdout)
    assert result["outcome"] == ("error" if status else "graded")


def test_litert_says_nothing_beside_us(write_model, draw_xray):
    pytest.importorskip("ai_edge_litert")
    done = spawn("predict", draw_xray(), "--model", write_model("tflite"))
    first, *rest = done.stderr.splitlines()
    assert first.startswith("tiny 1.2 float32 on tflite")
    assert rest == [RESEARCH_USE]


@posix
def test_an_interrupt_is_status_130(tiny):
    def heed() -> None:
        # A test run in the background is started deaf to it, and its children would be too.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with start("predict", "-", "--model", tiny, preexec_fn=heed) as process:
        assert "tiny 1.2" in process.stderr.readline()
        assert process.stderr.readline() == f"{RESEARCH_USE}\n"
        # In its blocking read by then: Python heeds a signal that comes just before that only when the read ends.
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read() == "Interrupted.\n"


@posix
def test_progress_is_for_terminals_only(tiny, draw_xray):
    paths = [draw_xray()] * 3
    quiet = spawn("predict", *paths, "--model", tiny, "--format", "json")
    assert "3/3" not in quiet.stderr
    terminal, end = os.openpty()
    with start("predict", *paths, "--model", tiny, "--format", "json", stderr=end) as process:
        os.close(end)
        results = process.stdout.read()
        assert process.wait(timeout=20) == 0
    shown = os.read(terminal, 65536)
    os.close(terminal)
    assert b"3/3" in shown
    assert len(objects(results)) == 3


@posix
def test_an_interrupt_in_the_middle_of_many_images_is_status_130(tiny, draw_xray):
    def heed() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    paths = [draw_xray()] * 2000
    with start("predict", *paths, "--model", tiny, "--format", "json", preexec_fn=heed) as process:
        for _ in range(3):
            assert json.loads(process.stdout.readline())["outcome"] == "graded"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.splitlines()[2:] == ["Interrupted."]
    assert len(rest.splitlines()) < 1990


def test_errors_stand_between_the_grades_of_their_neighbours(tiny, draw_xray, tmp_path):
    good, bad = draw_xray(), tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    paths = [good, bad, good, tmp_path / "none.png", good]
    done = spawn("predict", *paths, "--model", tiny, "--format", "json")
    assert done.returncode == 1
    assert [(one["source"], one["outcome"]) for one in objects(done.stdout)] == [
        (str(path), "graded" if path == good else "error") for path in paths
    ]


def test_nothing_is_decoded_before_the_engine_is_there(monkeypatch, tiny, draw_xray):
    # OpenVINO's import failed with "dictionary changed size during iteration" when another thread imported meanwhile.
    events = []

    def open_slowly(*arguments):
        time.sleep(0.3)
        events.append("engine")
        return open_engine(*arguments)

    def read(*arguments, **options):
        events.append("image")
        return read_image(*arguments, **options)

    monkeypatch.setattr("cxrs_edge.cli_options.open_engine", open_slowly)
    monkeypatch.setattr("cxrs_edge.intake.read_image", read)
    done = CliRunner().invoke(
        main, ["predict", str(draw_xray()), str(draw_xray("b.png")), "--model", str(tiny)]
    )
    assert done.exit_code == 0
    assert events == ["engine", "image", "image"]
