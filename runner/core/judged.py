"""What an error code of the organization's makes of an attempt that failed. Plain data; `deciding` applies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Action = Literal["", "RETRY_TASK", "RETRY_JOB", "HARD_FAILURE"]
"""What follows: nothing but the code; up to `retry` more attempts of the task, or the job; no more of either."""
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The code that the failure has, and what follows. `message` is for people."""

    error_code: str
    action: Action = ""
    retry: int = 0
    message: str = ""

    @property
    def hard(self) -> bool:
        return self.action == "HARD_FAILURE"

    def retries(self, action: Action) -> int:
        """How many more attempts it wants of the task (RETRY_TASK) or the job (RETRY_JOB)."""
        return self.retry if self.action == action else 0
