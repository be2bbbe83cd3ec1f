"""What is owed to the outside is decided inside the change that makes it so (the outbox's other half)."""

import pytest

from formicary.runner.core.states import State
from formicary.runner.queen.told import Owed, Told

JOB = "job_type: ci\ntasks:\n  - {task_type: build, script: [make], retry: 1}\n"


class Notes:
    """An effect that remembers each moment and owes one entry a state."""

    def __init__(self):
        self.moments = []

    def __call__(self, moment):
        self.moments.append(moment)
        if moment.moved:
            yield Owed("note", f"{moment.request.id}", {"state": moment.state}, due_at=moment.tx.now + 3600)

    def states(self, request_id):
        return [one.state for one in self.moments if one.request.id == request_id and one.moved]


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
async def hive(open_hive, notes):
    async with open_hive(told=Told([notes])) as opened:
        yield opened


def owed(hive):
    return {one.key: one.payload["state"] for one in hive.store.read().outbox().records}


async def test_every_state_of_a_request_is_a_moment(hive, notes, repo):
    """From its creation to its end, with the definition, and the tasks' steps between."""
    repo.commit({".formicary/ci.yml": JOB})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim(), exit_code=1)
        await ant.work(await ant.claim())
        await hive.ended(request.id)
    first, *rest = notes.moments
    assert (first.state, first.execution) == (State.PENDING, None)
    assert notes.states(request.id)[0] is State.PENDING and notes.states(request.id)[-1] is State.COMPLETED
    assert all(one.definition.job_type == "ci" for one in notes.moments)
    assert any(not one.moved for one in rest), "a task's step alone is a moment too"
    assert owed(hive) == {str(request.id): "COMPLETED"}, "the newest stands for the older ones"


async def test_what_never_runs_is_told_too(hive, notes, repo):
    """Skipped by its trigger, by skip_if, cancelled while it waits; and begun again by a person."""
    await hive.watch(repo)
    repo.commit(
        {
            ".formicary/other.yml": "job_type: other\ntriggers: {commit: {paths: [docs/**]}}\nscript: [make]\n",
            ".formicary/never.yml": "job_type: never\nskip_if: 'true'\nscript: [make]\n",
            ".formicary/ci.yml": JOB,
        }
    )
    (repository,) = hive.store.read().repositories()
    await hive.reconciler.sync(repository.id)
    (filtered,) = hive.requests()
    assert notes.states(filtered.id) == [State.SKIPPED] and "docs/**" in notes.moments[0].request.reason
    never = await hive.submit("never")
    assert notes.states(never.id) == [State.PENDING, State.SKIPPED] and notes.moments[-1].request.reason
    waits = await hive.submit()
    await hive.queen.cancel(waits.id, by="ada")
    await hive.queen.restart(waits.id, by="ada")
    assert notes.states(waits.id) == [State.PENDING, State.CANCELLED, State.PENDING]


async def test_an_effect_that_fails_undoes_its_change(open_hive, repo):
    """State and effect are one transaction."""

    def broken(moment):
        raise RuntimeError("no")

    repo.commit({".formicary/ci.yml": JOB})
    async with open_hive(told=Told([broken])) as hive:
        await hive.watch(repo)
        with pytest.raises(RuntimeError):
            await hive.submit()
        assert hive.requests() == []
