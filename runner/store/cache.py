"""Decoded plans and executions, so that the next event of an execution need not decode them again.

Only what is committed is shared. What a transaction has decoded or written stays in its `Overlay` until the commit, and
goes with it when it is rolled back: ids of a rolled back transaction are given again.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final, Generic, TypeVar

from formicary.runner.core.execution import Execution, Plan
from formicary.runner.store.seal import Key

V = TypeVar("V")

PLANS_KEPT: Final = 512
EXECUTIONS_KEPT: Final = 1024


class Recent(Generic[V]):
    """The newest values by id, at most `size` of them; safe from any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[int, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: int) -> V | None:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: int, value: V) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)

    def drop(self, key: int) -> None:
        with self._lock:
            self._values.pop(key, None)


class Memory:
    """What the store has decoded. `executions` is the writer's alone: readers read what is on disk. `key`: what secret
    parameters are sealed with, None where they are not."""

    def __init__(self, key: Key | None = None) -> None:
        self.key = key
        self.plans: Recent[Plan] = Recent(PLANS_KEPT)
        self.executions: Recent[Execution] = Recent(EXECUTIONS_KEPT)


class Overlay:
    """What a batch (or one change of it) has learnt, on top of the memory."""

    def __init__(self) -> None:
        self.plans: dict[int, Plan] = {}
        self.executions: dict[int, Execution] = {}
        self.gone: set[int] = set()
        self.newest_request = 0
        self.owed = False
        """Whether something is owed to the outside."""

    def absorb(self, newer: Overlay) -> None:
        """A change of this batch is kept."""
        self.plans.update(newer.plans)
        self.executions.update(newer.executions)
        self.gone |= newer.gone
        self.newest_request = max(self.newest_request, newer.newest_request)
        self.owed = self.owed or newer.owed

    def commit(self, memory: Memory) -> None:
        """The batch is on disk. Executions that have ended are not asked for again soon."""
        for plan_id, plan in self.plans.items():
            memory.plans.put(plan_id, plan)
        for execution_id, execution in self.executions.items():
            memory.executions.put(execution_id, execution)
        for execution_id in self.gone:
            memory.plans.drop(execution_id)
            memory.executions.drop(execution_id)
