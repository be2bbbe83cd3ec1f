"""Which Host and which Origin are ours: those of the listen address and of the public URL, and no others (T18).

A name that somebody else's DNS points here (rebinding) is not ours; an address literal cannot be rebound, so a door
that listens everywhere takes those. `Origin: null` is nobody's.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from formicary.webhook.parts import Settings

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE: Final = ("0.0.0.0", "::", "")
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SCHEMES: Final = {"ws": "http", "wss": "https"}


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class Allowed:
    """The allow-list of one door."""

    def __init__(self, settings: Settings) -> None:
        listen = settings.host.lower()
        public = parse(settings.url)
        names = {*(name.lower() for name in settings.allowed_hosts), listen}
        if public:
            names.add(public.host)
        self._everywhere = listen in _EVERYWHERE
        if self._everywhere or is_loopback(listen):
            names.update(_LOOPBACK)
        self._names = frozenset(names - set(_EVERYWHERE))
        self._origins = frozenset({*(Origin(settings.scheme, name, settings.port) for name in self._names), public})

    def host(self, header: str) -> bool:
        """Whether this `Host` is ours. Its port is not looked at: a tunnel has another one."""
        origin = parse(f"http://{header}")
        return origin is not None and (origin.host in self._names or (self._everywhere and _is_address(origin.host)))

    def origin(self, header: str, *, scheme: str, host: str) -> bool:
        """Whether this `Origin` is ours: in the list, or that of the (allowed) Host that this call itself names."""
        origin = parse(header)
        if origin is None:
            return False
        return origin in self._origins or origin == parse(f"{_SCHEMES.get(scheme, scheme)}://{host}")


@lru_cache(maxsize=64)
def parse(text: str) -> Origin | None:
    """`http://Host:80` as (scheme, host, port); None for what is no such thing."""
    try:
        parts = urlsplit(text)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    if not parts.hostname or parts.username is not None or "@" in parts.netloc:
        return None
    return Origin(parts.scheme, parts.hostname.rstrip("."), port)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
