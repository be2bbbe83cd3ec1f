"""Tasks that wait for people: votes, who may cast them, what follows, and what a restart keeps (T1, T2)."""

import anyio
import pytest

from formicary.runner.core.errors import Conflict, NotAllowed, NotFound
from formicary.runner.core.states import State
from formicary.runner.queen.people.approvals import Ballot, questions

GATE = """
job_type: ci
max_concurrency: 1
tasks:
- task_type: build
  script: [make]
  on_completed: ok
- task_type: ok
  method: MANUAL
  description: Look at staging first.
  approval_policy: {policy}
  on_exit_code: {{APPROVED: deploy, REJECTED: clean}}
- task_type: deploy
  script: [deploy]
- task_type: clean
  script: [clean]
"""
ASKED = State.MANUAL_APPROVAL_REQUIRED


def ballot(approved=True, by="ann", role="developer", **more):
    return Ballot(approved=approved, by=by, role=role, **more)


async def asked(hive, repo, ant, policy="{}"):
    """A request that waits for people alone."""
    repo.commit({".formicary/ci.yml": GATE.format(policy=policy)})
    await hive.watch(repo)
    request = await hive.submit()
    await ant.work(await ant.claim())
    await hive.until(lambda: hive.request(request.id).state is ASKED)
    return hive.request(request.id)


def audits(hive, **wanted):
    return [(one.user_id, one.action, dict(one.detail)) for one in hive.store.read().audits(wanted).records]


async def test_approved(hive, repo):
    """It goes on where its outcome says; the vote is kept with the execution and written down, both in one change."""
    async with hive.ant() as ant:
        request = await asked(hive, repo, ant)
        assert hive.queen.why(request.id) == "it waits for an approval of `ok`"
        (question,) = questions(hive.store.read(), request)
        assert question.open and question.description == "Look at staging first." and len(question.digest) == 64
        await hive.queen.vote(request.id, ballot(comment="looks good", commit=request.commit[:8], token_id=4))
        deploy = await ant.claim()
        assert deploy.task.task_type == "deploy"
        await ant.work(deploy)
        ended = await hive.ended(request.id)
    assert ended.state is State.COMPLETED
    tasks = hive.execution(request.id).tasks
    assert [tasks[name].state for name in ("ok", "clean")] == [State.COMPLETED, State.SKIPPED]
    (vote,) = tasks["ok"].last.votes
    assert (vote.by, vote.approved, vote.comment, vote.role) == ("ann", True, "looks good", "developer")
    ((by, action, detail),) = audits(hive, request_id=request.id)
    assert (by, action) == ("ann", "approve")
    assert detail["commit"] == request.commit and detail["definition"] == question.digest and detail["task"] == "ok"
    assert hive.store.read().audits({}).records[0].token_id == 4


async def test_rejected(hive, repo):
    async with hive.ant() as ant:
        request = await asked(hive, repo, ant)
        await hive.queen.vote(request.id, ballot(False, comment="not on a Friday"))
        clean = await ant.claim()
        assert clean.task.task_type == "clean"
        await ant.work(clean)
        ended = await hive.ended(request.id)
    assert ended.state is State.FAILED and ended.error_code == "ERR_REJECTED"
    assert ended.error_message == "task `ok` was rejected: by ann (not on a Friday)"


async def test_a_job_that_waits_for_people_takes_nobodys_place(hive, repo):
    """max_concurrency 1: the next request runs meanwhile, and this one waits for its turn when it is approved."""
    async with hive.ant() as ant:
        first = await asked(hive, repo, ant)
        second = await hive.submit()
        build = await ant.claim()
        assert build.request_id == second.id
        await hive.queen.vote(first.id, ballot())
        assert hive.request(first.id).state is State.PENDING
        await ant.work(build)
        await hive.until(lambda: hive.request(second.id).state is ASKED)
        deploy = await ant.claim()
        assert (deploy.request_id, deploy.task.task_type) == (first.id, "deploy")
        await ant.work(deploy)
        await hive.ended(first.id)


async def test_who_may_and_about_what(hive, repo):
    """T1, T2: who may not vote changes nothing, nor does a vote about another commit, or one that comes too late."""
    async with hive.ant() as ant:
        request = await asked(hive, repo, ant, "{allowed_roles: [maintainer], min_approvals: 2}")
        vote = hive.queen.vote
        with pytest.raises(NotAllowed, match="a maintainer"):
            await vote(request.id, ballot())
        with pytest.raises(Conflict, match=f"is of commit {request.commit}"):
            await vote(request.id, ballot(role="admin", commit="f" * 40))
        with pytest.raises(Conflict):
            await vote(request.id, ballot(role="admin", commit=request.commit[:6]))
        with pytest.raises(NotFound, match="`deploy`"):
            await vote(request.id, ballot(role="admin", task="deploy"))
        assert hive.execution(request.id).tasks["ok"].last.votes == () and audits(hive) == []
        await vote(request.id, ballot(role="maintainer"))
        await vote(request.id, ballot(role="maintainer"))
        assert hive.request(request.id).state is ASKED, "one person is one vote"
        await vote(request.id, ballot(by="bob", role="admin", task="ok"))
        await ant.work(await ant.claim())
        await hive.ended(request.id)
        with pytest.raises(Conflict, match="`ok` of request 1 waits for nobody"):
            await vote(request.id, ballot(role="admin", task="ok"))
        with pytest.raises(Conflict, match="waits for nobody's approval"):
            await vote(request.id, ballot(role="admin"))


async def test_cancel_ends_it_and_resume_does_not(hive, repo):
    async with hive.ant() as ant:
        request = await asked(hive, repo, ant)
        with pytest.raises(Conflict, match="waits for an approval of `ok`"):
            await hive.queen.resume(request.id, by="ann")
        await hive.queen.cancel(request.id, by="ann")
        assert (await hive.ended(request.id)).state is State.CANCELLED


async def test_a_paused_job_asks_again(hive, repo):
    async with hive.ant() as ant:
        request = await asked(hive, repo, ant, "{min_approvals: 2}")
        await hive.queen.vote(request.id, ballot())
        paused = await hive.queen.pause(request.id, by="ann")
        assert paused.state is State.PAUSED
        with pytest.raises(Conflict, match="nobody"):
            await hive.queen.vote(request.id, ballot(by="bob"))
        await hive.queen.resume(request.id, by="ann")
        async with anyio.create_task_group() as group:
            group.start_soon(ant.claim)
            await hive.until(lambda: hive.request(request.id).state is ASKED)
            group.cancel_scope.cancel()
        run = hive.execution(request.id).tasks["ok"]
        assert [len(one.votes) for one in run.attempts] == [1, 0]


async def test_a_restart_of_the_queen_keeps_votes_and_timers(open_hive, repo):
    """What was voted counts on; and what is overdue by now has its effect at once."""
    async with open_hive() as hive, hive.ant() as ant:
        request = await asked(hive, repo, ant, "{min_approvals: 2, timeout: 300ms, timeout_action: AUTO_APPROVE}")
        await hive.queen.vote(request.id, ballot())
    async with open_hive() as hive, hive.ant() as ant:
        order = await ant.claim()
        assert order.task.task_type == "deploy"
        run = hive.execution(request.id).tasks["ok"]
        assert [vote.by for vote in run.last.votes] == ["ann"]
        assert run.last.warnings == ("Approved by itself: it was not decided within 300ms.",)


async def test_what_its_except_says_asks_nobody(hive, repo):
    excepted = "  method: MANUAL\n  except: '{{ GitBranch == \"main\" }}'\n"
    text = GATE.format(policy="{}").replace("  method: MANUAL\n", excepted)
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED
    assert hive.execution(request.id).tasks["ok"].state is State.SKIPPED


async def test_nobody_is_needed_to_ask(hive, repo):
    """A MANUAL task needs no ant, not even at the beginning."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nmethod: MANUAL\n"})
    await hive.watch(repo)
    request = await hive.submit()
    await hive.until(lambda: hive.request(request.id).state is ASKED)
    await hive.queen.vote(request.id, ballot())
    assert (await hive.ended(request.id)).state is State.COMPLETED
