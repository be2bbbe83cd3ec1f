"""The trigger `webhook` as data: who may call, and the templates that make a request of a call. Shapes only."""

from __future__ import annotations

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
