"""`decide` under fire: random small jobs; reports that are late, doubled or stale; lost ants, cancels, deadlines."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from jobs import REPEATING, RESULTS, definitions
from matrices import check_matrices, is_live
from voting import Voting

from formicary.runner.core.deciding.advance import NO_COMBINATION
from formicary.runner.core.execution import (
    AntLost,
    Ask,
    Begin,
    CancelAsked,
    Claimed,
    DeadlinePassed,
    Ended,
    Executing,
    Execution,
    Finished,
    Forget,
    Offer,
    OfferReturned,
    PauseAsked,
    Plan,
    Result,
    ResumeAsked,
    RetryDue,
    Stop,
    TaskRun,
    WakeAt,
    Withdraw,
)
from formicary.runner.core.graph import Graph, check, task_of
from formicary.runner.core.plan import begin, decide, outstanding
from formicary.runner.core.policy import Approved, Overdue, Rejected
from formicary.runner.core.states import ACTIVE, JOB_TRANSITIONS, LEASED, TASK_TRANSITIONS, TERMINAL, State

SEED = 11


def reachable(table, now, then, moves):
    if now is then:
        return True
    return moves > 0 and any(reachable(table, middle, then, moves - 1) for middle in table[now])


class Execute(Voting, RuleBasedStateMachine):
    @initialize(definition=definitions())
    def start(self, definition):
        assert check(definition) == []
        self.plan = Plan(definition=definition)
        self.now = 1000.0
        self.execution = begin(5, 2, self.plan, self.now)
        self.log, self.ended = [], 0
        # the orders that have been given and not been carried out
        self.offers, self.asked, self.stops, self.wakes, self.forgotten = {}, set(), set(), [], set()
        self.send(Begin())

    # -- what may happen ----------------------------------------------------------------------------------------------

    def attempts(self, *states):
        runs = self.execution.tasks.values() if hasattr(self, "plan") else ()
        return [run.attempts[-1] for run in runs if run.state in states and run.combinations is None]

    @precondition(lambda self: self.attempts(State.READY))
    @rule(data=st.data())
    def claim(self, data):
        one = data.draw(st.sampled_from(self.attempts(State.READY)))
        self.send(Claimed(one.id, one.fence, "ant"))

    @precondition(lambda self: self.attempts(State.STARTED))
    @rule(data=st.data())
    def executing(self, data):
        one = data.draw(st.sampled_from(self.attempts(State.STARTED)))
        self.send(Executing(one.id, one.fence))

    @precondition(lambda self: self.attempts(*LEASED))
    @rule(data=st.data(), result=RESULTS)
    def finish(self, data, result):
        one = data.draw(st.sampled_from(self.attempts(*LEASED)))
        self.send(Finished(one.id, one.fence, result))

    @precondition(lambda self: self.attempts(State.READY))
    @rule(data=st.data(), result=RESULTS)
    def report_unclaimed(self, data, result):
        one = data.draw(st.sampled_from(self.attempts(State.READY)))
        self.send(Finished(one.id, one.fence, result))

    @precondition(lambda self: self.attempts(*ACTIVE))
    @rule(data=st.data())
    def lose(self, data):
        one = data.draw(st.sampled_from(self.attempts(*ACTIVE)))
        self.send(AntLost(one.id, one.fence, "gone"))

    @precondition(lambda self: self.attempts(State.READY, State.STARTED))
    @rule(data=st.data())
    def give_back(self, data):
        one = data.draw(st.sampled_from(self.attempts(State.READY, State.STARTED)))
        self.send(OfferReturned(one.id, one.fence))

    @rule(really=st.integers(0, 5))
    def cancel(self, really):
        if really == 5:  # not too often, or nothing else is ever seen
            self.send(CancelAsked("ann"))

    @rule(really=st.integers(0, 3))
    def pause(self, really):
        if really == 3:
            self.send(PauseAsked("ann"))

    @rule()
    def go_on(self):
        self.send(ResumeAsked("ann"))

    @rule(seconds=st.sampled_from((0.5, 3.0, 20.0)))
    def pass_time(self, seconds):
        """Time passes; what was to happen by then happens."""
        until = self.now + seconds
        while self.wakes and min(wake.at for wake in self.wakes) <= until:
            self.wake()
        self.now = until

    def wake(self):
        wake = min(self.wakes, key=lambda one: one.at)
        self.wakes.remove(wake)
        self.now = max(self.now, wake.at)
        before, owed = self.execution, wake in outstanding(self.execution, self.plan, wake.at)
        self.send(wake.event)
        assert (self.execution is not before) == owed

    @precondition(lambda self: self.log)
    @rule(data=st.data(), fence=st.sampled_from((0, 0, 1, -1)))
    def stale(self, data, fence):
        """D2: an event that comes again, or with another attempt's fence, changes nothing."""
        event = data.draw(st.sampled_from(self.log))[0]
        if isinstance(event, CancelAsked | Begin | PauseAsked | ResumeAsked):
            return
        if isinstance(event, Approved | Rejected):
            return self.vote_again(event)
        if isinstance(event, RetryDue | DeadlinePassed | Overdue):
            self.send(event)  # twice or too early; it may be due again, too
            return
        fence += event.fence
        event = replace(event, fence=fence)
        newest = {(one.id, one.fence) for one in self.attempts(*ACTIVE, State.MANUAL_APPROVAL_REQUIRED)}
        before = self.execution
        if (event.task_execution_id, fence) not in newest:
            assert self.send(event) == ()
            assert self.execution is before

    # -- what must hold after every event -----------------------------------------------------------------------------

    def send(self, event):
        before = self.execution
        self.execution, orders = decide(before, self.plan, event, self.now, SEED)
        if self.execution is not before:
            self.log.append((event, self.now))
        self.carry(orders)
        if before.state in TERMINAL:
            assert self.execution is before and orders == ()
        self.check_changes(before)
        self.check_closing(before)
        self.check_tasks()
        self.check_offers(orders)
        self.check_orders()
        check_matrices(self.execution, self.plan)
        if self.execution.state in TERMINAL:
            self.check_end()
        return orders

    def carry(self, orders):
        for order in orders:
            match order:
                case Offer():
                    assert order.task_execution_id not in self.offers, "offered twice"
                    self.offers[order.task_execution_id] = order
                case Ask():
                    assert order.task_execution_id not in self.asked, "asked twice"
                    self.asked.add(order.task_execution_id)
                case Withdraw():
                    del self.offers[order.task_execution_id]
                case Stop():
                    self.stops.add(order.task_execution_id)
                case WakeAt():
                    assert order.at >= self.now
                    self.wakes.append(order)
                case Forget():
                    assert not self.execution.attempt(order.task_execution_id), "forgotten, and still there"
                    self.forgotten.add(order.task_execution_id)
                case Ended():
                    self.ended += 1
                    assert order.state is self.execution.state
        ready = {one.id for one in self.attempts(State.READY)}
        leased = {one.id for one in self.attempts(*LEASED)}
        self.offers = {key: order for key, order in self.offers.items() if key in ready}
        self.stops &= leased
        self.asked &= {one.id for one in self.attempts(State.MANUAL_APPROVAL_REQUIRED)}

    def check_changes(self, before):
        assert reachable(JOB_TRANSITIONS, before.state, self.execution.state, 2)
        for name, run in self.execution.tasks.items():
            old = before.tasks.get(name) or TaskRun(name=name, matrix_of=run.matrix_of)
            assert name in before.tasks or run.matrix_of, "a task came from nowhere"
            assert reachable(TASK_TRANSITIONS, old.state, run.state, 5 if run.combinations else 3)
            anew = old.state in TERMINAL and run.state not in TERMINAL
            assert not anew or self.execution.job_retry > before.job_retry, "run again, and the job is not"
            known = {one.id: one for one in run.attempts}
            for one in old.attempts:
                if one.id in self.forgotten:
                    assert one.state in TERMINAL
                elif one.state in TERMINAL:
                    assert known[one.id] == one, "an attempt that has ended was changed"
                elif one.id in known:
                    assert reachable(TASK_TRANSITIONS, one.state, known[one.id].state, 1)
                elif one.id not in self.forgotten:
                    assert one.state in (State.READY, State.STARTED), "an attempt that ran was forgotten"

    def check_closing(self, before):
        """always_run tasks begin when nothing else is left, and those that have run do not run again."""
        if before.closing or not self.execution.closing:
            return
        nodes = Graph.of(self.plan.definition).nodes
        always = sum(node.bit for node in nodes.values() if node.always_run)
        for task in self.plan.definition.tasks:
            run, old = self.execution.tasks[task.task_type], before.tasks[task.task_type]
            if not task.always_run:
                later = nodes[run.name].ancestors & always or run.combinations
                assert later or not is_live(run), "not the end yet"
            elif self.ran(old) and old.state in TERMINAL:
                assert run is old, "an always_run task runs twice"

    def check_tasks(self):
        for run in self.execution.tasks.values():
            if run.combinations is not None:
                continue  # see check_matrices
            running = [one for one in run.attempts if one.state in ACTIVE]
            assert len(running) == (run.state in ACTIVE), "twice at once"
            self.check_votes(run)
            assert not running or (running[0] is run.attempts[-1] and running[0].state is run.state)
            assert run.retry_at is None or run.state is State.PENDING
            numbers = [one.number for one in run.attempts]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
            assert not numbers or numbers[0] == 1 or self.forgotten
            lost = sum(one.error_code in ("ERR_ANT_LOST", "ERR_LOST") for one in run.attempts)
            assert lost <= 4 * (1 + self.execution.job_retry)
            if not self.repeats(run.name):
                assert sum(one.state in (State.COMPLETED, State.SKIPPED) for one in run.attempts) <= 1
        fences = [one.fence for run in self.execution.tasks.values() for one in run.attempts]
        assert len(set(fences)) == len(fences)

    def repeats(self, name):
        """Whether a task that completed may run again."""
        task, job = task_of(self.plan.definition, name), self.plan.definition
        words = {target.name for target in self.choices(task)}
        return task.allow_start_if_completed or job.hard_reset_after_retries or words & REPEATING

    @staticmethod
    def choices(task):
        return [target for target in (task.on_completed, task.on_failed, *task.on_exit_code.values()) if target]

    def check_offers(self, orders):
        """Nothing starts before what it needs, unchosen, or after it should have stopped."""
        execution, targets = self.execution, self.targets()
        for offer in orders:
            if not isinstance(offer, Offer | Ask):
                continue
            begun = [one for one in execution.tasks[offer.task].attempts if one.id == offer.task_execution_id]
            if not begun or begun[0].state in TERMINAL:
                continue  # withdrawn by the same event
            name = execution.tasks[offer.task].matrix_of or offer.task
            run, task = execution.tasks[name], self.plan.definition.task(name)
            needs = [execution.tasks[name] for name in (*task.needs, *task.dependencies)]
            assert all(need.state in TERMINAL for need in needs)
            assert not execution.rest, "started although the job is to rest"
            if execution.cancelled or execution.timed_out or execution.fatal:
                assert task.always_run and execution.cancelled < 2
            if task.always_run:
                assert run.chosen or execution.closing
            elif task.task_type in targets:
                assert run.chosen
            elif name == offer.task or not self.execution.tasks[offer.task].attempts[:-1]:
                assert not any(self.blocks(need) for need in needs)

    def targets(self):
        return {target.name for task in self.plan.definition.tasks for target in self.choices(task)}

    def blocks(self, run):
        if run.state is State.SKIPPED:
            return bool(run.because)
        return run.state is State.FAILED and not self.forgiven(run)

    def forgiven(self, run):
        if run.combinations is not None:
            return run.combinations.waived
        allowed = task_of(self.plan.definition, run.name).allow_failure
        last = run.attempts[-1] if run.attempts else None
        if last is not None and (last.hard or last.error_code == "ERR_FATAL"):
            return False
        return allowed if isinstance(allowed, bool) else last is not None and last.exit_code in allowed

    def check_orders(self):
        """`outstanding` is exactly what has been ordered and not been carried out."""
        if self.execution.state in TERMINAL:
            assert outstanding(self.execution, self.plan, self.now) == (Ended(5, self.execution.state),)
            return
        orders = outstanding(self.execution, self.plan, 0.0)
        assert {one.task_execution_id: one for one in orders if isinstance(one, Offer)} == self.offers
        assert {one.task_execution_id for one in orders if isinstance(one, Stop)} == self.stops
        assert {one.task_execution_id for one in orders if isinstance(one, Ask)} == self.asked
        wakes = [one for one in orders if isinstance(one, WakeAt)]
        assert all(one in self.wakes for one in wakes)
        rests = self.execution.resting_since is not None
        assert orders or self.attempts(*ACTIVE) or (rests and self.execution.rest == "PAUSE"), (
            "nothing will ever happen"
        )
        assert rests == (self.execution.state in (State.PENDING, State.PAUSED, State.MANUAL_APPROVAL_REQUIRED))
        waits = self.asked and not (self.attempts(*ACTIVE) or [one for one in wakes if isinstance(one.event, RetryDue)])
        assert (self.execution.state is State.MANUAL_APPROVAL_REQUIRED) == bool(waits)
        if rests:
            assert not self.attempts(*ACTIVE), "something runs while the job rests"

    def check_end(self):
        execution = self.execution
        assert self.ended == 1 and execution.ended_at is not None
        assert all(run.state in TERMINAL for run in execution.tasks.values())
        failed = [run for run in execution.tasks.values() if run.state is State.FAILED and not self.forgiven(run)]
        if execution.cancelled:
            assert execution.state is State.CANCELLED
        else:
            bad = bool(failed or execution.timed_out or execution.fatal)
            assert execution.state is (State.FAILED if bad else State.COMPLETED)
        assert bool(execution.error_code) == bool(execution.error_message) == (execution.state is not State.COMPLETED)
        spent = execution.cancelled > 1 or (execution.closing and execution.timed_out)
        for task in self.plan.definition.tasks:
            if task.always_run and not spent:
                assert self.ran(execution.tasks[task.task_type]), "an always_run task did not run"

        if not (execution.cancelled or execution.timed_out or execution.fatal):
            self.check_nobody_was_forgotten()

    def check_nobody_was_forgotten(self):
        """What was chosen ran, and what only waits for others ran unless one of them stood in its way."""
        tasks, targets = self.execution.tasks, self.targets()
        for task in self.plan.definition.tasks:
            run = tasks[task.task_type]
            assert not run.led_to or self.ran(tasks[run.led_to])
            assert not run.chosen or self.ran(run)
            if task.task_type not in targets and not task.always_run:
                needs = [tasks[name] for name in (*task.needs, *task.dependencies)]
                blocked = any(self.blocks(need) for need in needs)
                assert blocked if run.because else self.ran(run) or blocked

    def ran(self, run):
        """It had its time: it ran, or its combinations did, or it was passed by."""
        return run.attempts or run.combinations or run.excepted or run.reason.startswith(("Its `when`", NO_COMBINATION))

    # -- the end ------------------------------------------------------------------------------------------------------

    def teardown(self):
        if not hasattr(self, "plan"):
            return
        self.finish_everything()
        assert self.execution.state in TERMINAL
        self.replay()

    def finish_everything(self):
        for _ in range(5000):
            if self.execution.state in TERMINAL:
                return
            active = self.attempts(*ACTIVE)
            if not active and self.execution.state is State.PAUSED and self.execution.retry_at is None:
                self.send(ResumeAsked("ann"))
            elif not active and self.execution.state is State.MANUAL_APPROVAL_REQUIRED:
                self.approve_one()
            elif not active:
                self.wake()
            elif active[0].state is State.READY:
                self.send(Claimed(active[0].id, active[0].fence, "ant"))
            else:
                self.send(Finished(active[0].id, active[0].fence, Result(exit_code=0)))

    def replay(self):
        """The same events give the same execution, by way of its JSON too."""
        execution = begin(5, 2, self.plan, 1000.0)
        for event, at in self.log:
            execution = Execution.model_validate_json(execution.model_dump_json(exclude_defaults=True))
            execution, _ = decide(execution, self.plan, event, at, SEED)
        assert execution == self.execution


# The same runs everywhere. To look for more, raise max_examples and leave derandomize out.
TestExecute = Execute.TestCase
TestExecute.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
