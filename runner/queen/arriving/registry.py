"""What the operator registers and switches: shared resources, error codes, and whether and how often definitions run.

On disk first, then in the queen's mind; who waits is looked at again at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import anyio.to_thread

from formicary.runner.core.errorcodes import ErrorCode
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Definition, JobResource
from formicary.runner.queen.board import Board
from formicary.runner.queen.keeping.judging import compiled
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.store import Store, Tx


@dataclass(slots=True)
class Registry:
    """`registered` is told of definitions that have changed; `ring` wakes the dispatcher."""

    store: Store
    board: Board
    registered: Callable[[Iterable[Definition]], None]
    ring: Callable[[], None]

    def recover(self) -> None:
        """Make it from the store."""
        reader = self.store.read()
        self.board.places.register(reader.resources())
        for definition in reader.definitions():
            self.board.places.switch(definition)

    # Shared resources

    async def put_resource(self, resource: JobResource) -> JobResource:
        """Add it (id 0) or change it. What is held of it stays held, though it be more than there is from now on.

        Raises NotFound, Conflict where there is another one of its type and name.
        """
        stored = await self.store.write(lambda tx: tx.put_resource(resource))
        self._look()
        return stored

    async def change_resource(self, resource_id: int, change: Callable[[JobResource], JobResource]) -> JobResource:
        """The resource as `change` makes it of what it is. Raises NotFound."""

        def write(tx: Tx) -> JobResource:
            known = tx.resource(resource_id)
            if known is None:
                raise NotFound(f"There is no resource {resource_id}.")
            return tx.put_resource(change(known))

        stored = await self.store.write(write)
        self._look()
        return stored

    async def delete_resource(self, resource_id: int) -> bool:
        """Who holds it runs on; who waits for it waits for another one of the kind."""
        gone = await self.store.write(lambda tx: tx.delete_resource(resource_id))
        self._look()
        return gone

    def held(self) -> dict[int, int]:
        """Resource → units of it that are held now."""
        return self.board.places.units()

    def _look(self) -> None:
        self.board.places.register(self.store.read().resources())
        self.ring()

    # Error codes

    async def put_error_code(self, code: ErrorCode, also: Also = nothing_else) -> ErrorCode:
        """Add it (id 0) or change it; for failures from now on. Raises NotFound, UserError for its expression."""
        if code.regex:
            await anyio.to_thread.run_sync(compiled, code.regex)

        def write(tx: Tx) -> ErrorCode:
            also(tx)
            return tx.put_error_code(code)

        return await self.store.write(write)

    async def delete_error_code(self, code_id: int, also: Also = nothing_else) -> bool:
        def write(tx: Tx) -> bool:
            also(tx)
            return tx.delete_error_code(code_id)

        return await self.store.write(write)

    # Definitions

    async def disable(self, definition_id: int, disabled: bool) -> Definition:
        """While it is disabled nothing of it starts. Scheduled runs of that time are not made up for.

        Raises NotFound.
        """
        return await self._change(definition_id, {"disabled": disabled}, schedule=not disabled)

    async def limit(self, definition_id: int, max_concurrency: int) -> Definition:
        """How many may run at a time, until its text says something new. Raises NotFound."""
        return await self._change(definition_id, {"max_concurrency": max_concurrency})

    async def _change(self, definition_id: int, update: dict[str, object], *, schedule: bool = False) -> Definition:
        def write(tx: Tx) -> Definition:
            known = tx.definition(definition_id)
            if known is None:
                raise NotFound(f"There is no job definition {definition_id}.")
            if schedule and known.disabled:
                tx.set_cron_last(definition_id, tx.now)
            return tx.put_definition(known.model_copy(update={**update, "updated_at": tx.now}))

        definition = await self.store.write(write)
        self.registered([definition])
        return definition
