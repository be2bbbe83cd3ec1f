"""One-time login codes: in memory, each works once and for ten minutes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

LIFETIME: Final = 600.0
_MOST: Final = 100


class LoginCodes:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def new(self) -> str:
        if len(self._until) >= _MOST:
            del self._until[next(iter(self._until))]
        code = secrets.token_urlsafe(32)
        self._until[code] = self._clock() + LIFETIME
        return code

    def take(self, code: str) -> bool:
        """Whether this code is good; it is not any more afterwards. The codes are long and random, so a dictionary's
        look-up tells nobody anything."""
        until = self._until.pop(code, None)
        return until is not None and self._clock() < until
