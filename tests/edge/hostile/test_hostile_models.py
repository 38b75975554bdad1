"""Every model file of the table: `info` reads its card, `predict` its graph."""

from __future__ import annotations

import os
import socket

import pytest
from click.testing import CliRunner
from hostile_command import WITHOUT_THE_POWERS_OF_ROOT, forbidden, needs_setpriv, predict
from hostile_models import FILES, GOOD, GRAPHS

from cxrs_edge.cli import main
from cxrs_edge.engines.registry import ENGINES

RUNS = [
    (case, entry.name) for case in GRAPHS for entry in ENGINES if entry.kind == case.kind and entry.package()
]


def info(path):
    result = CliRunner().invoke(main, ["info", str(path)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def check_refused(result, path, says):
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {path}: ")
    assert says in line
    assert len(line) < 600 + len(str(path))


def test_the_names_of_the_table_differ():
    names = [case.name for case in (*FILES, *GRAPHS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_file(case, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(case.make())
    check_refused(info(path), path, case.says)


@pytest.mark.parametrize("kind", GOOD)
def test_cut_short_at_each_percent(kind, tmp_path):
    path = tmp_path / "model.bin"
    for percent in range(100):
        path.write_bytes(GOOD[kind][: len(GOOD[kind]) * percent // 100])
        check_refused(info(path), path, "empty file" if percent == 0 else "no model card")
    path.write_bytes(GOOD[kind])
    assert info(path).exit_code == 0


def test_what_is_no_file(tmp_path):
    (tmp_path / "loop.onnx").symlink_to(tmp_path / "loop.onnx")
    os.mkfifo(tmp_path / "fifo.onnx")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.onnx"))
    for name in ("missing.onnx", "loop.onnx", "fifo.onnx", "socket.onnx", ".", "/dev/zero", "x" * 5000):
        path = tmp_path / name
        check_refused(info(path), path, "")


@needs_setpriv
def test_a_model_that_may_not_be_read(tmp_path, draw_xray):
    model = forbidden(tmp_path / "closed.onnx")
    done = predict(model, draw_xray(), before=WITHOUT_THE_POWERS_OF_ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {model}: can't be read: ")
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize(("case", "engine"), RUNS, ids=lambda value: getattr(value, "name", value))
def test_graph(case, engine, tmp_path, draw_xray):
    model = tmp_path / f"model.{case.kind}"
    model.write_bytes(case.make())
    done = predict(model, draw_xray(), engine=engine, style="text")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if str(model) in line]
    assert case.says in line
