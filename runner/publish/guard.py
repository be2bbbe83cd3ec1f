"""Who may be called where a definition or an outsider says: nobody inside, unless the operator allows it (T14).

A name is resolved, every address that it has is judged, and the connection goes to one of these very addresses: what
the name says a moment later counts for nothing (DNS rebinding). That is done for each request, so after each redirect
too. How an address is written (decimal, hexadecimal, octal, mapped into IPv6) does not matter, because what is judged
is what the system's resolver makes of it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import anyio
import httpx

from formicary.runner.core.errors import SetupError, UserError, WorldError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_REDIRECTS: Final = 5
MOST_ADDRESSES: Final = 8
RESOLVE_SECONDS: Final = 10.0

#: IANA's special-purpose registries (RFC 6890), and what is not for one host. Whatever of IPv6 is not in
#: `_GLOBAL_UNICAST` is refused too.
_INSIDE: Final[tuple[tuple[str, str], ...]] = (
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "private"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "special"),
    ("192.0.2.0/24", "special"),
    ("192.88.99.0/24", "special"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "special"),
    ("198.51.100.0/24", "special"),
    ("203.0.113.0/24", "special"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "special"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
    ("2001::/23", "special"),
    ("2001:db8::/32", "special"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "special"),
)
_NETWORKS: Final[tuple[tuple[Network, str], ...]] = tuple((ip_network(text), kind) for text, kind in _INSIDE)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
#: Where clouds tell a machine its secrets. A network opens none of these; only the address itself does.
_METADATA: Final[frozenset[Address]] = frozenset(
    ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192")
)


class AddressRefused(UserError):
    """This address may not be called."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which addresses may be called: those of the world, and the operator's `allowed` networks."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Reach:
        """Raises SetupError for what is no network in CIDR notation."""
        try:
            return cls(tuple(ip_network(text.strip()) for text in networks))
        except ValueError as error:
            raise SetupError(f"`allow_networks`: {error}; write networks such as 10.1.0.0/16 or fd12::/48") from error

    def objection(self, address: str) -> str:
        """Why this address may not be called; empty if it may. Raises ValueError for what is none."""
        found = _meant(ip_address(address))
        if found in _METADATA:
            alone = any(found in network for network in self.allowed if network.num_addresses == 1)
            return "" if alone else "metadata"
        if any(found in network for network in self.allowed if network.version == found.version):
            return ""
        if isinstance(found, IPv6Address) and found.scope_id is not None:
            return "link-local"
        kind = next((kind for network, kind in _NETWORKS if found in network), "")
        return kind or ("special" if isinstance(found, IPv6Address) and found not in _GLOBAL_UNICAST else "")


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries, where the system (or its NAT64) would call that one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the system finds them. Raises OSError."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


@dataclass(frozen=True, slots=True)
class Guard:
    """Finds the addresses of a URL that may be called."""

    reach: Reach = Reach()
    resolve: Resolve = resolve

    async def addresses(self, url: httpx.URL) -> Sequence[str]:
        """The addresses to call. Raises AddressRefused, WorldError where the name cannot be resolved now."""
        host = _host(url)
        try:
            with anyio.fail_after(RESOLVE_SECONDS):
                found = await self.resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, UnicodeError, TimeoutError) as error:
            raise WorldError(f"the host `{host}` cannot be found ({_short(error)})") from error
        if not found:
            raise WorldError(f"the host `{host}` has no address")
        for address in found:
            self._check(host, address)
        return found[:MOST_ADDRESSES]

    def _check(self, host: str, address: str) -> None:
        kind = self.reach.objection(address)
        if kind:
            named = f"`{host}`" if host == address else f"`{host}` ({address})"
            raise AddressRefused(
                f"{named} is not called: the address is {kind}, and the operator has not named its network in "
                "`allow_networks`"
            )


def _host(url: httpx.URL) -> str:
    if url.scheme not in ("http", "https"):
        raise AddressRefused(f"`{url.scheme}://` is not called; only http:// and https:// are")
    if url.userinfo:
        raise AddressRefused("a URL with a user or password is not called; put them into a header")
    host = url.raw_host.decode("ascii", "replace")
    if not host or "%" in host:
        raise AddressRefused(f"`{host}` is no host that can be called" if host else "the URL names no host")
    return host.strip("[]")


class GuardedTransport(httpx.AsyncBaseTransport):
    """httpx's own transport behind a guard. Connections are not kept, for the next request is judged anew.

    TLS and the header Host see the name, the connection sees the address. No proxy is asked. The certificates of
    SSL_CERT_FILE count. Raises AddressRefused and WorldError as `Guard.addresses` does, httpx's errors as usual.
    """

    def __init__(self, guard: Guard, *, verify: ssl.SSLContext | bool = True) -> None:
        self._guard = guard
        limits = httpx.Limits(max_keepalive_connections=0)
        self._inner = httpx.AsyncHTTPTransport(verify=verify, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.raw_host.decode("ascii", "replace")
        error: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in await self._guard.addresses(request.url):
            extensions = {**request.extensions, "sni_hostname": name.strip("[]")}
            there = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return await self._inner.handle_async_request(there)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:  # nothing was sent yet
                error = failed
        assert error is not None, "there is an address, or `addresses` raises"
        raise error

    async def aclose(self) -> None:
        await self._inner.aclose()


def guarded_client(
    guard: Guard, *, timeout: float | httpx.Timeout, verify: ssl.SSLContext | bool = True, follow: bool = False
) -> httpx.AsyncClient:
    """A client for addresses that are not the operator's. `follow`: redirects too, each judged like the first URL."""
    return httpx.AsyncClient(
        transport=GuardedTransport(guard, verify=verify),
        timeout=timeout,
        follow_redirects=follow,
        max_redirects=MOST_REDIRECTS,
        trust_env=False,
    )


def _short(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
