"""`admit` over time: limits hold, nobody starves, and every reason that is given is true."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from formicary.runner.core.schedule import AntView, Limits, Running, Waiting, admit

TAGS, METHODS = st.frozensets(st.sampled_from("xy"), max_size=1), st.frozensets(st.sampled_from(("SHELL", "DOCKER")))
DEPTH = st.none() | st.integers(0, 3)


class Queue(RuleBasedStateMachine):
    @initialize(
        hands=st.lists(st.tuples(st.integers(1, 3), TAGS, METHODS, st.booleans()), max_size=3),
        limit=st.sampled_from((None, None, 1, 3)),
    )
    def start(self, hands, limit):
        self.hands = {f"ant-{n}": one for n, one in enumerate(hands)}
        self.limits = Limits(limit)
        self.now, self.next_id = 100.0, 1
        self.waiting, self.running = {}, {}

    @rule(
        job=st.sampled_from("abc"),
        priority=st.sampled_from((0, 0, 5)),
        delay=st.sampled_from((None, None, None, 0.0, 15.0)),
        most=st.integers(1, 3),
        tags=TAGS,
        methods=METHODS,
        needs_ant=st.sampled_from((True, True, True, False)),
        trusted=st.sampled_from((True, True, False)),
    )
    def ask(self, job, priority, delay, most, tags, methods, needs_ant, trusted):
        due = None if delay is None else self.now + delay
        one = Waiting(
            self.next_id, "o", ("o", job), job, priority, self.now, due, most, tags, methods, needs_ant, trusted
        )
        self.waiting[one.request_id] = one
        self.next_id += 1

    @rule(seconds=st.sampled_from((1.0, 10.0)))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(data=st.data())
    def end(self, data):
        if self.running:
            del self.running[data.draw(st.sampled_from(sorted(self.running)))]

    @rule(most=DEPTH, order=st.randoms(use_true_random=False))
    def admit(self, most, order):
        waiting = list(self.waiting.values())
        order.shuffle(waiting)
        self.step(waiting, most)

    # -- one round, and what must hold after it -----------------------------------------------------------------------

    def ants(self):
        used = Counter(ant_id for _, ant_id in self.running.values())
        return [
            AntView(name, tags, methods, "", count - used[name], count, isolates)
            for name, (count, tags, methods, isolates) in self.hands.items()
        ]

    def by_job(self):
        return Counter(one.job_key for one, _ in self.running.values())

    def step(self, waiting, most=None):
        ants, before = self.ants(), self.by_job()
        admitted = admit(waiting, Running(before, {}), self.limits, ants, self.now, most=most)
        assert most is None or len(admitted.admissions) <= most
        for admission in admitted.admissions:
            one = self.waiting.pop(admission.request_id)
            assert one.scheduled_at is None or one.scheduled_at <= self.now
            assert (admission.ant_id is not None) == one.needs_ant
            assert self.by_job()[one.job_key] < one.max_concurrency
            self.running[one.request_id] = (one, admission.ant_id)
            if admission.ant_id:
                assert self.able(next(ant for ant in ants if ant.ant_id == admission.ant_id), one)
        assert all(ant.free >= 0 for ant in self.ants()), "more hands given than there are"
        assert self.limits.max_running_jobs is None or len(self.running) <= self.limits.max_running_jobs
        ranks = [self.running[a.request_id][0].rank for a in admitted.admissions]
        assert ranks == sorted(ranks)
        later = [w.scheduled_at for w in waiting if w.scheduled_at is not None and w.scheduled_at > self.now]
        assert admitted.next_at == min(later, default=None)
        for one in self.waiting.values():
            self.check_reason(one, admitted.reason(one.request_id), admitted, most)
        return admitted

    @staticmethod
    def able(ant, one):
        safe = one.trusted or ant.isolates or (one.methods and "SHELL" not in one.methods)
        return one.tags <= ant.tags and one.methods <= ant.methods and safe

    def startable(self, one):
        """Whether its own limits, seen alone, would let it start now."""
        hand = not one.needs_ant or any(ant.free > 0 and self.able(ant, one) for ant in self.ants())
        room = self.limits.max_running_jobs is None or len(self.running) < self.limits.max_running_jobs
        due = one.scheduled_at is None or one.scheduled_at <= self.now
        return hand and room and due and self.by_job()[one.job_key] < one.max_concurrency

    def check_reason(self, one, reason, admitted, most):
        able = [ant for ant in self.ants() if self.able(ant, one)]
        numbers = [int(text) for text in re.findall(r"\d+", reason)]
        if reason.startswith("is due"):
            assert one.scheduled_at > self.now
        elif "max_concurrency" in reason:
            assert numbers[:2] == [self.by_job()[one.job_key], one.max_concurrency] and numbers[0] >= numbers[1]
        elif "max_running_jobs" in reason:
            assert numbers[:2] == [len(self.running), self.limits.max_running_jobs] and numbers[0] >= numbers[1]
        elif reason.endswith("busy"):
            assert able and not any(ant.free for ant in able)
            assert "only" in reason or numbers == [sum(ant.hands for ant in able)]
        elif reason.startswith("no ant"):
            assert one.needs_ant and not able
        elif reason.startswith("waits behind request"):
            assert len(admitted.admissions) == most
            assert self.running[numbers[0]][0].rank < one.rank
        else:
            assert reason == "no request is admitted at the moment" and most == 0
        if most is None:
            assert not self.startable(one), "it could have started"

    def teardown(self):
        """Nobody starves: as hands free up, everybody whose limits allow it starts, within bounded rounds."""
        if not hasattr(self, "hands"):
            return
        self.now += 100.0
        for _ in range(len(self.waiting) + len(self.running) + 1):
            if self.running:
                del self.running[min(self.running)]
            self.step(list(self.waiting.values()))
        for one in self.waiting.values():
            assert one.needs_ant and not any(self.able(ant, one) for ant in self.ants())


# The same runs everywhere. To look for more, raise max_examples and leave derandomize out.
TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
