"""D10 for statuses: whichever entries name a context, in whatever order they go, the newest truth is what stays."""

import anyio
import pytest
from clocks import run_skipping
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import Ledger, now

from formicary.runner.core.definition import JobDefinition, Status
from formicary.runner.core.errors import ToldToWait, WorldError
from formicary.runner.core.records import JobRequest, Page, Repository
from formicary.runner.core.states import State
from formicary.runner.publish.outbox import Outbox
from formicary.runner.publish.statuses import KIND, StatusPublisher, key_of

JOB = JobDefinition(job_type="ci", status=Status(context="checks"))
"""With a context of its own each request has a key of its own, so two of them may be on their way at a time."""
STATES = [State.PENDING, State.COMPLETED, State.FAILED, State.CANCELLED, State.SKIPPED]


class World:
    """Requests 1 to 3 of one commit; each change gets a number, which its reason holds and so its description."""

    def __init__(self):
        self.requests_ = {}

    def change(self, number, state, version):
        said = {"reason": f"v{version}", "error_message": f"v{version}"}
        self.requests_[number] = JobRequest(
            id=number, version_id=1, job_type="ci", repository_id=1, commit="c", created_at=0.0, state=state, **said
        )
        return self.requests_[number]

    def request(self, request_id):
        return self.requests_.get(request_id)

    def execution(self, execution_id):
        return None

    def repository(self, repository_id):
        return Repository(id=1, name="app", path="/p", forge="github", slug="acme/app")

    def requests(self, **_):
        found = tuple(sorted(self.requests_.values(), key=lambda one: -one.id))
        return Page[JobRequest](records=found, total_records=len(found), page=0, page_size=100)


class Forge:
    """Takes its time, fails, loses answers; `landed` are (when the truth was read, what it said)."""

    def __init__(self, script):
        self.script, self.landed, self.flying = list(script), [], 0

    def lane(self, repository):
        return "api.example"

    async def post_status(self, repository, status):
        self.flying += 1
        assert self.flying == 1, "two at a time for one commit and context"
        try:
            began = now()
            delay, lands, error = self.script.pop(0) if self.script else (0.0, True, None)
            await anyio.sleep(delay)
            if lands:
                self.landed.append((began, status.state, status.description))
            if error:
                raise error
        finally:
            self.flying -= 1


async def _play(steps, script):
    world, forge, ledger = World(), Forge(script), Ledger()
    publisher = StatusPublisher(
        read=lambda: world,
        forges={"github": forge},
        job_of=lambda request: JOB,
        why=lambda request_id: world.request(request_id).reason,
        problems_of=lambda repository, commit: (),
        mask=str,
        url="",
    )
    outbox = Outbox(ledger, [publisher], now)
    ledger.wake = outbox.wake
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        for version, (number, state, pause) in enumerate(steps):
            request = world.change(number, state, version)
            ledger.owe(KIND, key_of(request, JOB), {"request_id": number}, due_at=now() + (state is State.PENDING))
            await anyio.sleep(pause)
        with anyio.fail_after(5 * 86400):
            while ledger.entries:
                await anyio.sleep(30)
        group.cancel_scope.cancel()
    return world, forge.landed


def _truth(world):
    ran = [one for one in world.requests_.values() if one.state is not State.SKIPPED]
    newest = max(ran or world.requests_.values(), key=lambda one: one.id)
    states = {State.PENDING: "pending", State.COMPLETED: "success", State.SKIPPED: "success", State.FAILED: "failure"}
    said = {State.PENDING: f"waiting: {newest.reason}", State.SKIPPED: f"skipped: {newest.reason}"}
    said = said.get(newest.state, "passed" if newest.state is State.COMPLETED else newest.reason)
    return states.get(newest.state, "error"), said


PAUSES = st.sampled_from([0.0, 0.3, 2.0, 70.0])
STEPS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(STATES), PAUSES), min_size=1, max_size=15)
ANSWERS = st.tuples(
    st.sampled_from([0.0, 0.5, 3.0, 100.0]),
    st.booleans(),
    st.sampled_from([None, WorldError("502"), ToldToWait(retry_after=9.0)]),
).filter(lambda one: one[1] or one[2])


def _check(steps, script):
    world, landed = run_skipping(lambda: _play(steps, script))
    assert landed[-1][1:] == _truth(world)
    assert [began for began, *_ in landed] == sorted(began for began, *_ in landed)


@given(STEPS, st.lists(ANSWERS, max_size=15))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_the_newest_truth_is_what_stays(steps, script):
    _check(steps, script)


@pytest.mark.soak
@given(STEPS, st.lists(ANSWERS, max_size=40))
@settings(deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_for_longer(steps, script):
    _check(steps, script)
