"""What one change may do, on the writer's connection and inside its savepoint: requests, executions and leases.

The rest of a transaction is in catalogue.py. The store guards what no caller may break: one live execution a request,
rising fences, secrets that end with their request.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from formicary.runner.core.errors import Conflict, LostError, NotFound, StaleFence
from formicary.runner.core.execution import Execution, Plan
from formicary.runner.core.records import JobRequest, Lease, NewRequest
from formicary.runner.core.states import JOB_TRANSITIONS, TERMINAL, State, move
from formicary.runner.store import Expired, rows
from formicary.runner.store.cache import Memory, Overlay
from formicary.runner.store.catalogue import CatalogueTx
from formicary.runner.store.parts import attempt_ids, body_of, parts_needed, parts_of
from formicary.runner.store.sql import SQL


class SqliteTx(CatalogueTx):
    """The `Tx` of one change. It works only while its change runs."""

    def __init__(self, connection: sqlite3.Connection, memory: Memory, batch: Overlay, now: float) -> None:
        super().__init__(connection, memory)
        self.now = now
        self._batch = batch
        self.learnt = Overlay()

    def end(self) -> None:
        """The change is over; whoever kept the Tx is told so."""
        self._execute = _over

    # What this change and its batch know already

    def execution(self, execution_id: int) -> Execution | None:
        known = self.learnt.executions.get(execution_id) or self._batch.executions.get(execution_id)
        if known is None and not self._is_gone(execution_id):
            known = self._memory.executions.get(execution_id) or super().execution(execution_id)
            if known is not None:
                self.learnt.executions[execution_id] = known
        return known

    def plan(self, execution_id: int) -> Plan | None:
        known = self.learnt.plans.get(execution_id) or self._batch.plans.get(execution_id)
        if known is None and not self._is_gone(execution_id):
            known = self._memory.plans.get(execution_id) or self._stored_plan(execution_id)
            if known is not None:
                self.learnt.plans[execution_id] = known
        return known

    def _is_gone(self, execution_id: int) -> bool:
        return execution_id in self.learnt.gone or execution_id in self._batch.gone

    # Requests

    def create_request(self, new: NewRequest) -> tuple[JobRequest, bool]:
        ended_at = self.now if new.state in TERMINAL else None
        values = rows.NEW_REQUEST.encode(new)
        values["created_at"], values["ended_at"] = self.now, ended_at
        values["has_secrets"] = bool(new.secret_params)
        row = self._row("create_request", values)
        if row is None:
            return self._known_request(new), False
        if new.secret_params and ended_at is None:
            params = self._sealed_params(row[0], rows.to_json(new.secret_params))
            self._execute(SQL["add_secrets"], {"request_id": row[0], "params": params})
        self.learnt.newest_request = row[0]
        return _created(new, row[0], self.now, ended_at), True

    def _sealed_params(self, request_id: int, text: str) -> str:
        key = self._memory.key
        return key(self.secret_keys()).seal(text, "params", request_id) if key else text

    def _known_request(self, new: NewRequest) -> JobRequest:
        """The request that stands in the way of a new one."""
        keys = {"organization_id": new.organization_id, "cause_key": new.cause_key, "user_key": new.user_key}
        for name in ("request_of_cause", "request_of_user_key"):
            found = self._one(rows.REQUEST, name, keys)
            if found is not None:
                return found
        raise LostError(f"A request of {new.job_type} was refused, but there is none like it.")

    def end_request(
        self, request_id: int, state: State, *, reason: str = "", error_code: str = "", error_message: str = ""
    ) -> None:
        request = self._request_to_change(request_id)
        if state not in TERMINAL:
            raise LostError(f"A request does not end as {state}.")
        if request.ended_at is not None:
            raise Conflict(f"Request {request_id} has ended already: it is {request.state}.")
        self._to_begin(request_id)
        values = {"reason": reason, "error_code": error_code, "error_message": error_message}
        move(JOB_TRANSITIONS, request.state, state)
        self._execute(SQL["end_request"], {**values, "id": request_id, "state": str(state), "ended_at": self.now})
        self._execute(SQL["drop_secrets"], {"request_id": request_id})

    def reopen_request(self, request_id: int, *, keep: bool, by: str) -> JobRequest:
        request = self._request_to_change(request_id)
        if request.ended_at is None:
            raise Conflict(f"Request {request_id} has not ended: it is {request.state}.")
        self._alive_again(
            request.user_key, "reopen_request", {"id": request_id, "keep": keep, "reason": f"restarted by {by}"}
        )
        self._execute(SQL["keep_no_longer"], {"request_id": request_id})
        return self._request_to_change(request_id)

    def _alive_again(self, user_key: str | None, name: str, values: Mapping[str, Any]) -> None:
        """Bring a request back to life, unless its user_key is another live one's by now."""
        try:
            self._execute(SQL[name], values)
        except sqlite3.IntegrityError as error:
            raise Conflict(
                f"Another request with the user_key {user_key} is alive; wait until it has ended."
            ) from error

    def _request_to_change(self, request_id: int) -> JobRequest:
        request = self.request(request_id)
        if request is None:
            raise NotFound(f"There is no request {request_id}.")
        return request

    def _to_begin(self, request_id: int) -> tuple[str, str | None]:
        """A request's organization and user_key. Raises NotFound, or Conflict where it has a live execution."""
        row = self._row("request_to_begin", {"id": request_id})
        if row is None:
            raise NotFound(f"There is no request {request_id}.")
        organization_id, user_key, live = row
        if live is not None:
            raise Conflict(f"Request {request_id} has a live execution ({live}); cancel it first.")
        return organization_id, user_key

    # Executions

    def create_execution(self, request_id: int, make: Callable[[int], Execution], plan: Plan) -> Execution:
        organization_id, user_key = self._to_begin(request_id)
        (execution_id,) = self._row("next_execution", {})
        execution = make(execution_id)
        if (execution.id, execution.request_id) != (execution_id, request_id):
            raise LostError(f"Execution {execution_id} of request {request_id} was made with other numbers.")
        values = {"id": execution_id, "request_id": request_id, "organization_id": organization_id}
        ended_at = self._end_of(execution) if execution.state in TERMINAL else None
        self._execute(SQL["add_execution"], {**values, "ended_at": ended_at, "body": body_of(execution)})
        self._put_parts(execution, None)
        self._execute(
            SQL["add_plan"], {"execution_id": execution_id, "body": plan.model_dump_json(exclude_defaults=True)}
        )
        self._alive_again(user_key, "request_takes_execution", _request_values(execution))
        self.learnt.plans[execution_id] = plan
        self.learnt.executions[execution_id] = execution
        if ended_at is not None:
            self._close(execution)
        return execution

    def put_list(self, execution_id: int, plan: Plan, task_type: str) -> None:
        matrix = plan.definition.task(task_type).matrix
        assert matrix is not None, "the plan has the list"
        body = matrix.model_dump_json(exclude_defaults=True)
        self._execute(SQL["put_list"], {"execution_id": execution_id, "task_type": task_type, "body": body})
        self.learnt.plans[execution_id] = plan

    def save_execution(self, execution: Execution) -> None:
        known = self.learnt.executions.get(execution.id) or self._batch.executions.get(execution.id)
        known = known or self._memory.executions.get(execution.id)
        self._save(execution, known)
        if known is None or _seen_by_request(known) != _seen_by_request(execution):
            self._tell_request(execution)

    def _save(self, execution: Execution, known: Execution | None) -> None:
        values: dict[str, Any] = {"id": execution.id, "request_id": execution.request_id, "body": body_of(execution)}
        name = "save_live_execution"
        if execution.state in TERMINAL:
            name, values["ended_at"] = "save_execution", self._end_of(execution)
        if self._execute(SQL[name], values).rowcount != 1:
            raise NotFound(f"There is no execution {execution.id} of request {execution.request_id}.")
        self._put_parts(execution, known)
        self.learnt.executions[execution.id] = execution
        if execution.state in TERMINAL:
            self._close(execution)

    def _put_parts(self, execution: Execution, known: Execution | None) -> None:
        for number, body in parts_of(execution, known):
            self._execute(SQL["put_part"], {"id": execution.id, "part": number, "body": body})
        if known is not None and len(known.tasks) > len(execution.tasks):
            self._execute(SQL["drop_parts"], {"id": execution.id, "part": parts_needed(execution)})

    def _close(self, execution: Execution) -> None:
        """What ends with an execution: its leases, its request, that request's secrets."""
        self._execute(SQL["drop_leases"], {"execution_id": execution.id})
        values = _request_values(execution) | {"ended_at": self._end_of(execution)}
        if self._execute(SQL["request_is_over"], values).rowcount:
            self._execute(SQL["drop_secrets"], {"request_id": execution.request_id})

    def _tell_request(self, execution: Execution) -> None:
        if execution.state not in TERMINAL:
            self._execute(SQL["request_goes_on"], _request_values(execution))

    def _end_of(self, execution: Execution) -> float:
        return self.now if execution.ended_at is None else execution.ended_at

    # Leases

    def set_lease(self, lease: Lease) -> None:
        if self._row("set_lease", rows.LEASE.encode(lease)) is None:
            raise StaleFence(f"{lease.task_execution_id} is leased with a newer fence than {lease.fence}.")

    def extend_leases(self, ant_id: str, fences: Mapping[str, int], deadline: float) -> set[str]:
        refused = set()
        for task_execution_id, fence in fences.items():
            keys = {"task_execution_id": task_execution_id, "fence": fence, "ant_id": ant_id, "deadline": deadline}
            if not self._execute(SQL["extend_lease"], keys).rowcount:
                refused.add(task_execution_id)
        return refused

    def drop_lease(self, task_execution_id: str) -> None:
        self._execute(SQL["drop_lease"], {"task_execution_id": task_execution_id})

    # Retention

    def expire(self, *, ended_before: float, deliveries_before: float, limit: int = 500) -> Expired:
        logs: list[str] = []
        bounds = {"before": ended_before, "now": self.now, "limit": limit}
        old = self._execute(SQL["requests_kept_until"], bounds).fetchall()
        old += self._execute(SQL["requests_to_expire"], bounds).fetchall()
        for (request_id,) in old:
            logs += self._delete_request(request_id)
        deliveries = 0
        self._execute(SQL["expire_dead_letters"], {"before": deliveries_before})
        if limit > len(old):
            room = {"before": deliveries_before, "limit": limit - len(old)}
            deliveries = self._execute(SQL["expire_deliveries"], room).rowcount
        return Expired(tuple(request_id for (request_id,) in old), tuple(logs), deliveries)

    def keep_until(self, request_id: int, until: float) -> None:
        self._execute(SQL["keep_until"], {"request_id": request_id, "until": until})

    def _delete_request(self, request_id: int) -> list[str]:
        """Delete it with all that hangs on it; returns its task executions."""
        found = self._execute(SQL["executions_of_request"], {"request_id": request_id}).fetchall()
        self.learnt.gone |= {execution_id for execution_id, _, _ in found}
        self._execute(SQL["delete_request"], {"id": request_id})
        return list(dict.fromkeys(attempt_ids(found)))


def _over(*_: Any) -> NoReturn:
    raise LostError("A transaction was used after its change had ended.")


def _seen_by_request(execution: Execution) -> tuple[Any, ...]:
    return execution.state, execution.started_at, execution.error_code, execution.error_message


def _request_values(execution: Execution) -> dict[str, Any]:
    return {
        "request_id": execution.request_id,
        "execution_id": execution.id,
        "state": str(execution.state),
        "started_at": execution.started_at,
        "error_code": execution.error_code,
        "error_message": execution.error_message,
    }


def _created(new: NewRequest, request_id: int, created_at: float, ended_at: float | None) -> JobRequest:
    """The request as it would be read back."""
    values = {**_BLANK, **new.__dict__, "id": request_id, "created_at": created_at, "ended_at": ended_at}
    values["has_secrets"], values["secret_params"] = bool(new.secret_params), {}
    return rows.build(JobRequest, values)


_BLANK = {name: info.default for name, info in JobRequest.model_fields.items() if name not in NewRequest.model_fields}
