"""Who wants to know what has changed: a fan-out of small facts, after they are on disk. Facts may be lost by a slow
subscriber (it is told so and looks again): pages and waits re-read the store, they do not trust the fact alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

BUFFER = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """`kind`: request, task, log, repository, definition, delivery, ant, or `missed` (the subscriber was too slow)."""

    kind: str
    organization_id: str = "default"
    repository_id: int | None = None
    request_id: int | None = None
    task_execution_id: str = ""
    state: str = ""


MISSED = Change("missed")


class Subscription:
    """An async iterator of changes; end it by leaving `Changes.subscribe`."""

    def __init__(self, stream: MemoryObjectReceiveStream[Change]) -> None:
        self._stream = stream
        self.missed = False

    async def next(self) -> Change:
        """The next change; `missed` first, where some were lost."""
        if self.missed:
            self.missed = False
            return MISSED
        return await self._stream.receive()

    async def __aiter__(self) -> AsyncIterator[Change]:
        while True:
            yield await self.next()


class Changes:
    def __init__(self) -> None:
        self._subscribers: dict[MemoryObjectSendStream[Change], Subscription] = {}

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        send, receive = anyio.create_memory_object_stream[Change](BUFFER)
        subscription = Subscription(receive)
        self._subscribers[send] = subscription
        try:
            yield subscription
        finally:
            del self._subscribers[send]
            send.close()
            receive.close()

    def publish(self, change: Change) -> None:
        for send, subscription in self._subscribers.items():
            try:
                send.send_nowait(change)
            except anyio.WouldBlock:
                subscription.missed = True
