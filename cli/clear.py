"""What is said to an address without TLS can be read on its way, unless that is this machine."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_HERE: Final = frozenset({"localhost", "0.0.0.0", "::"})
"""Names of this machine; a server that listens everywhere says that it is at 0.0.0.0."""


def in_the_clear(url: str) -> bool:
    """Whether others can read what is sent there: plain HTTP that leaves this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "http" and not _is_here(host)


def _is_here(host: str) -> bool:
    if host in _HERE or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
