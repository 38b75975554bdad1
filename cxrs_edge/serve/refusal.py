"""A request that gets no grade, as a status and the same JSON object as a file that `predict` can't grade."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Response

from cxrs_edge.grade import Failure
from cxrs_edge.render import render

SOURCE = "image"
"""What every upload is called: its name, which may be the patient's, never leaves the browser."""


@dataclass(eq=False)
class Refusal(Exception):
    """Raised wherever a request ends early.

    Attributes
    ----------
    status : of the HTTP answer.
    kind : stable word for the reason, as `cxrs_edge.errors.CxrsError.kind`.
    message : subject, what it got, what it expected, the fix.
    retry_after : seconds after which the same request may succeed.
    """

    status: int
    kind: str
    message: str
    retry_after: int | None = None


def closing() -> Refusal:
    """Of a server that was asked to stop."""
    return Refusal(503, "closing", "image: this server is stopping; try again when it runs", 30)


def answer(refusal: Refusal) -> Response:
    """The HTTP answer."""
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return answer_failure(Failure(SOURCE, refusal.kind, refusal.message), refusal.status, headers)


def answer_failure(failure: Failure, status: int, headers: dict[str, str] | None = None) -> Response:
    """A failure as an HTTP answer."""
    return Response(render(failure, "json"), status, headers, media_type="application/json")
