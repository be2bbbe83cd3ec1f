"""An execution in motion: `decide` makes a `Course` for an event, changes it, and takes the result.

It copies what it changes and nothing else. Every change of a task's or execution's state goes through `put` and `turn`,
and so through the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from formicary.runner.core.deciding import outcome as outcomes
from formicary.runner.core.definition import MANUAL, TaskDefinition
from formicary.runner.core.errors import ERR_FATAL
from formicary.runner.core.execution import (
    Ask,
    Attempt,
    DeadlinePassed,
    Execution,
    Forget,
    Offer,
    Order,
    Plan,
    RetryDue,
    TaskRun,
    WakeAt,
)
from formicary.runner.core.forked import Overlong
from formicary.runner.core.graph import Graph, Node, spreads
from formicary.runner.core.policy import Due, Overdue
from formicary.runner.core.states import ACTIVE, JOB_TRANSITIONS, TASK_TRANSITIONS, TERMINAL, State, move


class Course:
    __slots__ = (
        *("execution", "graph", "now", "plan", "seed"),
        *("_own", "ended", "next_number", "orders", "tasks", "touched"),
    )

    def __init__(self, execution: Execution, plan: Plan, now: float, seed: int) -> None:
        self.execution = execution
        self.plan = plan
        self.now = now
        self.seed = seed
        self.graph = Graph.of(plan.definition)
        self.orders: list[Order] = []
        self.ended: list[str] = []
        """Tasks that came to their end and whose followers have not been looked at yet."""
        self.tasks = execution.tasks
        self.next_number = execution.next_number
        self._own: dict[str, TaskRun] | None = None
        self.touched: dict[str, None] = {}
        """Tasks that this event has changed: where something is still to come, mostly one of them says so."""

    def result(self) -> tuple[Execution, tuple[Order, ...]]:
        if self.next_number != self.execution.next_number:
            self.change(next_number=self.next_number)
        return self.execution, tuple(self.orders)

    def change(self, **fields: Any) -> None:
        self.execution = self.execution.model_copy(update=fields)

    def turn(self, state: State, **fields: Any) -> None:
        """Change the execution's state."""
        self.change(state=move(JOB_TRANSITIONS, self.execution.state, state), **fields)

    def put(self, run: TaskRun, state: State, **fields: Any) -> TaskRun:
        """Change a task's state; gives the changed task."""
        fields["state"] = move(TASK_TRANSITIONS, run.state, state)
        new = self._keep(run.model_copy(update=fields))
        if new.matrix_of:
            self._count_member(run, new)
        return new

    def add(self, run: TaskRun) -> None:
        """A combination that was not there before."""
        self._keep(run)

    def drop(self, run: TaskRun) -> None:
        """A combination that is none any more goes, with its attempts and their logs."""
        self._keep(run)
        assert self._own is not None, "what is kept is kept in tasks of its own"
        del self._own[run.name], self.touched[run.name]
        self.orders += [Forget(attempt.id) for attempt in run.attempts]

    def _keep(self, run: TaskRun) -> TaskRun:
        if self._own is None:
            self.tasks = self._own = dict(self.tasks)
            self.change(tasks=self._own)
        self._own[run.name] = run
        self.touched[run.name] = None
        return run

    def count(self, name: str, **fields: Any) -> TaskRun:
        """Change how the combinations of a matrix task stand."""
        run = self.tasks[name]
        whole = run.combinations
        return self._keep(run.model_copy(update={"combinations": whole and whole.model_copy(update=fields)}))

    def _count_member(self, old: TaskRun, new: TaskRun) -> None:
        """A combination has moved: the counts of its task, and the state that the foremost has come to."""
        group = self.tasks[new.matrix_of]
        whole = group.combinations
        if whole is None or group.state in TERMINAL:
            return
        left = whole.left - (new.state in TERMINAL) + (old.state in TERMINAL)
        busy = whole.busy + live(new) - live(old)
        if (left, busy) != (whole.left, whole.busy):
            group = self.count(group.name, left=left, busy=busy)
        if _FOREMOST.get(group.state) is new.state:
            self.put(group, new.state)
        if not left and whole.left:
            self.ended.append(group.name)

    def wake(self, at: float, event: RetryDue | DeadlinePassed | Overdue | Overlong) -> None:
        self.orders.append(WakeAt(self.execution.id, at, event))

    def allow(self, seconds: float) -> None:
        """Set the deadline."""
        self.change(deadline=self.now + seconds)
        self.wake(self.now + seconds, DeadlinePassed())

    def start(self, run: TaskRun) -> None:
        """Offer a new attempt at a PENDING task; or ask people, if it is theirs."""
        last = run.last
        number = last.number + 1 if last else 1
        if self.graph.nodes[run.name].task.method == MANUAL:
            return self._ask(run, number)
        attempt = self._offer(run.name, number)
        self.put(run, State.READY, attempts=(*run.attempts, attempt), retry_at=None, reason="")

    def offer_again(self, run: TaskRun) -> None:
        """A fresh offer in the place of one that came to nothing: the same attempt with a new id and fence."""
        attempt = self._offer(run.name, run.attempts[-1].number)
        run = self.put(run, State.PENDING)
        self.put(run, State.READY, attempts=(*run.attempts[:-1], attempt))

    def _offer(self, name: str, number: int) -> Attempt:
        fence = self.next_number
        self.execution.placed(f"{self.execution.id}-{fence}", name)
        attempt = Attempt(id=f"{self.execution.id}-{fence}", number=number, fence=fence, ready_at=self.now)
        self.next_number = fence + 1
        self.orders.append(Offer(self.execution.id, name, attempt.id, fence))
        return attempt

    def _ask(self, run: TaskRun, number: int) -> None:
        fence, state = self.next_number, State.MANUAL_APPROVAL_REQUIRED
        self.next_number = fence + 1
        attempt = Attempt(id=f"{self.execution.id}-{fence}", number=number, fence=fence, state=state, ready_at=self.now)
        self.put(run, state, attempts=(*run.attempts, attempt), retry_at=None, reason="")
        self.orders.append(Ask(self.execution.id, run.name, attempt.id, fence))
        for what, at in dues(self.graph.nodes[run.name].task, attempt):
            self.wake(at, Overdue(attempt.id, what))

    def ahead(self) -> Course:
        """Another one that begins where this one is; `take` makes its way this one's."""
        other = Course(self.result()[0], self.plan, self.now, self.seed)
        other.next_number = self.next_number
        return other

    def take(self, ahead: Course) -> None:
        self.execution, self.tasks, self._own = ahead.execution, ahead.tasks, ahead._own
        self.next_number = ahead.next_number
        self.orders += ahead.orders

    def all_ended(self, names: tuple[str, ...]) -> bool:
        tasks = self.tasks
        return all(tasks[name].state in TERMINAL for name in names)

    def all_ended_of(self, names: tuple[str, ...], who: str) -> bool:
        """The same, where `who` asks, and always for these: it is remembered for whom it waits, so that a task with
        hundreds of needs does not look at all of them each time."""
        tasks, known = self.tasks, self.execution.awaited
        awaited = known.get(who)
        if awaited is not None and tasks[awaited].state not in TERMINAL:
            return False
        awaited = next((name for name in reversed(names) if tasks[name].state not in TERMINAL), None)
        if awaited is not None:
            known[who] = awaited
        return awaited is None

    def decisive(self) -> TaskRun | None:
        """The task that fails the job: the one that said FATAL, else the first FAILED one not forgiven."""
        nodes = self.graph.nodes
        bad = [
            run
            for run in self.tasks.values()
            if run.state is State.FAILED and not outcomes.forgiven(nodes[run.name].task, run)
        ]
        return min(bad, key=_rank) if bad else None


#: what a matrix task's state becomes when one of its combinations comes so far
_FOREMOST: Final = {State.READY: State.STARTED, State.STARTED: State.EXECUTING}


def settle(course: Course, run: TaskRun, reason: str, **fields: Any) -> None:
    """End a task that does not run: cancelled; failed, if an attempt of it has failed or it asked again and again; else
    skipped."""
    if course.execution.cancelled:
        state = State.CANCELLED
    elif run.failures or run.lost:
        state, reason = State.FAILED, run.reason or reason
    else:
        state = State.SKIPPED if run.polling_since is None else State.FAILED
    course.put(run, state, reason=reason, retry_at=None, **fields)


def _rank(run: TaskRun) -> tuple[bool, float, int]:
    last = run.last
    if last is None:
        return True, float("inf"), 0
    return last.error_code != ERR_FATAL and not last.hard, last.ended_at or 0.0, last.fence


def asks(run: TaskRun) -> bool:
    """Waits for people."""
    return run.state is State.MANUAL_APPROVAL_REQUIRED


def dues(task: TaskDefinition, attempt: Attempt) -> Iterator[tuple[Due, float]]:
    """What of an approval is overdue when, but for what has passed."""
    policy, since = task.approval_policy, attempt.ready_at or 0.0
    named: tuple[tuple[Due, float | None], ...] = (("sla", policy.sla_deadline), ("timeout", policy.timeout))
    for what, seconds in named:
        if seconds is not None and what not in attempt.overdue:
            yield what, since + seconds


def live(run: TaskRun) -> bool:
    """Runs, is offered, or will be tried again; a matrix task, if any of its combinations is."""
    if run.combinations is not None:
        return run.combinations.busy > 0
    return run.retry_at is not None or run.state in ACTIVE


def barred(execution: Execution) -> bool:
    """No task may start now: the job is about to rest, or does."""
    return bool(execution.rest)


def halted(execution: Execution) -> bool:
    """Nothing but always_run tasks may start any more."""
    return execution.fatal or execution.timed_out or execution.cancelled > 0


def over(execution: Execution) -> bool:
    """Not even always_run tasks may run any more: cancelled twice, or their own budget is used up."""
    return execution.cancelled > 1 or (execution.closing and execution.deadline is None)


def stopped(execution: Execution, node: Node) -> bool:
    """Whether a running attempt at this task is told to end. FATAL lets it finish; always_run tasks are spared."""
    if spoilt(execution, node):
        return True
    if execution.cancelled or execution.timed_out:
        return not node.always_run or over(execution)
    return False


def spoilt(execution: Execution, node: Node) -> str:
    """The combination whose failure has stopped this one (fail_fast)."""
    group = execution.tasks.get(node.group) if node.group else None
    return group.combinations.spoilt if group and group.combinations else ""


def may_start(execution: Execution, node: Node) -> bool:
    if barred(execution) or spoilt(execution, node):
        return False
    return not halted(execution) or (node.always_run and not over(execution))


def why_stopped(course: Course, node: Node) -> str:
    """Why a running attempt at this task is told to end, or may not begin again."""
    failed = "" if halted(course.execution) else spoilt(course.execution, node)
    return fail_fast(failed, course.graph.nodes[node.group].task) if failed else why_halted(course)


def fail_fast(failed: str, task: TaskDefinition) -> str:
    return f"Task `{failed}` failed, and its {'fan_out' if spreads(task) else 'matrix'} is fail_fast."


def why_halted(course: Course) -> str:
    execution = course.execution
    if execution.cancelled:
        return execution.cancel_reason
    if execution.timed_out:
        return f"The job ran into its timeout of {outcomes.span(course.plan.definition.timeout)}."
    failed = course.decisive()
    return f"Task `{failed.name if failed else ''}` ended the job (FATAL)."
