"""EXPIRE_ARTIFACTS: the queen lets go of what is due, and of what a definition keeps no longer."""

from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.logframes import parse
from formicary.runner.core.records import Artifact
from formicary.runner.core.states import State

EXPIRE = "job_type: tidy\ncron_trigger: 0 * * * *\ntasks:\n- task_type: expire\n  method: EXPIRE_ARTIFACTS\n"
OLDER = (
    EXPIRE
    + "  artifacts: {expires_after: 24h}\n- {task_type: say, needs: [expire], script: 'echo {{ TotalExpired }}'}\n"
)
BUILD = "job_type: ci\ntasks: [{task_type: build, script: [make], artifacts: {paths: [out]}}]\n"
DAY = 86400.0


async def kept(hive, request, **fields):
    """An artifact of that request, kept two days ago unless something else is said."""

    def change(tx):
        values = {"task_execution_id": "1-1", "task_type": "build", "name": "out", "size": 10, "digest": "d" * 64}
        values |= {"created_at": tx.now - 2 * DAY, "repository_id": request.repository_id, **fields}
        return tx.add_artifact(Artifact(request_id=request.id, **values))

    return (await hive.store.write(change)).id


def left(hive):
    return {one.id for one in hive.store.read().artifacts().records}


async def built(hive, ant):
    request = await hive.submit()
    await ant.work(await ant.claim())
    return await hive.ended(request.id)


async def test_what_is_due_goes(hive, repo):
    """As the original does it: no ant is needed, and the outputs say how much it was."""
    repo.commit({".formicary/tidy.yml": EXPIRE, ".formicary/ci.yml": BUILD})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await built(hive, ant)
    due = [await kept(hive, request, expires_at=1.0) for _ in range(3)]
    stays = {
        await kept(hive, request), await kept(hive, request, expires_at=4e9),
        await kept(hive, request, expires_at=1.0, organization_id="other"),
    }  # fmt: skip
    assert left(hive) == {*due, *stays}
    ended = await hive.ended((await hive.submit("tidy")).id)
    attempt = hive.execution(ended.id).tasks["expire"].last
    assert ended.state is State.COMPLETED and left(hive) == stays
    assert (attempt.exit_code, attempt.outputs) == (0, {"TotalExpired": 3, "TotalSize": 30})
    (said,) = parse(hive.logs.read(attempt.id, 0, 1000))
    assert said.stream == "sys" and said.data.startswith(b"3 artifacts have expired, 30 bytes")


async def test_what_is_older_goes_of_the_own_repository_alone(hive, repo, make_repo):
    """T9: nobody's definition takes from others what they want to keep; nor from runs that go on."""
    repo.commit({".formicary/tidy.yml": OLDER, ".formicary/ci.yml": BUILD})
    other = make_repo("other")
    other.commit({".formicary/ci.yml": BUILD.replace("ci", "elsewhere")})
    await hive.watch(repo)
    await hive.watch(other)
    async with hive.ant(hands=2) as ant:
        request = await built(hive, ant)
        old = await kept(hive, request)
        theirs = await kept(hive, request, repository_id=request.repository_id + 1)
        fresh = await kept(hive, request, created_at=4e9)
        running = await hive.submit()
        order = await ant.claim()
        of_running = await kept(hive, running)
        tidy = await hive.submit("tidy")
        say = await ant.claim()
        assert say.task.script == ("echo 1",) and left(hive) == {theirs, fresh, of_running} and old
        await ant.work(say)
        assert (await hive.ended(tidy.id)).state is State.COMPLETED
        ref = ArtifactRef(name="out", digest="e" * 64, size=1)
        await ant.work(order, artifacts=(ref,))
        await hive.ended(running.id)


async def test_many_go_in_several_changes(hive, repo, monkeypatch):
    from formicary.runner.queen.keeping import expiring

    monkeypatch.setattr(expiring, "BATCH", 2)
    monkeypatch.setattr(expiring, "MOST", 4)
    repo.commit({".formicary/tidy.yml": EXPIRE, ".formicary/ci.yml": BUILD})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await built(hive, ant)
    for _ in range(5):
        await kept(hive, request, expires_at=1.0)
    for expected in (4, 1, 0):
        ended = await hive.ended((await hive.submit("tidy")).id)
        assert hive.execution(ended.id).tasks["expire"].last.outputs["TotalExpired"] == expected


async def test_its_except_keeps_it_from_running(hive, repo):
    repo.commit({".formicary/tidy.yml": EXPIRE + "  except: 'true'\n"})
    await hive.watch(repo)
    ended = await hive.ended((await hive.submit("tidy")).id)
    assert ended.state is State.COMPLETED and hive.execution(ended.id).tasks["expire"].state is State.SKIPPED
