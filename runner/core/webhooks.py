"""The trigger `webhook` as data: who may call, the templates that make a request of a call, what of a call is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from formicary.runner.core.shape import Shape

Auth = Literal["", "hmac_sha256", "token"]
"""How a caller proves that he knows the secret: by a signature over the raw bytes, or by sending it. Empty: not at all,
so every call is refused; only the go dialect can say that."""
SIGNATURE: Final = "X-Hub-Signature-256"
"""Where a signature is looked for by itself."""
AUTHORIZATION: Final = "Authorization"
"""Where a token is looked for by itself, behind `Bearer`."""
MAX_HEADERS: Final = 100
MAX_HEADER: Final = 1000
#: Words in the names of headers that prove who calls; what they hold is nobody's business.
_PROOF: Final = re.compile(r"auth|cookie|token|secret|signature|passw|session|credential|api-?key", re.I)


class RateLimit(Shape):
    """So many calls may come in `window` seconds; who has not called for a while may make them all at once."""

    max: int
    window: float = 60.0


class WebhookTrigger(Shape):
    """`secret_config` names the secret; `header` is where signature or token stand (empty: the usual one). `params`,
    `filter` and `dedup_key` are templates as they were written, rendered when a call comes."""

    name: str
    auth: Auth = ""
    secret_config: str = ""
    header: str = ""
    params: Mapping[str, str] = Field(default_factory=dict)
    filter: str = ""
    dedup_key: str = ""
    rate_limit: RateLimit | None = None

    @property
    def where(self) -> str:
        """The header that proves who calls."""
        return self.header or (SIGNATURE if self.auth == "hmac_sha256" else AUTHORIZATION)


def safe_headers(headers: Mapping[str, str], trigger: WebhookTrigger) -> dict[str, str]:
    """Those that templates may see and the ledger keeps, in small letters: none that proves who calls."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        if name != trigger.where.lower() and not _PROOF.search(name) and len(found) < MAX_HEADERS:
            found.setdefault(name, value[:MAX_HEADER])
    return found
