"""A task that cannot be run as it is asked for, however often it is tried: FAILED with a code, not lost (D12)."""

from __future__ import annotations

from formicary.runner.core.errors import UserError


class TaskRefused(UserError):
    """The task cannot be run as it was asked for."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
