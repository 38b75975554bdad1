"""Under which addresses others reach a server that listens on all of this machine's."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from cxrs_edge.serve.server import is_any

FAR = ("203.0.113.1", "192.168.255.254", "172.31.255.254", "10.255.255.254")
"""Towards the internet (an address that is nobody's, RFC 5737) and private networks."""
FAR_IPV6 = ("2001:db8::1",)


def addresses(host: str) -> tuple[str, ...]:
    """What to type into another computer's browser, the likeliest first; as it stands in an address."""
    if not is_any(host):
        return (_in_url(host),)
    families = [(socket.AF_INET, FAR), (socket.AF_INET6, FAR_IPV6)][: 2 if ":" in host else 1]
    found = [own for family, far in families for own in _own_addresses(family, far)]
    return (*map(_in_url, dict.fromkeys(found)), socket.gethostname())


def _own_addresses(family: socket.AddressFamily, far: tuple[str, ...]) -> Iterator[str]:
    """Those from which packets to `far` would leave; none is sent, since connecting UDP only chooses a route."""
    for address in far:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, 9))
            except OSError:
                continue
            yield probe.getsockname()[0]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
