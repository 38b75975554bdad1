"""Real servers in processes of their own, and requests to them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_models import FULL

from cxrs_edge.card import Conformal, DecisionRule

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

LAUNCH = """
import sys
from cxrs_edge.cli import main
import cxrs_edge.serve.server, cxrs_edge.serve.upload
{patch}
main(sys.argv[1:])
"""
TIMEOUT = 300
"""Seconds: a machine may be busy."""


@dataclass
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A running server: its process, port and token, and what it has said so far."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    port: int = 0
    token: str | None = None
    scheme: str = "http"

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> Answer:
        """One request on a connection of its own; the token is sent if there is one."""
        known = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            connection.request(method, path, body, known | (headers or {}), **options)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def grade(self, data: bytes, **options: Any) -> Answer:
        return self.ask("POST", "/api/grade", data, **options)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def answer_on(self, connection: socket.socket) -> Answer:
        """What comes back on a connection that a request was written to."""
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Answer(response.status, response.headers, response.read())

    def upload_head(self, size: int) -> bytes:
        """The head of a request whose body will have so many bytes."""
        return f"POST /api/grade HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode()

    def wait_for(self, line: str) -> None:
        """Until the server has said a line that holds this."""
        with self.process_said:
            assert self.process_said.wait_for(lambda: any(line in said for said in self.said), TIMEOUT)

    process_said: threading.Condition = field(default_factory=threading.Condition)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit status."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what takes a moment, longer on a busy machine."""
    ended = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < ended
        time.sleep(0.05)


def _listen(served: Served) -> None:
    assert served.process.stderr is not None
    for line in served.process.stderr:
        with served.process_said:
            served.said.append(line)
            if found := re.search(r"Open (https?)://\S+:(\d+)/(?:#token=(\S+))?", line):
                served.scheme, served.port, served.token = found[1], int(found[2]), found[3]
            served.process_said.notify_all()


Serve = Callable[..., Any]


@contextmanager
def serving(model: Path, *options: Any, patch: str = "", **process: Any) -> Iterator[Served]:
    """A server on a free port; `patch` is Python that runs in its process first."""
    program = [sys.executable, "-c", LAUNCH.format(patch=patch)]
    arguments = ["serve", "--port", 0, "--engine", "onnx", "--threads", 1, "--model", model, *options]
    environment = os.environ | process.pop("env", {})
    with subprocess.Popen(
        [*program, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=environment, **process
    ) as running:
        served = Served(running)
        listener = threading.Thread(target=_listen, args=[served])
        listener.start()
        try:
            served.wait_for("Open ")
            yield served
        finally:
            running.kill()
            listener.join()


@pytest.fixture(scope="session")
def tiny(write_models: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model whose answers can be computed by hand."""
    return write_models("onnx", tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def full(write_models: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with every output, which is never sure."""
    rule = DecisionRule(level0=None, uncertain=Conformal(0.1, 0.0, 0.0), fitted="by hand")
    options = {"graph": FULL["graph"], "card": FULL["card"] | {"decision": rule}}
    return write_models("onnx", tmp_path_factory.mktemp("full"), **options)


@pytest.fixture(scope="session")
def full_served(full: Path) -> Iterator[Served]:
    """A server with that."""
    with serving(full) as running:
        yield running


@pytest.fixture(name="until")
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """`until(lambda: condition)`"""
    return until


@pytest.fixture
def serve_model() -> Serve:
    """`with serve_model(path) as served:`"""
    return serving


@pytest.fixture
def serve(tiny: Path) -> Serve:
    """`with serve("--places", 1) as served:`"""
    return lambda *options, **process: serving(tiny, *options, **process)


@pytest.fixture(scope="session")
def served(tiny: Path) -> Iterator[Served]:
    """One server for all tests that leave it as it is."""
    with serving(tiny) as running:
        yield running
