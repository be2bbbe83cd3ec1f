"""Artifacts by their ids (`artifact_ids`) and by their URLs (`<task>_ArtifactURL_<n>`)."""

import pytest

from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.records import Artifact, NewRequest
from formicary.runner.core.states import State

BUILD = "job_type: build\ntasks: [{task_type: make, script: [make], artifacts: {paths: [out, doc]}}]\n"
USE = """
job_type: use
params: {Build: {default: "0"}}
tasks: [{task_type: try, script: [./out], artifact_ids: ["{{ Build }}"]}]
"""
URLS = """
job_type: urls
tasks:
- {task_type: split, script: [make], artifacts: {paths: [none, a, b]}}
- {task_type: with-dash, script: [make], artifacts: {paths: [c]}}
- {task_type: use, needs: [split, with-dash], script: ["get {{ split_ArtifactURL_2 }}"]}
"""
A, B = "a" * 64, "b" * 64


def ref(name, number, digest=A, **fields):
    return ArtifactRef(name=name, number=number, digest=digest, size=3, **fields)


async def built(hive, ant):
    request = await hive.submit("build")
    await ant.work(await ant.claim(), artifacts=(ref("out", 1, executable=True), ref("doc", 2, B, kind="tar")))
    await hive.ended(request.id)
    return hive.store.read().artifacts(request_id=request.id).records


@pytest.fixture
async def watched(hive, repo):
    repo.commit({".formicary/build.yml": BUILD, ".formicary/use.yml": USE, ".formicary/urls.yml": URLS})
    await hive.watch(repo)
    return hive


async def test_artifacts_of_another_run_are_put_in_place(watched):
    async with watched.ant() as ant:
        kept = {one.name: one.id for one in await built(watched, ant)}
        request = await watched.submit("use", params={"Build": str(kept["out"])})
        order = await ant.claim()
        (given,) = order.inputs
        assert (given.task_type, given.artifact, given.folder) == ("make", ref("out", 1, executable=True), "")
        await ant.work(order)
        assert (await watched.ended(request.id)).state is State.COMPLETED


@pytest.mark.parametrize("said", ["0", "7777", "out", "-1", "1e3", "9" * 30])
async def test_what_is_no_artifact_fails_the_task(watched, said):
    async with watched.ant() as ant:
        request = await watched.submit("use", params={"Build": said})
        order = await _claimed_or_ended(watched, ant, request)
        assert order is None
    ended = watched.request(request.id)
    assert (ended.state, ended.error_code) == (State.FAILED, "ERR_ARTIFACT") and "artifact" in ended.error_message


async def _claimed_or_ended(hive, ant, request):
    import anyio

    claimed = None
    async with anyio.create_task_group() as group:

        async def claim():
            nonlocal claimed
            claimed = await ant.claim()

        group.start_soon(claim)
        await hive.ended(request.id)
        group.cancel_scope.cancel()
    return claimed


async def test_what_is_not_this_repositorys_or_not_trusted_is_not_there(watched, make_repo):
    """T9, T19: no artifact of another repository, and none that strangers could have made."""
    store = watched.store
    repository_id = store.read().repositories()[0].id
    version_id = store.read().definitions()[0].version_id

    def add(tx, trusted, **fields):
        request, _ = tx.create_request(NewRequest(version_id=version_id, job_type="build", trusted=trusted))
        tx.end_request(request.id, State.SKIPPED)
        values = {"task_execution_id": "9-9", "task_type": "make", "name": "out", "digest": A, **fields}
        return tx.add_artifact(Artifact(request_id=request.id, **values)).id

    wrong = [
        await store.write(lambda tx: add(tx, True, repository_id=repository_id + 1)),
        await store.write(lambda tx: add(tx, True)),
        await store.write(lambda tx: add(tx, True, repository_id=repository_id, organization_id="other")),
        await store.write(lambda tx: add(tx, False, repository_id=repository_id)),
    ]
    right = await store.write(lambda tx: add(tx, True, repository_id=repository_id))
    async with watched.ant() as ant:
        for one in wrong:
            request = await watched.submit("use", params={"Build": str(one)})
            assert await _claimed_or_ended(watched, ant, request) is None
            assert "is of another repository" in watched.request(request.id).error_message
        request = await watched.submit("use", params={"Build": str(right)})
        order = await ant.claim()
        assert [one.artifact.name for one in order.inputs] == ["out"], "its attempt is gone, the row says enough"
        await ant.work(order)
        await watched.ended(request.id)


async def test_urls_of_what_tasks_kept(watched):
    """By the path's number in the definition: one that matched nothing has no URL, and moves no other."""
    async with watched.ant() as ant:
        request = await watched.submit("urls")
        for _ in range(2):
            order = await ant.claim()
            refs = (ref("a", 2), ref("b", 3, B)) if order.task.task_type == "split" else (ref("c", 1),)
            await ant.work(order, artifacts=refs)
        use = await ant.claim()
        split = watched.execution(request.id).tasks["split"].last.id
        assert use.task.script == (f"get /api/tasks/{split}/artifacts/2",)
        urls = {name: text for name, text in use.environment.items() if "ArtifactURL" in name}
        assert urls == {f"split_ArtifactURL_{n}": f"/api/tasks/{split}/artifacts/{n}" for n in (2, 3)}
        assert not any("ArtifactURL" in note for note in use.notes)
        await ant.work(use)
        await watched.ended(request.id)
