"""What a forge's answer means: come again later, come again when it says so, or somebody has to do something. Pure.

https://docs.github.com/en/rest/using-the-rest-api (rate limits, troubleshooting)
https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError

SECONDARY_WAIT: Final = 60.0
"""Where it is said to wait and not how long (GitHub's own advice: at least a minute)."""
Remedy = Callable[[int, str], str]
"""(status, the forge's words) → what somebody has to do."""
_LIMITED: Final = re.compile(
    r"rate limit|abuse detection|please wait a few minutes|retry your request again later", re.I
)
_RESETS: Final = (("x-ratelimit-remaining", "x-ratelimit-reset"), ("ratelimit-remaining", "ratelimit-reset"))
"""What is left, and when it is renewed (s since the epoch), as GitHub and as GitLab call it."""


def explained(
    who: str, code: int, headers: Mapping[str, Any], message: str, remedy: Remedy, now: float
) -> ToldToWait | WorldError | Undeliverable:
    """The error that an answer is: ToldToWait, Undeliverable with what is to be done, or WorldError."""
    headers = {name.lower(): value for name, value in headers.items()}
    said = f"{who} said {code}" + (f": {message}" if message else "")
    wait = _wait(code, headers, message, now)
    if wait is not None:
        return ToldToWait(f"{said}; it takes no more for {wait:.0f} s", retry_after=wait)
    if code >= 500 or code in (408, 409, 425):
        return WorldError(said)
    return Undeliverable(f"{remedy(code, message)} ({said})")


def _wait(code: int, headers: Mapping[str, Any], message: str, now: float) -> float | None:
    """Seconds until the next request may come; None where that is not the matter."""
    if code not in (403, 429) and code < 500:
        return None
    after = _seconds(str(headers.get("retry-after", "")), now)
    if after is not None:
        return after
    if code >= 500:
        return None
    for remaining, reset in _RESETS:
        at = str(headers.get(reset, ""))
        if str(headers.get(remaining, "")) == "0" and at.isdecimal():
            return max(float(at) - now, 0.0) + 1.0
    return SECONDARY_WAIT if code == 429 or _LIMITED.search(message) else None


def _seconds(text: str, now: float) -> float | None:
    """Retry-After: seconds, or a date (RFC 9110, 10.2.3)."""
    text = text.strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0) if text else None
    except ValueError:
        return None
