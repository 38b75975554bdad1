"""Full, slow, gone, stopped: what a server does when clients are many or bad."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cxrs_edge.cli import main
from cxrs_edge.cli_serve import serve as serve_command
from cxrs_edge.image import MAX_BYTES

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

SLOW_ENGINE = """
import time
from cxrs_edge.engines.onnx import OnnxEngine
real = OnnxEngine.infer
def infer(self, pixels):
    print("inferring", file=sys.stderr, flush=True)
    time.sleep(1.5)
    return real(self, pixels)
OnnxEngine.infer = infer

from cxrs_edge.serve.desk import Desk
real_run = Desk.run
async def run(self, work, request):
    print("arrived", file=sys.stderr, flush=True)
    return await real_run(self, work, request)
Desk.run = run
"""
"""An engine that takes its time, and says when it begins; and each upload that is complete is told of."""


def said(served, word: str) -> int:
    """In how many lines."""
    return sum(word in line for line in served.said)


def test_a_full_server_says_when_to_come_again(serve, draw_xray, until):
    data = draw_xray().read_bytes()
    with serve("--places", 1) as served, served.connect() as first:
        first.sendall(served.upload_head(len(data)) + data[:10])
        until(lambda: served.grade(data).status == 503)
        answer = served.grade(data)
        assert answer.json["error"]["kind"] == "busy"
        assert int(answer.headers["retry-after"]) >= 1
        first.sendall(data[10:])
        assert served.answer_on(first).status == 200
        until(lambda: served.grade(data).status == 200)


def test_uploads_together_are_bounded(serve, draw_xray, until):
    data = draw_xray().read_bytes()
    with serve() as served, served.connect() as one, served.connect() as two:
        for connection in (one, two):
            connection.sendall(served.upload_head(MAX_BYTES) + b"begin")
        until(lambda: served.grade(data).status == 503)
        one.close()
        until(lambda: served.grade(data).status == 200)


def test_who_leaves_while_sending_leaves_the_place(serve, draw_xray, until):
    data = draw_xray().read_bytes()
    with serve("--places", 1) as served:
        for _ in range(3):
            with served.connect() as connection:
                connection.sendall(served.upload_head(len(data)) + data[:10])
                until(lambda: served.grade(data).status == 503)
            until(lambda: served.grade(data).status == 200)
        assert not any("Error" in line for line in served.said)


def test_who_leaves_while_waiting_is_not_graded(serve, draw_xray, until):
    data = draw_xray().read_bytes()
    with serve(patch=SLOW_ENGINE) as served:
        with served.connect() as staying, served.connect() as leaving:
            staying.sendall(served.upload_head(len(data)) + data)
            served.wait_for("inferring")
            leaving.sendall(served.upload_head(len(data)) + data)
            until(lambda: said(served, "arrived") == 2)
            leaving.close()
            assert served.answer_on(staying).status == 200
        assert served.grade(data).status == 200
        assert said(served, "inferring") == 2


def is_closed(connection: socket.socket, more: bytes = b"") -> bool:
    """Whether the other side has hung up; sends `more` first."""
    connection.settimeout(0.2)
    try:
        connection.sendall(more)
        return connection.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_request_head_must_come_in_time_whatever_trickles_in(serve, until):
    patch = "cxrs_edge.serve.server.IDLE_SECONDS = 0.5"
    with serve(patch=patch) as served, served.connect() as silent, served.connect() as trickling:
        trickling.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        until(lambda: is_closed(trickling, b"x"))
        until(lambda: is_closed(silent))
        assert served.ask("GET", "/api/about").status == 200


def test_a_second_request_head_must_come_in_time_too(serve, until):
    with serve(patch="cxrs_edge.serve.server.IDLE_SECONDS = 0.5") as served, served.connect() as trickling:
        trickling.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert served.answer_on(trickling).status == 200
        trickling.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        until(lambda: is_closed(trickling, b"x"))


def test_a_body_must_not_pause(serve):
    with serve(patch="cxrs_edge.serve.upload.PAUSE_SECONDS = 0.3") as served, served.connect() as connection:
        connection.sendall(served.upload_head(1000) + b"begin")
        answer = served.answer_on(connection)
    assert answer.status == 408
    assert "sent too slowly" in answer.json["error"]["message"]


def test_many_connections_do_no_harm(served, draw_xray):
    idle = [served.connect() for _ in range(100)]
    assert served.grade(draw_xray().read_bytes()).status == 200
    for connection in idle:
        connection.close()


def test_sockets_that_say_nothing_are_bounded(serve, until):
    with serve(patch="cxrs_edge.serve.server.MAX_SOCKETS = 5") as served, ExitStack() as stack:
        silent = [stack.enter_context(served.connect()) for _ in range(8)]
        until(lambda: sum(map(is_closed, silent)) == 3)
        for connection in silent[:5]:
            connection.close()
        until(lambda: served.ask("GET", "/api/about").status == 200)


def test_many_uploads_at_once_are_all_answered(served, draw_xray):
    files = [draw_xray(f"{seed}.png", seed=seed).read_bytes() for seed in range(12)]
    alone = [served.grade(data).json["probabilities"] for data in files]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(served.grade, files))
    assert [answer.json["probabilities"] for answer in together] == alone


def test_garbage_instead_of_http(served):
    no_number = b"POST /api/grade HTTP/1.1\r\nHost: localhost\r\nContent-Length: x"
    endless = no_number[:-1] + b"9" * 5000
    for garbage in (b"\0" * 100, b"GET", no_number, endless, b"\x16\x03\x01"):
        with served.connect() as connection:
            connection.sendall(garbage + b"\r\n\r\n")
            assert connection.recv(65536)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 421", b"")
    assert served.ask("GET", "/api/about").status == 200


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_grade_finish(serve, draw_xray, until, number):
    data = draw_xray().read_bytes()
    with serve(patch=SLOW_ENGINE) as served, ThreadPoolExecutor(2) as pool:
        running = pool.submit(served.grade, data)
        served.wait_for("inferring")
        waiting = pool.submit(served.grade, data)
        until(lambda: said(served, "arrived") == 2)
        assert served.stop(number) == 0
        assert running.result().status == 200
        assert waiting.result().status == 503
        assert waiting.result().json["error"]["kind"] == "closing"
        assert said(served, "inferring") == 1
    assert served.said[-1] == "Stopped.\n"


@posix
def test_nothing_is_written_to_disk(serve, tmp_path):
    import resource

    noise = np.random.default_rng(0).integers(0, 256, (2500, 2500), np.uint8)
    Image.fromarray(noise).save(tmp_path / "scan.bmp")
    data = (tmp_path / "scan.bmp").read_bytes()
    assert len(data) > 6_000_000
    folder = tmp_path / "empty"
    folder.mkdir()

    def forbid_writing() -> None:
        # A process may write to pipes and sockets then, but to no file.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    environment = {"TMPDIR": str(folder), "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with serve(env=environment, preexec_fn=forbid_writing, cwd=folder) as served:
        before = open_files(served.process.pid)
        assert served.grade(data).status == 200
        assert served.ask("POST", "/api/seen", data).status == 200
        assert open_files(served.process.pid) == before
        assert list(folder.iterdir()) == []
        assert re.fullmatch(r"graded in \d+ ms\n", served.said[-1])


def open_files(pid: int) -> set[str]:
    """Regular files that a process holds open, also those without a name."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return {link for link in links if link.startswith("/")}


def test_a_failure_of_the_program_says_where_and_not_what(serve, draw_xray):
    patch = "import cxrs_edge.grader\ncxrs_edge.grader.prepare = lambda *_: {}['SECRET NAME']"
    with serve(patch=patch) as served:
        answer = served.grade(draw_xray().read_bytes())
        assert answer.status == 500
        assert answer.json["error"]["kind"] == "error"
        served.wait_for("KeyError in <string>:")
        assert not any("SECRET" in line or "Traceback" in line for line in served.said)
        assert b"SECRET" not in answer.body


def test_memory_that_is_not_there_is_no_failure(serve, draw_xray):
    patch = "class Full:\n def write(self, _piece): raise MemoryError\n"
    patch += "import io; cxrs_edge.serve.upload.io = type('Io', (), {'BytesIO': Full})"
    with serve(patch=patch) as served:
        answer = served.grade(draw_xray().read_bytes())
        assert answer.status == 503
        assert answer.headers["retry-after"] == "10"


MAIN = "from cxrs_edge.cli import main; main()"


def run(*arguments: object, program: str = MAIN) -> tuple[int, str]:
    """Status and standard error of a process."""
    command = [sys.executable, "-c", program, "serve", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stderr


def run_here(*arguments: object) -> tuple[int, str]:
    """The same without a process, for what fails early."""
    done = CliRunner().invoke(main, ["serve", *map(str, arguments)])
    return done.exit_code, done.stderr


def test_what_can_not_be_served_is_said_in_one_line(served, tiny, tmp_path):
    short, none = tmp_path / "short", tmp_path / "none"
    short.write_text("secret\n")
    pem = ("--port", 0, "--model", tiny, "--certificate", short, "--key", short)
    in_use = "can't listen: Address already in use; choose another --host or --port"
    for (status, said), words in [
        (run_here("--port", served.port), in_use),
        (run_here("--host", "203.0.113.1"), "can't listen: Cannot assign requested address"),
        (run_here("--token-file", short), "a token of 6 characters; expected at least 16"),
        (run_here("--token-file", none), "no readable token: No such file or directory"),
        (run("--port", 0, "--model", none), "none: no such file"),
        (run(*pem), "no usable certificate and key"),
    ]:
        assert status == 1
        error = said.splitlines()[-1]
        assert error.startswith("Error: ")
        assert words in error
        assert "Traceback" not in said
    assert run_here("--certificate", short)[0] == 2


def test_without_the_extra_the_pip_line_is_named():
    status, said = run(program=f"import sys; sys.modules['fastapi'] = None; {MAIN}")
    assert status == 1
    assert said == "Error: fastapi: not installed; run: pip install 'cxrs-edge[serve]'\n"


def test_https(serve, tmp_path, draw_xray):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*make, *names], check=True, capture_output=True)
    with serve("--host", "0.0.0.0", "--certificate", certificate, "--key", key) as served:
        assert served.scheme == "https"
        assert not any("Not encrypted" in line for line in served.said)
        trusting = ssl.create_default_context(cafile=certificate)
        asked = urllib.request.Request(
            f"{served.address}/api/grade",
            draw_xray().read_bytes(),
            {"Authorization": f"Bearer {served.token}", "Origin": served.address},
        )
        with urllib.request.urlopen(asked, context=trusting) as response:
            assert response.status == 200


UNIT = Path(__file__).parents[3] / "docs/systemd/cxrs-edge-serve.service"


def test_the_unit_file_runs_this_command():
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    program, command, *arguments = line.removeprefix("ExecStart=").split()
    assert (Path(program).name, command) == ("cxrs-edge", "serve")
    context = serve_command.make_context("serve", arguments)
    assert context.params["host"] == "0.0.0.0"
    assert context.params["token_file"].name == "token"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt install systemd"
)
def test_systemd_finds_the_unit_file_sound(tmp_path):
    unit = tmp_path / UNIT.name
    # Its program must exist.
    unit.write_text(UNIT.read_text().replace("/opt/cxrs-edge/bin/cxrs-edge", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
