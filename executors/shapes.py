"""The five shapes of structured concurrency that this project needs; nobody builds them a second time.

Each returns only when everything it started has ended. What one of its parts raises comes out as itself, not wrapped in
a group, unless several parts failed at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")


async def with_deadline(seconds: float, function: Callable[[], Awaitable[T]], what: str) -> T:
    """Run with a deadline. Raises TimeoutError that names `what` took too long."""
    with anyio.move_on_after(seconds):
        return await function()
    raise TimeoutError(f"{what} took longer than {seconds:g} s")


async def race(*functions: Callable[[], Awaitable[T]]) -> T:
    """Run all, return what the first to end returns or raises; the others are cancelled."""
    results: list[T] = []

    async def run(function: Callable[[], Awaitable[T]]) -> None:
        results.append(await function())
        group.cancel_scope.cancel()

    async with _alone() as group:
        for number, function in enumerate(functions):
            group.start_soon(run, function, name=f"race {number}")
    return results[0]


async def poll_until(
    check: Callable[[], Awaitable[T | None]], every: float, *, factor: float = 1.0, at_most: float = 60.0
) -> T:
    """Call `check` until it returns something else than None; between calls wait `every`, growing by `factor`."""
    while (found := await check()) is None:
        await anyio.sleep(every)
        every = min(every * factor, at_most)
    return found


async def watch_while(watch: Callable[[], Coroutine[Any, Any, None]], run: Callable[[], Awaitable[T]]) -> T:
    """Run `run` with `watch` beside it. If `watch` fails, `run` is cancelled; when `run` has ended, so has `watch`."""
    async with _alone() as group:
        group.start_soon(watch, name="watch")
        result = await run()
        group.cancel_scope.cancel()
    return result


async def fork_join(functions: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Run all at the same time, and return their results in the order of `functions`. The first failure cancels."""
    results: dict[int, T] = {}

    async def run(number: int, function: Callable[[], Awaitable[T]]) -> None:
        results[number] = await function()

    async with _alone() as group:
        for number, function in enumerate(functions):
            group.start_soon(run, number, function, name=f"fork {number}")
    return [results[number] for number in range(len(functions))]


@asynccontextmanager
async def _alone() -> AsyncIterator[TaskGroup]:
    """A task group that raises the error itself if it is the only one."""
    try:
        async with anyio.create_task_group() as group:
            yield group
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) == 1:
            raise errors.exceptions[0] from None
        raise
