"""EXPIRE_ARTIFACTS: the queen lets go of artifacts herself, when a definition says so.

What is due goes, of the whole organization: it would go within the hour anyway. With `artifacts.expires_after` on the
task also what is older than that and of runs that have ended, but of the job's own repository alone. Their bytes follow
when the store is tidied (`retention`), unless another artifact has them too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Final

from formicary.runner.core.errors import WorldError
from formicary.runner.core.execution import AntLost, Claimed, Executing, Execution, Finished, Offer, Result
from formicary.runner.core.graph import task_of
from formicary.runner.core.logframes import frame
from formicary.runner.core.records import Artifact
from formicary.runner.core.states import State
from formicary.runner.queen.board import Live
from formicary.runner.queen.engine import Engine
from formicary.runner.store import Tx

log = logging.getLogger("formicary.queen")

BATCH: Final = 500
"""Artifacts that go in one change."""
MOST: Final = 100_000
"""Of one attempt; the next run takes the rest."""


@dataclass(slots=True)
class Expiring:
    engine: Engine

    def offer(self, live: Live, order: Offer) -> None:
        """Carry the task out soon. Twice is harmless."""
        self.engine.timers.at(self.engine.clock(), partial(self._attempt, live, order), live.execution_id)

    async def _attempt(self, live: Live, order: Offer) -> None:
        """Raises WorldError: it is tried again."""
        try:
            await self._carry_out(live, order)
        except WorldError:
            raise
        except Exception as error:
            log.exception("task execution %s could not be carried out", order.task_execution_id)
            lost = f"the queen failed: {type(error).__name__}: {error}"
            await self.engine.feed(live.execution_id, AntLost(order.task_execution_id, order.fence, lost))

    async def _carry_out(self, live: Live, order: Offer) -> None:
        count = size = 0
        while count < MOST:
            gone = await self.engine.store.write(partial(self._expire, live=live, order=order))
            if gone is None:
                return  # it was cancelled, or done already
            count, size = count + len(gone), size + sum(one.size for one in gone)
            if not gone:
                break
        self._say(order, f"{count} artifacts have expired, {size} bytes; what no other artifact has is deleted soon.\n")
        outputs = {"TotalExpired": count, "TotalSize": size}
        began = Claimed(order.task_execution_id, order.fence, ""), Executing(order.task_execution_id, order.fence)
        done = Finished(order.task_execution_id, order.fence, Result(exit_code=0, outputs=outputs))
        await self.engine.feed(live.execution_id, *began, done)

    def _expire(self, tx: Tx, live: Live, order: Offer) -> list[Artifact] | None:
        """Within a change: let go of the next ones; None where the task is not ready any more."""
        execution = tx.execution(live.execution_id)
        if execution is None or not _is_ready(execution, order):
            return None
        request = live.request
        found = tx.artifacts_due(request.organization_id, tx.now, BATCH)
        kept_for = task_of(live.plan.definition, order.task).artifacts.expires_after
        if not found and kept_for is not None and request.repository_id is not None and request.trusted:
            found = tx.artifacts_older(request.repository_id, tx.now - kept_for, BATCH)
        tx.delete_artifacts([one.id for one in found])
        return found

    def _say(self, order: Offer, text: str) -> None:
        logs = self.engine.logs
        data = frame(self.engine.clock(), "sys", text.encode())
        logs.append(order.task_execution_id, logs.size(order.task_execution_id), data)


def _is_ready(execution: Execution, order: Offer) -> bool:
    found = execution.attempt(order.task_execution_id)
    return found is not None and found[1].state is State.READY and found[1].fence == order.fence
