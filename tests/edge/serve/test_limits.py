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
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cxrs_edge.cli import main
from cxrs_edge.cli_serve import serve as serve_command
from cxrs_edge.image import MAX_BYTES

DOCS = Path(__file__).parents[3] / "docs"
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

SLOW_ENGINE = """
import os, time
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


def held_engine(go: Path) -> str:
    """The same, but it waits until this file exists."""
    return SLOW_ENGINE.replace("time.sleep(1.5)", f"while not os.path.exists({str(go)!r}): time.sleep(0.05)")


def said(served, word: str) -> int:
    """In how many lines."""
    return sum(word in line for line in served.said)


def test_a_full_server_says_when_to_come_again(serve, draw_xray, until, tmp_path):
    data, go = draw_xray().read_bytes(), tmp_path / "go"
    with serve("--places", 1, patch=held_engine(go)) as served, served.connect() as first:
        first.sendall(served.upload_head(len(data)) + data)
        served.wait_for("inferring")
        answer = served.grade(data)
        assert (answer.status, answer.json["error"]["kind"]) == (503, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        go.touch()
        assert served.answer_on(first).status == 200
        until(lambda: served.grade(data).status == 200)


def test_an_upload_that_still_arrives_takes_no_place(serve, draw_xray):
    data = draw_xray().read_bytes()
    with serve("--places", 1) as served, served.connect() as slow:
        slow.sendall(served.upload_head(len(data)) + data[:10])
        assert served.grade(data).status == 200
        slow.sendall(data[10:])
        assert served.answer_on(slow).status == 200


def test_who_has_sent_all_to_a_full_server_is_told_too(serve, draw_xray, tmp_path):
    data, go = draw_xray().read_bytes(), tmp_path / "go"
    patch = held_engine(go)
    with serve("--places", 1, patch=patch) as served, served.connect() as slow, served.connect() as fast:
        slow.sendall(served.upload_head(len(data)) + data[:10])
        # An answer shows that the head sent before has been read too.
        assert served.ask("GET", "/api/about").status == 200
        fast.sendall(served.upload_head(len(data)) + data)
        served.wait_for("inferring")
        slow.sendall(data[10:])
        assert served.answer_on(slow).json["error"]["kind"] == "busy"
        go.touch()
        assert served.answer_on(fast).status == 200


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
    with serve(patch=f"cxrs_edge.serve.desk.MAX_HELD_BYTES = {len(data)}") as served:
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


def test_requests_at_once_are_bounded(serve, until):
    with serve(patch="cxrs_edge.serve.guard.MAX_REQUESTS = 2") as served, ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(served.connect())
            connection.sendall(served.upload_head(1000) + b"begin")
        until(lambda: served.ask("GET", "/api/about").status == 503)
        answer = served.ask("GET", "/api/about")
        assert (answer.json["error"]["kind"], answer.headers["retry-after"]) == ("busy", "1")


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
    with served.connect() as connection:
        connection.sendall(b"\0\r\n\r\n")
        answer = served.answer_on(connection)
        assert (answer.status, answer.json["error"]["kind"]) == (400, "request")
        assert answer.headers["x-content-type-options"] == "nosniff"
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
def test_who_is_too_slow_for_the_end_is_told(serve):
    with serve(patch="cxrs_edge.serve.server.STOP_SECONDS = 1") as served, served.connect() as slow:
        slow.sendall(served.upload_head(1000) + b"begin")
        assert served.ask("GET", "/api/about").status == 200
        assert served.stop() == 0
        answer = served.answer_on(slow)
        assert (answer.status, answer.json["error"]["kind"]) == (503, "closing")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_all_addresses_are_those_of_both_protocols(serve):
    with serve("--host", "::") as served:
        assert served.ask("GET", "/").status == 200
        with socket.create_connection(("::1", served.port), timeout=300):
            pass
        served.wait_for("Not encrypted")
        assert any(f"//{socket.gethostname()}:{served.port}/#token=" in line for line in served.said)


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
        graded, drawn = served.said[-2:]
        assert re.fullmatch(r"graded in \d+ ms\n", graded)
        assert drawn == "drawn\n"


def open_files(pid: int) -> set[str]:
    """Regular files that a process holds open, also those without a name."""
    links = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.add(str(link.readlink()))
    return {link for link in links if link.startswith("/")}


def test_a_failure_of_the_program_says_where_and_not_what(serve, draw_xray):
    patch = "import cxrs_edge.intake\ncxrs_edge.intake.prepare = lambda *_: {}['SECRET NAME']"
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


TOKEN = "expected at least 16 characters in its first line, such as those of: openssl rand -hex 24"
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


def test_what_can_not_be_served_is_said_in_one_line(served, tmp_path):
    short, none = tmp_path / "short", tmp_path / "none"
    short.write_text("secret\n")
    in_use = (
        "can't listen: Address already in use; expected an address of this computer and a free port; choose"
    )
    for (status, said), words in [
        (run_here("--port", served.port), in_use),
        (run_here("--host", "203.0.113.1"), "can't listen: Cannot assign requested address"),
        (run_here("--host", ""), "--host: empty; expected 127.0.0.1 for this computer alone, or 0.0.0.0"),
        (run_here("--token-file", short), f"a token of 6 characters; {TOKEN}"),
        (run_here("--token-file", none), f"no readable token: No such file or directory; {TOKEN}"),
        (run("--port", 0, "--model", none), "none: no such file"),
        (run_here("--certificate", short, "--key", short), "no certificate and its private key (not PEM);"),
        (run_here("--certificate", short, "--key", none), "none: can't be read: No such file or directory;"),
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


@pytest.fixture
def https(tmp_path):
    """Certificate and key for 127.0.0.1, made with the clinic's command."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    document = (DOCS / "clinic.md").read_text()
    (command,) = re.findall(r"^    openssl req (?:.*\\\n)*.*$", document, re.MULTILINE)
    command = command.replace("192.168.1.10", "127.0.0.1")
    subprocess.run(command, shell=True, check=True, capture_output=True, cwd=tmp_path)
    return tmp_path / "clinic.pem", tmp_path / "clinic.key"


def test_a_handshake_must_come_in_time_too(serve, https):
    certificate, key = https
    options = ("--certificate", certificate, "--key", key)
    patch = "cxrs_edge.serve.server.IDLE_SECONDS = 0.5"
    with serve(*options, patch=patch) as served, served.connect() as silent:
        # asyncio's own limit is a minute.
        silent.settimeout(40)
        with suppress(ConnectionResetError):
            assert silent.recv(1) == b""


def test_a_key_that_does_not_fit_is_told(https, tmp_path):
    certificate, key = https
    other, locked = tmp_path / "other.key", tmp_path / "locked.key"
    make = ["openssl", "genpkey", "-algorithm", "RSA", "-out"]
    subprocess.run([*make, other], check=True, capture_output=True)
    lock = ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(lock, check=True, capture_output=True)
    status, said = run_here("--certificate", certificate, "--key", other)
    assert (status, f"{other}: not the key of {certificate}; expected" in said) == (1, True)
    status, said = run_here("--certificate", certificate, "--key", locked)
    assert (status, f"{locked}: encrypted; expected a key without passphrase; run: openssl" in said) == (
        1,
        True,
    )


def test_https(serve, https, draw_xray):
    certificate, key = https
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


UNIT = DOCS / "systemd/cxrs-edge-serve.service"


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
