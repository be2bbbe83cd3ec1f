"""Which contexts a commit gets, and whose state each one shows."""

import pytest

from formicary.runner.core.records import NewRequest
from formicary.runner.core.states import State

CI = "job_type: ci\ntriggers: {commit: {branches: [main]}}\ntasks: [{task_type: build, script: [make]}]\n"


async def ask_again(hive, like, **fields):
    """The same job, asked for by a pull request with that head, or as `fields` say."""
    known = {name: getattr(like, name) for name in NewRequest.model_fields} | {"state": State.PENDING, "reason": ""}
    new = NewRequest(**{**known, "event": "pull_request", "ref": "refs/pull/7/head", "cause_key": "pull 7", **fields})
    job = hive.queen.job_of(like)

    def change(tx):
        request, _ = tx.create_request(new)
        hive.queen.told.created(tx, request, job)
        return request

    request = await hive.store.write(change)
    await hive.queen.created([request])
    return request


async def finish(hive, *codes):
    async with hive.ant() as ant:
        for code in codes:
            await ant.work(await ant.claim(), exit_code=code)
        await hive.until(lambda: all(one.ended_at for one in hive.requests()))


async def test_a_commit_with_a_push_and_a_pull_request_has_a_context_for_each(world, repo):
    """language.md: ` (pull_request)` where a commit has both; whatever ran first."""
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told:
        await told.watch(repo)
        (push,) = told.hive.requests()
        await ask_again(told.hive, push)
        await finish(told.hive, 0, 1)
        await told.told()
    assert told.double.last("formicary/ci")[0] == "success"
    assert told.double.last("formicary/ci (pull_request)")[0] == "failure"


async def test_a_pull_requests_context_changes_when_its_commit_is_pushed_too(world, repo):
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told:
        await told.watch(repo, forge="")
        (push,) = told.hive.requests()
        await told.hive.queen.cancel(push.id, by="ada")
        other = push.commit[::-1]
        await told.hive.store.write(lambda tx: tx.put_repository(_at_github(tx, push, told)))
        await ask_again(told.hive, push, commit=other)
        await told.told()
        assert set(told.double.history()) == {(other, "formicary/ci")}
        await ask_again(told.hive, push, commit=other, event="push", cause_key="push")
        await told.told()
    assert set(told.double.history()) == {(other, "formicary/ci"), (other, "formicary/ci (pull_request)")}


def _at_github(tx, request, told):
    fields = {"forge": "github", "slug": "acme/app", "api_url": told.api}
    return tx.repository(request.repository_id).model_copy(update=fields)


async def test_the_newest_request_of_a_commit_is_shown(world, repo):
    """A rerun's result stays, however late the older run ends; a branch that excludes the job overrules nothing."""
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told:
        repository = await told.watch(repo)
        await finish(told.hive, 1)
        repo.git("branch", "docs")
        await told.hive.reconciler.sync(repository.id)
        await told.told()
        assert [one.state for one in told.hive.requests()] == [State.FAILED, State.SKIPPED]
        assert told.double.last("formicary/ci")[0] == "failure"
        again = await told.hive.submit()
        await finish(told.hive, 0)
        await told.hive.queen.restart(1, by="ada")
        await finish(told.hive, 1)
        await told.told()
    post = told.double.posts[-1]
    assert (post["state"], post["target_url"]) == ("success", f"https://ci.example/requests/{again.id}")


async def test_a_schedule_tells_what_has_changed_only(world, repo):
    """A forge keeps a thousand statuses of a context: a job of every minute would use them up in a day."""
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told:
        await told.watch(repo)
        await finish(told.hive, 0)
        await told.told()
        (push,) = told.hive.requests()
        before = len(told.double.posts)
        for number, code in enumerate((0, 0, 1, 1, 0)):
            scheduled = {"event": "schedule", "ref": push.ref, "cause_key": f"at {number}"}
            await ask_again(told.hive, push, **scheduled)
            await finish(told.hive, code)
            await told.told()
    assert [post["state"] for post in told.double.posts[before:]] == ["failure", "success"]


async def test_a_definition_names_its_own_context(world, repo):
    """`context` is rendered for the request that it is of, before it is planned and after."""
    own = CI + 'params: {Level: {default: "1"}}\nstatus: {context: "checks/{{ GitBranch }}/{{ Level }}"}\n'
    repo.commit({".formicary/ci.yml": own})
    async with world() as told:
        await told.watch(repo)
        await told.landed(1)
        await finish(told.hive, 0)
        await told.hive.submit(params={"Level": "2"})
        await finish(told.hive, 1)
        await told.told()
    history = {context: states for (_, context), states in told.double.history().items()}
    assert history["checks/main/1"][-1] == "success" and history["checks/main/1"][0] == "pending"
    assert history["checks/main/2"][-1] == "failure" and set(history) == {"checks/main/1", "checks/main/2"}


TASKS = """job_type: ci
triggers: {commit: {}}
status: {per_task: true}
tasks:
  - {task_type: build, script: [make], on_completed: test}
  - {task_type: test, script: [make test], on_completed: ship}
  - {task_type: ship, script: [make ship]}
  - {task_type: report, script: [make report], needs: [ship]}
"""


async def test_each_task_may_have_a_status_of_its_own(world, repo):
    repo.commit({".formicary/ci.yml": TASKS})
    async with world() as told:
        await told.watch(repo)
        await told.landed(5)
        assert {context for _, context in told.double.history()} == {
            "formicary/ci",
            *(f"formicary/ci/{name}" for name in ("build", "test", "ship", "report")),
        }
        await finish(told.hive, 0, 2, 0)
        await told.told()
        for request in told.hive.requests():  # owed again, as after a crash between the post and its note
            for name in ("build", "test"):
                payload = {"request_id": request.id, "task": name}
                await told.hive.store.write(lambda tx, payload=payload: tx.owe("status", payload["task"], payload))
        await told.told()
    ends = {context: [one for one in said if one != "pending"] for (_, context), said in told.double.history().items()}
    assert set(map(len, ends.values())) == {1}, "nothing is posted twice in the same words"
    last = {context: told.double.last(context)[0] for _, context in told.double.history()}
    assert (last["formicary/ci"], last["formicary/ci/build"], last["formicary/ci/test"]) == (
        "failure",
        "success",
        "failure",
    )
    assert (last["formicary/ci/ship"], last["formicary/ci/report"]) == ("success", "success")
    assert told.double.last("formicary/ci/ship")[1] == "skipped: No outcome led to this task."
    assert told.double.last("formicary/ci/test")[1].startswith("failed: exit code 2")


async def test_every_task_of_a_skipped_job_is_told(world, repo):
    """D11: required checks of tasks are not left waiting either."""
    repo.commit({".formicary/ci.yml": TASKS.replace("commit: {}", "commit: {branches: [other]}")})
    async with world() as told:
        await told.watch(repo)
        await told.told()
    assert [states for _, states in told.double.history().items()] == [["success"]] * 5
    assert told.double.last("formicary/ci/ship")[1].startswith("skipped: ")


async def test_a_job_that_wants_no_status_has_none(world, repo):
    repo.commit({".formicary/ci.yml": CI + "status: {enabled: false}\n"})
    async with world() as told:
        await told.watch(repo)
        await finish(told.hive, 0)
        assert told.hive.store.read().outbox().records == ()


async def test_no_secret_is_in_a_status(world, repo):
    """T8: what the ant says of a failure is masked, whatever it holds."""
    repo.commit({".formicary/ci.yml": CI})
    async with world(mask=lambda text: text.replace("hunter2-hunter2", "***")) as told, told.hive.ant() as ant:
        await told.watch(repo)
        order = await ant.claim()
        await ant.work(order, exit_code=None, error_code="ERR_CHECKOUT", error_message=f"{'x' * 100} hunter2-hunter2")
        await told.hive.ended(told.hive.requests()[0].id)
        await told.told()
    state, said = told.double.last("formicary/ci")
    assert (state, "hunter" in said, "***" in said) == ("error", False, True)


@pytest.mark.parametrize("ids", [{"request_id": 99}, {"repository_id": 1, "commit": "a" * 40}])
async def test_what_is_gone_is_not_told(world, repo, ids):
    """Retention was faster, or history was rewritten: nobody asks for that status any more."""
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told:
        await told.watch(repo)
        await told.told()
        before = len(told.double.posts)
        await told.hive.store.write(lambda tx: tx.owe("status", "x", ids))
        await told.told()
        assert (len(told.double.posts), told.dead()) == (before, [])
