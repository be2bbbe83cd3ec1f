"""How often jobs may be asked for: so many a minute by one token, and by all of an organization together; and how often
a webhook trigger may be called, as its definition says."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from starlette.exceptions import HTTPException

from formicary.runner.core.webhooks import RateLimit
from formicary.webhook.caller import Caller

MINUTE: Final = 60.0
DAY: Final = 86_400.0
MOST_KNOWN: Final = 10_000


@dataclass(slots=True)
class Submits:
    """`of_token`, `of_organization`: jobs a minute, None = as many as they like. Who has asked for nothing for a while
    may ask for a minute's worth at once."""

    of_token: int | None = None
    of_organization: int | None = None
    clock: Callable[[], float] = time.monotonic
    _left: dict[tuple[str, object], tuple[float, float]] = field(default_factory=dict)
    """Who → (how many he may still ask for, when that was so)"""

    def take(self, caller: Caller) -> None:
        """He asks for one more. Raises 429 with Retry-After; then it counts for nobody."""
        asked = [
            (who, limit)
            for who, limit in (
                (("token", caller.token_id), self.of_token),
                (("organization", caller.organization_id), self.of_organization),
            )
            if limit is not None
        ]
        now = self.clock()
        left = {who: self._now(who, limit, now) for who, limit in asked}
        for who, limit in asked:
            if left[who] < 1.0:
                self._refuse(who[0], limit, (1.0 - left[who]) * MINUTE / limit)
        for who, _ in asked:
            self._left[who] = (left[who] - 1.0, now)
        if len(self._left) > MOST_KNOWN:
            self._forget(now)

    def _now(self, who: tuple[str, object], limit: int, now: float) -> float:
        left, at = self._left.get(who, (float(limit), now))
        return min(left + (now - at) * limit / MINUTE, float(limit))

    @staticmethod
    def _refuse(who: str, limit: int, wait: float) -> None:
        whose = {"token": "this token", "organization": "this organization"}[who]
        seconds = max(math.ceil(wait), 1)
        raise HTTPException(
            429,
            f"With {whose} {limit} jobs a minute may be asked for; ask again in {seconds} s.",
            {"Retry-After": str(seconds)},
        )

    def _forget(self, now: float) -> None:
        """Who has asked for nothing for a minute may ask for all again, so nothing need be known of him."""
        self._left = {who: known for who, known in self._left.items() if now - known[1] < MINUTE}


@dataclass(slots=True)
class TriggerRates:
    """When each trigger was called: no window holds more calls than its `rate_limit` says."""

    clock: Callable[[], float] = time.monotonic
    _calls: dict[object, deque[float]] = field(default_factory=dict)

    def knows(self, trigger: object) -> bool:
        """Whether this process has heard of it."""
        return trigger in self._calls

    def remember(self, trigger: object, ages: Iterable[float]) -> None:
        """It was called so many seconds ago, the longest first: before this process began."""
        now = self.clock()
        self._calls[trigger] = deque(now - age for age in ages)

    def take(self, trigger: object, limit: RateLimit) -> None:
        """One more call. Raises 429 with Retry-After; then it does not count."""
        now = self.clock()
        calls = self._calls.setdefault(trigger, deque())
        while calls and calls[0] <= now - limit.window:
            calls.popleft()
        if len(calls) >= limit.max:
            seconds = max(math.ceil(calls[-limit.max] + limit.window - now), 1)
            told = f"This trigger takes {limit.max} calls in {limit.window:g} s; call again in {seconds} s."
            raise HTTPException(429, told, {"Retry-After": str(seconds)})
        calls.append(now)
        if len(self._calls) > MOST_KNOWN:
            self._calls = {known: some for known, some in self._calls.items() if some and some[-1] > now - DAY}
