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

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from cxrs_edge.errors import InputError
from cxrs_edge.grader import Grader
from cxrs_edge.serve.app import make_app
from cxrs_edge.serve.desk import Desk
from cxrs_edge.serve.guard import Guard

IDLE_SECONDS = 10.0
"""Until a whole request head is there."""
EXCHANGE_SECONDS = 600.0
"""From a request's head to the end of its answer."""
STOP_SECONDS = 30
MAX_CONNECTIONS = 200
"""Whose requests are answered; those of more get 503."""
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


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `InputError`."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        # Python's own text for a port in use repeats the address.
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
        raise InputError(f"{host}:{port}: can't listen: {reason}; choose another --host or --port") from error


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
    """Answer until SIGTERM or SIGINT, finish the running grade, and return.

    Raises `InputError` if certificate and key can't be used.
    """
    desk = Desk(settings.places)
    app = Guard(make_app(grader, desk, report), settings.names, settings.token, report)
    config = uvicorn.Config(
        app,
        http=_DeadlineProtocol,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        # uvicorn's own lines hold paths and tracebacks.
        log_config=None,
        log_level="critical",
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
        **_encryption(settings),
    )
    try:
        config.load()
    except OSError as error:  # ssl's errors are OSErrors
        raise InputError(f"{settings.certificate}: no usable certificate and key: {error}") from error
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
