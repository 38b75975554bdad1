"""Whether certificate and key can be used, before anything else is done: OpenSSL's own errors name no file."""

from __future__ import annotations

import ssl
from pathlib import Path

from cxrs_edge.errors import InputError

HOW = "docs/clinic.md has the command that makes both"


def check_certificate(certificate: Path, key: Path) -> None:
    """Raises `InputError` for what can't be read, is no PEM, is encrypted or doesn't belong together."""
    for path in (certificate, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise InputError(
                f"{path}: can't be read: {error.strerror}; expected a PEM file; {HOW}"
            ) from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: _refuse_to_ask(key))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InputError(
                f"{key}: not the key of {certificate}; expected the one that was made with it; {HOW}"
            ) from error
        reason = error.reason or "not PEM"
        raise InputError(
            f"{certificate}, {key}: no certificate and its private key ({reason}); expected two PEM files; {HOW}"
        ) from error


def _refuse_to_ask(key: Path) -> str:
    """Nobody sits before a service to type a passphrase."""
    raise InputError(
        f"{key}: encrypted; expected a key without passphrase; run: openssl pkey -in {key} -out plain.key"
    )
