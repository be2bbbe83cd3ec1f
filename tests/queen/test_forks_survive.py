"""Parents and children through cancels, restarts of people, and restarts of the server."""

import pytest

from formicary.runner.core.records import NewRequest
from formicary.runner.core.states import TERMINAL, State

PARENT = """
job_type: ci
retry: {retry}
tasks:
  - {{task_type: fork, method: FORK_JOB, fork_job_type: child}}
  - {{task_type: wait, method: AWAIT_FORKED_JOB, await_forked_tasks: [fork]}}
  - {{task_type: last, needs: [wait], script: [last]}}
"""


def files(retry=0):
    return {
        ".formicary/ci.yml": PARENT.format(retry=retry),
        ".formicary/child.yml": "job_type: child\nscript: [child]\n",
    }


def children(hive, parent):
    return hive.store.read().children(parent.id)


async def waits(hive, parent, count=1):
    """Until the parent waits for its newest child."""

    def wanted():
        request = hive.request(parent.id)
        run = hive.execution(parent.id).tasks["wait"] if request.execution_id else None
        return run is not None and run.state is State.EXECUTING and len(children(hive, parent)) == count

    await hive.until(wanted)
    return children(hive, parent)[-1]


@pytest.mark.parametrize("running", [False, True])
async def test_a_cancel_of_the_parent_cancels_its_children(hive, repo, running):
    """Waiting and running ones; the parent ends after them."""
    repo.commit(files())
    await hive.watch(repo)
    parent = await hive.submit()
    child = await waits(hive, parent)
    async with hive.ant() as ant:
        order = await ant.claim() if running else None
        await hive.queen.cancel(parent.id, by="ada")
        if order:
            await hive.until(lambda: hive.execution(child.id).cancelled)
            assert hive.request(parent.id).state not in TERMINAL
            await ant.report(order, exit_code=143)
        ended = await hive.ended(parent.id)
    assert ended.state is hive.request(child.id).state is State.CANCELLED
    assert "Cancelled by ada" in hive.request(child.id).error_message


async def test_a_restart_by_a_person_forks_anew(hive, repo):
    repo.commit(files())
    await hive.watch(repo)
    parent = await hive.submit()
    async with hive.ant() as ant:
        for _ in range(2):
            await ant.work(await ant.claim())
        await hive.ended(parent.id)
        await hive.queen.restart(parent.id, by="ada")
        for _ in range(2):
            await ant.work(await ant.claim())
        assert (await hive.ended(parent.id)).state is State.COMPLETED
    assert len(children(hive, parent)) == 2


@pytest.mark.parametrize("by", ["retry", "person"])
async def test_what_has_failed_is_forked_again(hive, repo, by):
    """By a retry of the whole job, or a restart of what has failed: the same child would have failed for ever."""
    repo.commit(files(retry=int(by == "retry")))
    await hive.watch(repo)
    parent = await hive.submit()
    async with hive.ant() as ant:
        await ant.work(await ant.claim(), exit_code=1)
        if by == "person":
            await hive.ended(parent.id)
            await hive.queen.restart(parent.id, by="ada", failed=True)
        await ant.work(await ant.claim())
        await ant.work(await ant.claim())
        assert (await hive.ended(parent.id)).state is State.COMPLETED
    assert [one.state for one in children(hive, parent)] == [State.FAILED, State.COMPLETED]


async def test_a_parent_goes_on_waiting_after_a_restart_of_the_server(open_hive, repo):
    """The child ends before or after: it is heard of, and nobody is forked twice."""
    repo.commit(files())
    async with open_hive() as hive:
        await hive.watch(repo)
        parent = await hive.submit()
        await waits(hive, parent)
    for _ in range(2):
        async with open_hive() as hive:
            await waits(hive, parent)
    async with open_hive() as hive, hive.ant() as ant:
        order = await ant.claim()
        assert order.job_type == "child"
        await ant.work(order)
        await ant.work(await ant.claim())
        assert (await hive.ended(parent.id)).state is State.COMPLETED
        assert len(children(hive, parent)) == 1


async def test_an_end_that_was_not_heard_of_is_read_after_the_restart(open_hive, repo, monkeypatch):
    """The server stops after the child's end is on disk, and before its parent is told."""
    repo.commit(files())
    async with open_hive() as hive:
        await hive.watch(repo)
        parent = await hive.submit()
        child = await waits(hive, parent)
        hive.queen._engine.ended = lambda request, state: None
        async with hive.ant() as ant:
            await ant.work(await ant.claim())
            await hive.ended(child.id)
    async with open_hive() as hive, hive.ant() as ant:
        await ant.work(await ant.claim())
        assert (await hive.ended(parent.id)).state is State.COMPLETED


async def test_a_cancel_that_did_not_reach_the_children_does_after_the_restart(open_hive, repo):
    """A job that does not wait is CANCELLED at once; what it has forked is then, too."""
    repo.commit({**files(), ".formicary/ci.yml": "job_type: ci\ntasks:\n"
                 "  - {task_type: fork, method: FORK_JOB, fork_job_type: child}\n"
                 "  - {task_type: last, needs: [fork], script: [last]}\n"})  # fmt: skip
    async with open_hive() as hive:
        await hive.watch(repo)
        parent = await hive.submit()
        await hive.until(lambda: len(children(hive, parent)) == 1)
        hive.queen._engine.carry = lambda live, execution, order: None
        await hive.queen.cancel(parent.id, by="ada")
        (child,) = children(hive, parent)
        assert child.state is State.PENDING
    async with open_hive() as hive:
        assert (await hive.ended(child.id)).state is State.CANCELLED


async def test_a_child_is_trusted_only_if_its_parent_is(hive, repo):
    """T3: what outsiders have sent in forks nothing that is trusted, by the registered definition."""
    commit = repo.commit(files())
    await hive.watch(repo)
    registered = {one.job_type: one for one in hive.store.read().definitions()}
    new = NewRequest(
        repository_id=1, version_id=registered["ci"].version_id, job_type="ci", event="pull_request", commit=commit,
        ref="refs/pull/1/head", source_path=str(repo.path), trusted=False, tainted=("GitBranch",),
        params={"GitBranch": "x; y"},
    )  # fmt: skip
    parent, _ = await hive.store.write(lambda tx: tx.create_request(new))
    await hive.queen.created([parent])
    child = await waits(hive, parent)
    assert not child.trusted and child.tainted == ("GitBranch",) and child.event == "pull_request"
    assert child.version_id == registered["child"].version_id


FAST = """
job_type: ci
tasks:
  - task_type: each
    method: FORK_JOB
    fan_out: {source: [1, 2], item_var: n, max_parallel: 1, fail_fast: true, fork_job_type: child}
"""


async def test_fail_fast_ends_those_whose_turn_never_comes_after_a_restart_too(open_hive, repo, monkeypatch):
    """The server stops when the first has failed and before the second is cancelled; that one never begins."""
    repo.commit(files() | {".formicary/ci.yml": FAST})
    async with open_hive() as hive:
        await hive.watch(repo)
        parent = await hive.submit()

        async def stopped(*_):
            pass

        monkeypatch.setattr(type(hive.queen._forks), "_cancel", stopped)
        async with hive.ant() as ant:
            await ant.work(await ant.claim(), exit_code=1)
            await hive.until(lambda: hive.execution(parent.id).tasks["each"].last.children.spoilt)
        assert hive.request(parent.id).state not in TERMINAL
    monkeypatch.undo()
    async with open_hive() as hive, hive.ant():
        assert (await hive.ended(parent.id)).state is State.FAILED
        assert [one.state for one in children(hive, parent)] == [State.FAILED, State.CANCELLED]
        assert children(hive, parent)[1].execution_id is None
