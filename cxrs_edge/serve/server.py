"""Sockets, deadlines for slow clients, and an orderly end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from cxrs_edge.errors import InputError
from cxrs_edge.grader import Grader
from cxrs_edge.serve.app import make_app
from cxrs_edge.serve.desk import Desk
from cxrs_edge.serve.guard import HEADERS, Guard
from cxrs_edge.serve.refusal import Refusal, answer

IDLE_SECONDS = 10.0
"""Until a whole request head is there; for HTTPS, also until the handshake is done."""
EXCHANGE_SECONDS = 600.0
"""From a request's head to the end of its answer."""
STOP_SECONDS = 30
MAX_SOCKETS = 300
"""More are closed at once: sockets that say nothing must not use up the process's file descriptors."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes
    ----------
    names : host names that are answered to, besides IP addresses.
    token : wanted of every request to the API, if given.
    places : requests that may wait or be at work.
    certificate, key : PEM files, for HTTPS.
    """

    names: tuple[str, ...]
    token: str | None
    places: int
    certificate: Path | None = None
    key: Path | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_any(host: str) -> bool:
    """Whether that stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one, and ``::`` listens on IPv4 too. Raises `InputError`."""
    if not host:
        raise InputError(
            "--host: empty; expected 127.0.0.1 for this computer alone, or 0.0.0.0 for others too"
        )
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        both = is_any(host) and family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, backlog=128, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        # Python's own text for a port in use repeats the address.
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
        raise InputError(
            f"{host}:{port}: can't listen: {reason}; expected an address of this computer and a free port; choose "
            "another --host (127.0.0.1, or 0.0.0.0 for others too) or --port"
        ) from error


class _DeadlineProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn, which waits forever for a request's head and for a client that doesn't read.

    More bytes don't move a deadline, so that a byte a second doesn't hold a connection either.
    """

    _deadline: asyncio.TimerHandle | None = None
    _timed: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_SOCKETS:
            transport.abort()
        self._give(IDLE_SECONDS)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._follow()

    def send_400_response(self, msg: str) -> None:
        """To what is no HTTP, in the form of every other error: uvicorn's own answer is plain text."""
        refusal = answer(Refusal(400, "request", f"request: {msg} See /api/openapi.json"))
        headers = [
            *refusal.raw_headers,
            *((name.encode(), value.encode()) for name, value in HEADERS.items()),
        ]
        head = h11.Response(
            status_code=400, headers=[*headers, (b"connection", b"close")], reason=b"Bad Request"
        )
        for event in (head, h11.Data(data=bytes(refusal.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _follow(self) -> None:
        current = self.cycle if self.cycle and not self.cycle.response_complete else None
        if current is not self._timed:
            self._timed = current
            self._give(EXCHANGE_SECONDS if current else IDLE_SECONDS)

    def _give(self, seconds: float) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)


class _Server(uvicorn.Server):
    """Tells the desk to let nobody in, once it is asked to stop."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self._desk = desk

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._desk.closing = True
        await super().shutdown(sockets)


def serve(grader: Grader, sock: socket.socket, settings: Settings, report: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT, finish the running grade, and return."""
    desk = Desk(settings.places)
    app = Guard(make_app(grader, desk, report), settings.names, settings.token, report)
    config = uvicorn.Config(
        app,
        http=_DeadlineProtocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        # uvicorn's own lines hold paths and tracebacks.
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        **_encryption(settings),
    )
    # A client may be silent during the handshake too. uvicorn has no setting for it, and asyncio waits for a minute.
    asyncio.constants.SSL_HANDSHAKE_TIMEOUT = IDLE_SECONDS  # type: ignore[attr-defined]
    # asyncio would write a traceback for each connection that it can't take.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with _signals_only_stop():
        _Server(config, desk).run([sock])


def _encryption(settings: Settings) -> dict[str, Any]:
    if settings.certificate is None:
        return {}
    return {"ssl_certfile": settings.certificate, "ssl_keyfile": settings.key}


@contextmanager
def _signals_only_stop() -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more at its end; that must not be an error."""
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
