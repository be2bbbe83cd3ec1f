"""What is said to the queen is said until she has heard it, and what is kept is tried until the store takes it: while
they are away the ant tries again, ever more rarely."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from formicary.runner.artifacts import ObjectDamaged
from formicary.runner.core.errors import StaleFence, WorldError

T = TypeVar("T")
FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 5.0
MOST_FAULTS: Final = 5
"""How often a call may fail for a reason that is not the world's, before it is given up."""

_log = logging.getLogger(__name__)


async def persistently(call: Callable[[], Awaitable[T]], what: str) -> T:
    """The call's answer. Raises StaleFence at once, and other faults that come again and again."""
    delay, faults = FIRST_DELAY, 0
    while True:
        try:
            return await call()
        except (WorldError, OSError) as error:
            _log.info("%s: %s; trying again", what, error)
        except StaleFence:
            raise
        except Exception:
            faults += 1
            _log.exception("%s failed (%d of %d)", what, faults, MOST_FAULTS)
            if faults >= MOST_FAULTS:
                raise
        await anyio.sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY)


async def patiently(
    call: Callable[[], Awaitable[T]],
    patience: float,
    say: Callable[[str], None],
    hurried: Callable[[], bool] = lambda: False,
) -> T:
    """The call's answer, tried again while the artifact store is away, for `patience` seconds, or until somebody is
    `hurried`. Raises WorldError."""
    delay, deadline = FIRST_DELAY, anyio.current_time() + patience
    while True:
        try:
            return await call()
        except ObjectDamaged:
            raise  # it stays so
        except WorldError as error:
            if anyio.current_time() + delay > deadline or hurried():
                raise
            if delay == FIRST_DELAY:
                say(f"{error} Trying again for up to {patience:g} seconds.")
        await anyio.sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY)
