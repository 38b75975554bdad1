"""`cxrs-edge serve`."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from pathlib import Path

import click

from cxrs_edge.cli_options import (
    description,
    engine_option,
    model_option,
    open_grader,
    threads_option,
)
from cxrs_edge.errors import InputError
from cxrs_edge.serve.addresses import addresses
from cxrs_edge.serve.certificate import check_certificate
from cxrs_edge.serve.desk import PLACES
from cxrs_edge.serve.server import Settings, is_loopback, listen
from cxrs_edge.serve.server import serve as serve_until_stopped

SHORTEST_TOKEN = 16
EXPECTED_TOKEN = (
    f"expected at least {SHORTEST_TOKEN} characters in its first line, such as those of: openssl rand -hex 24"
)


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets other computers in, with a token.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8480, show_default=True, help="0 takes a free one."
)
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Its first line, of at least {SHORTEST_TOKEN} characters, is the token; by default one is made and "
    "shown, if --host lets other computers in.",
)
@click.option(
    "--allow-host",
    metavar="NAME",
    multiple=True,
    help="A further name under which browsers reach this server; can be repeated.",
)
@click.option(
    "--certificate",
    metavar="PEM",
    type=click.Path(path_type=Path),
    help="For HTTPS; together with --key.",
)
@click.option("--key", metavar="PEM", type=click.Path(path_type=Path), help="The certificate's private key.")
@click.option(
    "--places",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=PLACES,
    show_default=True,
    help="Files that may be here as a whole, at work or waiting; others are told to come again.",
)
@model_option
@engine_option
@threads_option
def serve(
    host: str,
    port: int,
    token_file: Path | None,
    allow_host: tuple[str, ...],
    certificate: Path | None,
    key: Path | None,
    places: int,
    model: str | None,
    engine: str,
    threads: int | None,
) -> None:
    """A page to grade X-rays with, and a JSON API, until SIGTERM or Ctrl-C.

    Drop PNG, JPEG, TIFF, BMP or DICOM files on the page. Nothing is stored, and file names stay in the
    browser. The API takes one file as a request's body and answers what `predict --format json` says; it is
    described at /api/openapi.json.

    \b
    Examples:
      cxrs-edge serve
      curl --data-binary @scan.png http://127.0.0.1:8480/api/grade
      cxrs-edge serve --host 0.0.0.0 --certificate clinic.pem --key clinic.key
    """
    from cxrs_edge.memory_limit import limit_memory
    from cxrs_edge.render import RESEARCH_USE

    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key are given together")
    if certificate and key:
        check_certificate(certificate, key)
    token = _token(token_file, host)
    sock = listen(host, port)
    limit_memory()
    grader = open_grader(model, engine, threads)
    _report(description(grader))
    _report(RESEARCH_USE)
    # A token of a file is known to who needs it, and stays out of logs.
    link = f"#token={token}" if token and token_file is None else ""
    scheme, port = "https" if certificate else "http", sock.getsockname()[1]
    first, *others = [f"{scheme}://{shown}:{port}/{link}" for shown in addresses(host)]
    _report(f"Open {first} (Ctrl-C stops)")
    for other in others:
        _report(f"  or {other}")
    if not is_loopback(host) and not certificate:
        _report("Not encrypted: who listens on the network sees X-rays and token; see --certificate")
    names = (*_own_names(host), *allow_host)
    settings = Settings(names, token, places, certificate, key)
    serve_until_stopped(grader, sock, settings, _report)
    _report("Stopped.")


def _token(file: Path | None, host: str) -> str | None:
    if file is None:
        return None if is_loopback(host) else secrets.token_urlsafe(24)
    try:
        lines = file.read_text("ascii").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII"
        raise InputError(f"{file}: no readable token: {reason}; {EXPECTED_TOKEN}") from error
    token = lines[0].strip() if lines else ""
    if len(token) < SHORTEST_TOKEN:
        raise InputError(f"{file}: a token of {len(token)} characters; {EXPECTED_TOKEN}")
    return token


def _own_names(host: str) -> tuple[str, ...]:
    name = socket.gethostname()
    return ("localhost",) if is_loopback(host) else ("localhost", host, name, f"{name}.local")


def _report(line: str) -> None:
    # A log that can't be written is no reason to stop.
    with suppress(OSError):
        click.echo(line, err=True)
