"""A task whose own script runs once an item: the queen makes the list, and the plan with its items, in one change.

The plan and the attempt that waited for it are on disk together, so that neither is there without the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import anyio.to_thread

from formicary.runner.core.deciding.spreading import with_items
from formicary.runner.core.definition import Value
from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.execution import Execution, Offer, Plan
from formicary.runner.core.forked import FanOut, Spread
from formicary.runner.core.graph import Graph
from formicary.runner.core.names import Names
from formicary.runner.core.states import State
from formicary.runner.queen.board import Live
from formicary.runner.queen.engine import Engine, Step
from formicary.runner.queen.orders import names_of, render_fan_out
from formicary.runner.store import Tx


@dataclass(frozen=True, slots=True)
class Items:
    """What a task runs for; `of`: the plan that had no items, or other ones, and `plan` the one that has them."""

    fan: FanOut
    each: list[Value]
    of: Plan
    plan: Plan
    other: tuple[str, ...]


def made(engine: Engine, live: Live, execution: Execution, order: Offer) -> Items:
    """The items of the task, and the plan with them. Blocks. Raises DefinitionError, RequestRefused."""
    run = execution.tasks[order.task]
    assert run.last is not None, "a ready task has an attempt"
    seen = engine.secrets.seen_by(live.request)
    names = names_of(live, execution, run, run.last, engine.clock(), engine.url, seen)
    fan = render_fan_out(live, names, order.task, seen)
    each, dirty = listed(fan, names)
    fan, of = fan.model_copy(update={"tainted": dirty}), live.plan
    plan, other = with_items(of, order.task, fan, each)
    Graph.of(plan.definition)  # compiled here, and not while the writer waits
    return Items(fan, each, of, plan, other)


async def spread(engine: Engine, live: Live, execution: Execution, order: Offer) -> None:
    """Make the list, and begin with its items. Raises UserError, WorldError."""
    items = await anyio.to_thread.run_sync(made, engine, live, execution, order)
    engine.obey(live, await engine.store.write(_storing(engine, live, order, items)))


def _storing(engine: Engine, live: Live, order: Offer, items: Items) -> Callable[[Tx], Step]:
    def change(tx: Tx) -> Step:
        execution = tx.execution(live.execution_id)
        if execution is None or not is_ready(execution, order):
            return Step(execution)
        plan, other = items.plan, items.other
        if live.plan is not items.of:  # another task's list was made meanwhile
            plan, other = with_items(live.plan, order.task, items.fan, items.each)
        tx.put_list(live.execution_id, plan, order.task)
        # It says nothing of an execution that has not seen the event, so it may be known too early.
        live.plan = plan
        return engine.step(tx, live, (Spread(order.task_execution_id, order.fence, other),))

    return change


def is_ready(execution: Execution, order: Offer) -> bool:
    found = execution.attempt(order.task_execution_id)
    return found is not None and found[1].state is State.READY and found[1].fence == order.fence


def listed(fan: FanOut, names: Names) -> tuple[list[Value], bool]:
    """The list that `source` is, or that it names; as text, it is JSON. And whether it is tainted.

    Raises RequestRefused.
    """
    value, dirty = fan.source, fan.tainted
    if isinstance(value, str) and value in names.values:
        value, dirty = names.values[value], dirty or value in names.tainted
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise RequestRefused(f"the `source` of `fan_out` is no list, nor the name of one: {value[:60]!r}") from None
    if not isinstance(value, list):
        raise RequestRefused("the `source` of `fan_out` is no list")
    return value, dirty
