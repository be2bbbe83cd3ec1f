"""Where a repository has gone, by its own host's word."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin

from formicary.runner.core.errors import RepositoryUnavailable, SetupError
from formicary.runner.git.address import Address, parse

TIMEOUT: Final = 20.0
SERVICE: Final = "/info/refs"


async def target(address: Address) -> Address:
    """The address that a redirect names, where it is on the same host. Raises RepositoryUnavailable that names another
    one, and where there is none after all."""
    import httpx  # on first use

    url = f"{address.url}{SERVICE}?service=git-upload-pack"
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
            answer = await client.get(url, headers={"Git-Protocol": "version=2"})
    except httpx.HTTPError as error:
        raise RepositoryUnavailable(f"{address.host} does not say where {address.url} has moved.") from error
    new = urljoin(url, answer.headers.get("location", "")).partition("?")[0]
    try:
        found = parse(new.removesuffix(SERVICE))
    except SetupError as error:
        raise RepositoryUnavailable(f"{address.url} has moved, and not to a repository; check `url`.") from error
    if not answer.is_redirect or not new.endswith(SERVICE) or found.identity == address.identity:
        raise RepositoryUnavailable(f"{address.url} has moved, and its server does not say where; check `url`.")
    if found.origin != address.origin:
        raise RepositoryUnavailable(
            f"{address.url} has moved to {found.url}, which is another server; put that into `url` if you trust it."
        )
    return found
