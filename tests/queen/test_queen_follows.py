"""`completed`: who runs because another job has ended successfully, and that a crash loses none."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

import anyio

from formicary.runner.core.states import State
from formicary.runner.publish.outbox import Outbox

BUILD = "job_type: build\nscript: [make]\n"
DEPLOY = "job_type: deploy\ntriggers: {completed: [build]}\nscript: [\"deploy {{ UpstreamJobID | default('') }}\"]\n"


async def watched(hive, repo, **files):
    repo.commit({f".formicary/{name}.yml": text for name, text in files.items()})
    return await hive.watch(repo)


@asynccontextmanager
async def told(hive):
    """The worker that carries out what is owed."""
    outbox = Outbox(hive.store, [hive.queen.followers], time.time)
    hive.store.when_owed(outbox.wake)
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        yield
        group.cancel_scope.cancel()


async def run(hive, job="build", **result):
    fields = {name: result.pop(name) for name in ("ref", "repository") if name in result}
    request = await hive.submit(job, **fields)
    async with hive.ant() as ant:
        await ant.work(await ant.claim(), **result)
        return await hive.ended(request.id)


def followers(hive):
    return [one for one in hive.requests() if one.event == "completed"]


async def settled(hive):
    """Wait until nothing is owed."""
    with anyio.fail_after(10):
        while hive.store.read().outbox_counts().living:
            await anyio.sleep(0.01)


async def test_a_job_follows_one_that_has_completed(hive, repo):
    await watched(hive, repo, build=BUILD, deploy=DEPLOY)
    async with told(hive):
        first = await run(hive)
        await hive.until(lambda: followers(hive))
        (one,) = followers(hive)
        assert (one.job_type, one.ref, one.created_by) == ("deploy", "refs/heads/main", f"request {first.id}")
        assert (one.params["UpstreamJobID"], one.params["UpstreamJobType"]) == (first.id, "build")
        async with hive.ant() as ant:
            order = await ant.claim()
            assert order.task.script == (f"deploy {first.id}",)
            await ant.work(order)
        await run(hive, exit_code=1)
        await settled(hive)
        assert len(followers(hive)) == 1, "a failure starts nothing"


async def test_a_crash_loses_no_follower_and_doubles_none(open_hive, repo):
    async with open_hive() as hive:
        await watched(hive, repo, build=BUILD, deploy=DEPLOY)
        await run(hive)
        (owed,) = hive.store.read().outbox(kind="completed").records
    async with open_hive() as hive, told(hive):
        await hive.until(lambda: followers(hive))
        await hive.queen.followers.publish(owed.key, owed.payload)
        assert len(followers(hive)) == 1


async def test_what_ran_elsewhere_starts_nothing(hive, repo):
    await watched(hive, repo, build=BUILD, deploy=DEPLOY)
    repo.branch("feature")
    repo.tag("v1")
    (stored,) = hive.store.read().repositories()
    await hive.reconciler.sync(stored.id)
    async with told(hive):
        await run(hive, ref="feature")
        await settled(hive)
        assert not followers(hive)
        tagged = await run(hive, ref="v1")
        await settled(hive)
    assert [one.created_by for one in followers(hive)] == [f"request {tagged.id}"]


async def test_the_same_repository_comes_first_then_the_organization(hive, repo, make_repo):
    other = make_repo("other")
    await watched(hive, repo, build=BUILD, deploy=DEPLOY)
    await watched(hive, other, build=BUILD, release="job_type: release\nscript: [x]\n")
    async with told(hive):
        await run(hive, repository="other")
        await settled(hive)
        assert not followers(hive), "its own repository has a `build`"
        after = DEPLOY.replace("[build]", "[release]")
        repo.commit({".formicary/deploy.yml": after})
        (stored, _) = hive.store.read().repositories()
        await hive.reconciler.sync(stored.id)
        await run(hive, "release")
        await settled(hive)
    assert [one.repository_id for one in followers(hive)] == [stored.id]


async def test_a_disabled_follower_does_not_start(hive, repo):
    await watched(hive, repo, build=BUILD, deploy=DEPLOY)
    definition = hive.store.read().definition_named("deploy")
    await hive.queen.registry.disable(definition.id, True)
    async with told(hive):
        await run(hive)
        await settled(hive)
        assert not followers(hive)


async def test_jobs_that_follow_each_other_stop_with_a_reason(hive, repo):
    await watched(hive, repo, build=BUILD.replace("script", "triggers: {completed: [deploy]}\nscript"), deploy=DEPLOY)
    async with told(hive), hive.ant() as ant:
        await hive.submit("build")
        await ant.work(await ant.claim())
        await ant.work(await ant.claim())
        await hive.until(lambda: len(followers(hive)) == 2)
        last = followers(hive)[-1]
        assert last.state is State.SKIPPED
        assert last.reason == "it would run in a circle: `build` → `deploy` → `build`"
        await settled(hive)


async def test_a_schedule_among_the_triggers_is_a_cron_trigger(open_hive, repo):
    async with open_hive() as hive:
        text = "job_type: ci\ntriggers: {schedule: '* * * * * * *'}\nscript: [make]\n"
        await watched(hive, repo, ci=text)
        await hive.until(lambda: hive.requests(job_type="ci"))
        assert hive.requests()[0].event == "schedule"
