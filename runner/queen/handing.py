"""Hands a claimed task to the ant: its lease, and its order, rendered now."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from formicary.runner.core.containing import risks
from formicary.runner.core.errors import ERR_ARTIFACT, DefinitionError, SetupError
from formicary.runner.core.execution import AntLost, Claimed, Execution, Finished, OfferReturned, Result
from formicary.runner.core.records import DEFAULT_ORGANIZATION, Lease
from formicary.runner.queen.board import Claim, Live, Worker
from formicary.runner.queen.choosing import NotThere, chosen
from formicary.runner.queen.engine import Engine, definition_result
from formicary.runner.queen.orders import make_order

log = logging.getLogger("formicary.queen")


@dataclass(frozen=True, slots=True)
class Handing:
    engine: Engine
    lease_seconds: float
    url: str
    watch_lease: Callable[[Lease], None]

    def lease(self, live: Live, event: Claimed, task: str, now: float) -> Lease:
        return Lease.model_construct(
            task_execution_id=event.task_execution_id,
            execution_id=live.execution_id,
            request_id=live.request.id,
            task_type=task,
            ant_id=event.ant_id,
            fence=event.fence,
            deadline=now + self.lease_seconds,
        )

    def _name(self, repository_id: int) -> str:
        """As the operator writes it; with the organization's where that is not the default one."""
        repository = self.engine.store.read().repository(repository_id)
        if repository is None:
            return ""
        whose = repository.organization_id
        return repository.name if whose == DEFAULT_ORGANIZATION else f"{whose}/{repository.name}"

    def over(self, live: Live, execution: Execution, attempt_id: str, worker: Worker, claim: Claim) -> None:
        """The claim is on disk: give the ant its order."""
        found = execution.attempt(attempt_id)
        assert found is not None, "just claimed"
        run, attempt = found
        claimed = Claimed(attempt.id, attempt.fence, worker.ant.ant_id)
        self.watch_lease(self.lease(live, claimed, run.name, self.engine.clock()))
        try:
            order = make_order(
                live,
                execution,
                run,
                attempt,
                now=self.engine.clock(),
                lease_seconds=self.lease_seconds,
                url=self.url,
                secrets=self.engine.secrets,
            )
            if order.task.artifact_ids:
                more = chosen(self.engine.store.read(), live.request, order.task.artifact_ids)
                order = order.model_copy(update={"inputs": (*order.inputs, *more)})
            if risks(order.task) and order.repository_id is not None:
                order = order.model_copy(update={"repository": self._name(order.repository_id)})
        except (DefinitionError, NotThere) as error:
            plain = Result(error_code=ERR_ARTIFACT, error_message=str(error))
            result = definition_result(error) if isinstance(error, DefinitionError) else plain
            self.engine.post(execution.id, Finished(attempt.id, attempt.fence, result))
            worker.claims.appendleft(claim)
            return
        except Exception as error:
            log.exception("task execution %s could not be made an order", attempt.id)
            lost = str(error) if isinstance(error, SetupError) else f"the queen failed: {type(error).__name__}: {error}"
            self.engine.post(execution.id, AntLost(attempt.id, attempt.fence, lost))
            worker.claims.appendleft(claim)
            return
        if claim.gone:
            self.engine.post(execution.id, OfferReturned(attempt.id, attempt.fence))
            return
        worker.running[attempt.id] = execution.id
        claim.order = order
        claim.ready.set()
