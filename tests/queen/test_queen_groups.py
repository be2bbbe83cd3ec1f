"""Concurrency groups: one running job a group; who waits for its turn, and whom a newer request cancels."""

from __future__ import annotations

from formicary.runner.core.execution import CancelAsked
from formicary.runner.core.records import NewRequest
from formicary.runner.core.states import State
from formicary.runner.queen.dispatch import Dispatcher

DEPLOY = """\
job_type: {job}
max_concurrency: 5
params: {{env: {{default: prod}}}}
concurrency: {{group: "deploy-{{{{ env }}}}", cancel_in_progress: {cancel}}}
script: echo
"""


def deploy(job="ci", cancel="false"):
    return DEPLOY.format(job=job, cancel=cancel)


async def watched(hive, repo, **files):
    repo.commit({f".formicary/{name}.yml": text for name, text in files.items()})
    await hive.watch(repo)


def state(hive, *requests):
    return [str(hive.request(request.id).state) for request in requests]


async def test_one_of_a_group_runs_and_the_others_wait_their_turn(hive, repo):
    """None of those that wait is dropped, and they run in the order in which they came."""
    await watched(hive, repo, ci=deploy(), other=deploy("other"))
    asked = [await hive.submit(name) for name in ("ci", "other", "ci")]
    elsewhere = await hive.submit(params={"env": "test"})
    async with hive.ant(hands=4) as ant:
        orders = [await ant.claim(), await ant.claim()]
        assert {order.request_id for order in orders} == {asked[0].id, elsewhere.id}
        for later in asked[1:]:
            assert (
                hive.queen.why(later.id) == f"request {asked[0].id} of the concurrency group `deploy-prod` is running"
            )
        for order in orders:
            await ant.work(order)
        for later in asked[1:]:
            order = await ant.claim()
            assert order.request_id == later.id
            await ant.work(order)
            await hive.ended(later.id)
    assert state(hive, *asked, elsewhere) == ["COMPLETED"] * 4


async def test_another_repository_has_groups_of_its_own(hive, repo, make_repo):
    other = make_repo("other")
    await watched(hive, repo, ci=deploy())
    await watched(hive, other, ci=deploy())
    async with hive.ant(hands=2) as ant:
        for name in (repo.path.name, other.path.name):
            await hive.submit(repository=name)
        for order in [await ant.claim(), await ant.claim()]:
            await ant.work(order)


async def test_a_newer_request_cancels_what_waits_and_what_runs(hive, repo):
    await watched(hive, repo, ci=deploy(cancel="true"), plain=deploy("plain"))
    async with hive.ant(hands=2) as ant:
        running = await hive.submit("plain")
        order = await ant.claim()
        waits = await hive.submit("plain")
        scheduled = await hive.submit("plain", scheduled_at=4_000_000_000.0)
        newest = await hive.submit()
        assert state(hive, running, waits, scheduled, newest) == ["STARTED", "CANCELLED", "PENDING", "PENDING"]
        message = hive.request(waits.id).error_message
        why = "it is newer in the concurrency group `deploy-prod`, which cancels what is in progress"
        assert message == f"cancelled by request {newest.id}: {why}"
        await ant.report(order, exit_code=None, error_code="ERR_CANCELLED")
        assert (await hive.ended(running.id)).state is State.CANCELLED
        assert f"request {newest.id}" in hive.request(running.id).error_message
        order = await ant.claim()
        assert order.request_id == newest.id
        await ant.work(order)
        await hive.ended(newest.id)


async def test_always_run_tasks_of_the_cancelled_run_before_the_newer_one(hive, repo):
    tasks = "\ntasks:\n  - {task_type: a, script: [x]}\n  - {task_type: tidy, script: [y], always_run: true}\n"
    await watched(hive, repo, ci=deploy(cancel="true").replace("script: echo\n", tasks))
    async with hive.ant(hands=2) as ant:
        first = await hive.submit()
        order = await ant.claim()
        second, third = await hive.submit(), await hive.submit()
        assert state(hive, second) == ["CANCELLED"]
        await ant.report(order, exit_code=None, error_code="ERR_CANCELLED")
        tidy = await ant.claim()
        assert (tidy.request_id, tidy.task.task_type) == (first.id, "tidy"), "cancelled once, however many are newer"
        await ant.work(tidy)
        order = await ant.claim()
        assert order.request_id == third.id


async def test_a_request_that_is_just_beginning_is_cancelled_too(hive, repo, monkeypatch):
    """While its execution is written it is neither among those that wait nor among those that run."""
    await watched(hive, repo, ci=deploy(cancel="true"))
    dispatcher, begun = hive.queen._dispatcher, []
    real = Dispatcher._began

    def began(self, start, live, execution):
        begun.append(start.request.id)
        if len(begun) == 1:  # as if the newer one had come just before
            self.board.superseded[start.request.id] = CancelAsked("request 2", "it is newer")
        real(self, start, live, execution)

    monkeypatch.setattr(Dispatcher, "_began", began)
    async with hive.ant() as ant:
        first = await hive.submit()
        order = await ant.claim()
        await hive.until(lambda: hive.execution(first.id).cancelled == 1)
        await ant.report(order, exit_code=None, error_code="ERR_CANCELLED")
        assert (await hive.ended(first.id)).error_message == "Cancelled by request 2: it is newer"
    assert not dispatcher.board.superseded


async def test_a_scheduled_request_cancels_when_it_is_due(open_hive, repo):
    async with open_hive() as hive:
        await watched(hive, repo, ci=deploy(cancel="true"))
        later = await hive.submit(scheduled_at=hive.queen._clock() + 0.3)
        async with hive.ant() as ant:
            running = await hive.submit("ci")
            order = await ant.claim()
            assert order.request_id == running.id
            await hive.until(lambda: hive.execution(running.id).cancelled == 1)
            await ant.report(order, exit_code=None, error_code="ERR_CANCELLED")
            order = await ant.claim()
            assert order.request_id == later.id
            await ant.work(order)


async def test_a_restart_of_the_queen_cancels_only_what_is_older(open_hive, repo):
    async with open_hive() as hive:
        await watched(hive, repo, ci=deploy(cancel="true"), plain=deploy("plain"))
        async with hive.ant():
            pass
        first = await hive.submit("plain")
        second = await hive.submit("plain")
        assert state(hive, first, second) == ["PENDING", "PENDING"]
    async with open_hive() as hive:
        assert state(hive, first, second) == ["PENDING", "PENDING"]
        newest = await hive.submit()
        assert state(hive, first, second, newest) == ["CANCELLED", "CANCELLED", "PENDING"]


async def test_a_group_that_cannot_be_rendered_ends_its_request(hive, repo):
    await watched(hive, repo, ci=deploy().replace("{{ env }}", "{{ nothing }}"))
    ended = await hive.ended((await hive.submit()).id)
    assert (ended.state, ended.error_code) == (State.FAILED, "ERR_DEFINITION")
    assert "There is no `nothing` here" in ended.error_message


async def test_a_group_may_be_named_after_a_branch_of_any_name(hive, repo):
    """What outsiders write is data here: it is compared, and never run."""
    text = deploy().replace("deploy-{{ env }}", "{{ GitBranch }}")
    repo.commit({".formicary/ci.yml": text})
    repo.branch("a;$(b)")
    await hive.watch(repo)
    one, two = await hive.submit(ref="a;$(b)"), await hive.submit(ref="a;$(b)")
    async with hive.ant(hands=2) as ant:
        await ant.claim()
        assert hive.queen.why(two.id) == f"request {one.id} of the concurrency group `a;$(b)` is running"


async def test_what_is_not_trusted_has_groups_of_its_own(hive, repo):
    """T3: a fork's branch may be called `main`; its run neither ends nor holds up the run of `main`."""
    await watched(hive, repo, ci=deploy(cancel="true"))
    async with hive.ant(hands=2) as ant:
        trusted = await hive.submit()
        order = await ant.claim()
        fields = NewRequest.model_fields.keys() - {"secret_params"}
        new = NewRequest(**{**{name: getattr(trusted, name) for name in fields}, "trusted": False, "user_key": None})
        (untrusted, _) = await hive.store.write(lambda tx: tx.create_request(new))
        await hive.queen.created([untrusted])
        assert hive.execution(trusted.id).cancelled == 0
        assert "concurrency group" not in hive.queen.why(untrusted.id)
        await ant.work(order)
        assert (await hive.ended(trusted.id)).state is State.COMPLETED


async def test_what_has_ended_meanwhile_is_not_remembered_as_superseded(hive, repo):
    """It was among those that a newer one cancels, and ended while another of these was cancelled."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    await hive.watch(repo)
    ended = await hive.submit()
    await hive.queen.cancel(ended.id, by="ada")
    await hive.queen._arrivals._cancel(ended.id, ended.id + 1, ("default", None, "g"))
    assert hive.queen._board.superseded == {}
