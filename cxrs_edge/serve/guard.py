"""Who may ask, and what every answer says to the browser: an ASGI application around the one in `app`."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import traceback
from collections.abc import Callable, Iterable
from pathlib import PurePath
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrs_edge.serve.refusal import Refusal, answer, closing

API = "/api/"
MAX_REQUESTS = 200
"""At once; others are told to come again."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Answers are about patients; the page itself is small.
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses what comes from elsewhere, then lets the application answer.

    Parameters
    ----------
    app : the application behind it.
    names : host names that this server answers to, besides IP addresses.
    token : wanted for all of ``/api/`` if given.
    report : called with one line about a failure of the application; it holds no data of the request.
    """

    def __init__(
        self, app: ASGIApp, names: Iterable[str], token: str | None, report: Callable[[str], None]
    ) -> None:
        self._app = app
        self._names = {name.lower() for name in names}
        self._token = token
        self._report = report
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        self._running += 1
        try:
            self._check(Headers(scope=scope), scope["path"])
            await self._app(scope, receive, send)
        except Refusal as refusal:
            self._report(f"refused: {refusal.kind}")
            await answer(refusal)(scope, receive, send)
        except asyncio.CancelledError:
            # The server stops, and this took too long to wait for.
            await answer(closing())(scope, receive, send)
        except Exception as error:
            # The message or the values could be a patient's; where it happened can't. The answer is on its way.
            last = traceback.extract_tb(error.__traceback__)[-1]
            self._report(f"{type(error).__name__} in {PurePath(last.filename).name}:{last.lineno}")
        finally:
            self._running -= 1

    def _check(self, headers: Headers, path: str) -> None:
        if self._running > MAX_REQUESTS:
            raise Refusal(503, "busy", "image: the server is busy with others; try again in 1 s", 1)
        host = headers.get("host", "")
        if not self._knows(host):
            # A page of anybody's could have its own name point here (DNS rebinding), and then read answers.
            raise Refusal(
                421,
                "host",
                f"host {host[:80]}: not a name of this server; use its IP address, or --allow-host",
            )
        if not path.startswith(API):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if (origin is not None and _netloc(origin) != host) or site not in ("same-origin", "none"):
            raise Refusal(403, "origin", "request from another site's page; expected this server's own")
        if self._token is not None and not _is_bearer(headers.get("authorization", ""), self._token):
            raise Refusal(401, "token", "no or wrong token; expected the header Authorization: Bearer TOKEN")

    def _knows(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
        except ValueError:
            return False
        name = parts.hostname or ""
        whole = parts.netloc == host and parts.username is None
        return whole and (name.rstrip(".") in self._names or _is_address(name))


def _is_address(name: str) -> bool:
    """Rebinding needs a name: who asks for an address means this machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _is_bearer(authorization: str, token: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    # Headers are Latin-1 to Starlette.
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode("latin-1"), token.encode("latin-1")
    )


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return send_with_headers
