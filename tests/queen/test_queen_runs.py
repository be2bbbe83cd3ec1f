"""Requests from their submission to their end, with an ant that does what it is told."""

import time

import anyio
import pytest

from formicary.runner.core.errors import Conflict, DefinitionError, NotFound, RequestRefused
from formicary.runner.core.states import State

TWO = """
job_type: ci
tasks:
  - task_type: build
    script: [make]
    outputs: [version]
  - task_type: test
    needs: [build]
    script: ["echo {{ version }}"]
"""


async def test_a_job_runs_task_by_task_and_outputs_reach_the_next(hive, repo):
    repo.commit({".formicary/ci.yml": TWO.replace("    outputs: [version]\n", "")})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        build = await ant.claim()
        assert (build.task.task_type, build.attempt, build.request_id) == ("build", 1, request.id)
        await ant.work(build, outputs={"version": "1.2"})
        test = await ant.claim()
        assert test.task.script == ("echo 1.2",)
        assert test.environment["version"] == "1.2"
        await ant.work(test)
        ended = await hive.ended(request.id)
    assert ended.state is State.COMPLETED
    assert [run.state for run in hive.execution(request.id).tasks.values()] == [State.COMPLETED, State.COMPLETED]


async def test_the_order_names_commit_and_what_tools_look_for(hive, repo):
    sha = repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"}, "say hello")
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        order = await ant.claim()
        await ant.work(order)
        await hive.ended(request.id)
    assert (order.source.kind, order.source.commit, order.source.branch) == ("commit", sha, "main")
    wanted = {"CI": "true", "FORMICARY": "true", "CI_COMMIT_SHA": sha, "CI_COMMIT_BRANCH": "main", "CI_JOB_NAME": "ci"}
    assert wanted.items() <= order.environment.items()
    assert order.environment["GitCommitMessage"] == "say hello"
    assert order.environment["JobID"] == str(request.id)


async def test_the_order_names_the_ref_to_check_out_instead(hive, repo):
    """The commit under test stays what statuses and variables are about."""
    repo.commit({"a": "1"})
    repo.tag("v1")
    sha = repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\ncheckout: {ref: v1, depth: 3}\n"})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        order = await ant.claim()
        await ant.work(order)
        await hive.ended(request.id)
    source = order.source
    assert (source.kind, source.ref, source.commit, source.branch, source.depth) == ("commit", "v1", "", "", 3)
    assert order.environment["CI_COMMIT_SHA"] == sha


async def test_failure_is_retried_and_then_told(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\ntasks: [{task_type: t, script: [make], retry: 1}]\n"})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        first = await ant.claim()
        await ant.work(first, exit_code=2)
        second = await ant.claim()
        assert second.fence > first.fence
        assert second.environment["TaskRetry"] == "1"
        await ant.work(second, exit_code=2)
        ended = await hive.ended(request.id)
    assert ended.state is State.FAILED
    assert ended.error_message == "task `t` failed with exit code 2 (attempt 2 of 2)"
    assert hive.queen.why(request.id) == ended.error_message


async def test_an_old_fence_changes_nothing(hive, repo):
    """D2: every write of a worker carries its fence; an old one is refused."""
    repo.commit({".formicary/ci.yml": "job_type: ci\ntasks: [{task_type: t, script: [make], retry: 1}]\n"})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        first = await ant.claim()
        await ant.report(first, "LOST")
        second = await ant.claim()
        await ant.report(first, exit_code=0)
        assert hive.request(request.id).state is not State.COMPLETED
        assert await hive.bus.heartbeat("a1", {first.task_execution_id: first.fence}) == {first.task_execution_id}
        await ant.work(second, exit_code=0)
        ended = await hive.ended(request.id)
    assert ended.state is State.COMPLETED
    attempts = hive.execution(request.id).tasks["t"].attempts
    assert [(one.state, one.error_code) for one in attempts] == [(State.FAILED, "ERR_ANT_LOST"), (State.COMPLETED, "")]


async def test_a_silent_ant_loses_its_lease_and_the_task_runs_again(open_hive, repo):
    """D2, D12: lost is told apart from failed and uses no retry of the user's."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    async with open_hive(lease_seconds=0.2) as hive:
        await hive.watch(repo)
        async with hive.ant() as ant:
            request = await hive.submit()
            silent = await ant.claim()
            again = await ant.claim()
            assert again.fence > silent.fence
            await ant.work(again)
            assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_heartbeats_keep_the_lease(open_hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    async with open_hive(lease_seconds=1.5) as hive:  # a second of which a busy machine may lose
        await hive.watch(repo)
        async with hive.ant() as ant:
            request = await hive.submit()
            order = await ant.claim()
            for _ in range(4):
                await anyio.sleep(0.5)
                assert await hive.bus.heartbeat("a1", {order.task_execution_id: order.fence}) == frozenset()
            await ant.work(order)
            await hive.ended(request.id)
    assert order.fence == 1


async def test_an_ant_that_leaves_gives_its_task_back(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    await hive.watch(repo)
    async with hive.ant("a1") as ant:
        request = await hive.submit()
        await ant.claim()
    async with hive.ant("a2") as other:
        await other.work(await other.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_a_claim_that_is_given_up_returns_its_order(hive, repo):
    """D3: an order that nobody took up goes back, and no budget is used."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    await hive.watch(repo)
    async with hive.ant() as ant:
        with anyio.move_on_after(0.05):
            await ant.claim()
        request = await hive.submit()
        await ant.work(await ant.claim())
        await hive.ended(request.id)
    assert (
        len(hive.execution(request.id).tasks["main" if "main" in hive.execution(request.id).tasks else "ci"].attempts)
        == 1
    )


async def test_cancel_while_it_waits_and_while_it_runs(hive, repo):
    repo.commit(
        {
            ".formicary/ci.yml": "job_type: ci\ntasks:\n"
            "  - {task_type: t, script: [make]}\n  - {task_type: clean, script: [rm], always_run: true}\n"
        }
    )
    await hive.watch(repo)
    waits = await hive.submit()
    assert (await hive.queen.cancel(waits.id, by="ada")).state is State.CANCELLED
    async with hive.ant() as ant:
        request = await hive.submit()
        order = await ant.claim()
        await hive.queen.cancel(request.id, by="ada", reason="wrong branch")
        with anyio.fail_after(5):
            async for stopped in hive.bus.stops("a1"):
                assert stopped == order.task_execution_id
                break
        await ant.report(order, exit_code=143, error_code="ERR_CANCELLED")
        clean = await ant.claim()
        assert clean.task.task_type == "clean"
        await ant.work(clean)
        ended = await hive.ended(request.id)
    assert ended.state is State.CANCELLED
    with pytest.raises(Conflict):
        await hive.queen.cancel(request.id, by="ada")


async def test_max_concurrency_one_means_one_and_says_why(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nmax_concurrency: 1\nscript: [make]\n"})
    await hive.watch(repo)
    async with hive.ant(hands=2) as ant:
        first, second = await hive.submit(), await hive.submit()
        order = await ant.claim()
        assert order.request_id == first.id
        assert "1 of 1" in hive.queen.why(second.id)
        with anyio.move_on_after(0.1) as scope:
            await ant.claim()
        assert scope.cancelled_caught
        await ant.work(order)
        await ant.work(await ant.claim())
        assert (await hive.ended(second.id)).state is State.COMPLETED


async def test_restart_runs_the_same_request_again(hive, repo):
    repo.commit(
        {
            ".formicary/ci.yml": "job_type: ci\ntasks:\n"
            "  - {task_type: a, script: [make]}\n  - {task_type: b, needs: [a], script: [test]}\n"
        }
    )
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim())
        await ant.work(await ant.claim(), exit_code=1)
        assert (await hive.ended(request.id)).state is State.FAILED
        await hive.queen.restart(request.id, by="ada", failed=True)
        again = await ant.claim()
        assert again.task.task_type == "b"
        await ant.work(again)
        ended = await hive.ended(request.id)
    assert (ended.state, ended.executions, ended.error_message) == (State.COMPLETED, 2, "")


async def test_skip_if_and_except(hive, repo):
    repo.commit(
        {
            ".formicary/skip.yml": "job_type: skip\nskip_if: \"{{ GitBranch == 'main' }}\"\nscript: [make]\n",
            ".formicary/part.yml": "job_type: part\ntasks:\n"
            "  - {task_type: a, script: [make]}\n"
            "  - {task_type: b, needs: [a], except: \"{{ x == '1' }}\", script: [test]}\n"
            "  - {task_type: c, needs: [b], script: [test]}\n",
        }
    )
    await hive.watch(repo)
    async with hive.ant() as ant:
        skipped = await hive.ended((await hive.submit("skip")).id)
        assert (skipped.state, skipped.reason) == (State.SKIPPED, "its skip_if is true")
        request = await hive.submit("part")
        await ant.work(await ant.claim(), outputs={"x": "1"})
        third = await ant.claim()
        assert third.task.task_type == "c"
        await ant.work(third)
        await hive.ended(request.id)
    assert hive.execution(request.id).tasks["b"].state is State.SKIPPED


async def test_what_cannot_be_rendered_fails_with_its_place(hive, repo):
    repo.commit({".formicary/ci.yml": 'job_type: ci\nscript: ["echo {{ nowhere }}"]\n'})
    await hive.watch(repo)
    ended = await hive.refused()
    assert (ended.state, ended.error_code) == (State.FAILED, "ERR_DEFINITION")
    assert ".formicary/ci.yml:2:" in ended.error_message


async def test_untrusted_text_never_becomes_code(hive, repo):
    """T6: a commit message in a script fails before it starts, and the error says what to do."""
    repo.commit({".formicary/ci.yml": 'job_type: ci\nscript: ["echo {{ GitCommitMessage }}"]\n'}, "$(rm -rf ~)")
    await hive.watch(repo)
    ended = await hive.refused()
    assert ended.state is State.FAILED
    assert '"$GitCommitMessage"' in ended.error_message


async def test_parameters_are_checked_and_secrets_stay_out_of_the_record(hive, repo):
    """T8: a secret parameter's value is in no record that is shown."""
    repo.commit(
        {
            ".formicary/ci.yml": "job_type: ci\nrequired_params: [Env, Key]\n"
            "params: {Env: {enum: [dev, prod]}, Key: {secret: true}}\n"
            'script: ["deploy {{ Env }} {{ Key }}"]\n'
        }
    )
    await hive.watch(repo)
    with pytest.raises(RequestRefused, match="`Env`, `Key`"):
        await hive.submit()
    with pytest.raises(RequestRefused, match="dev, prod"):
        await hive.submit(params={"Env": "x", "Key": "k"})
    async with hive.ant() as ant:
        request = await hive.submit(params={"Env": "dev", "Key": "s3cret-value"})
        order = await ant.claim()
        assert order.secrets == {"Key": "s3cret-value"}
        assert "s3cret-value" not in order.task.model_dump_json()
        assert "s3cret-value" not in repr(order)
        await ant.work(order)
        await hive.ended(request.id)
    shown = hive.request(request.id).model_dump_json() + hive.execution(request.id).model_dump_json()
    assert "s3cret-value" not in shown
    assert hive.store.read().secret_params(request.id) == {}


async def test_unknown_things_are_named(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n", ".formicary/bad.yml": "job_type: bad\nx: 1\n"})
    await hive.watch(repo)
    with pytest.raises(NotFound, match="there is ci"):
        await hive.submit("nope")
    with pytest.raises(NotFound, match="no repository called `other`"):
        await hive.submit("ci", repository="other")
    with pytest.raises(DefinitionError, match=r"bad\.yml:2"):
        await hive.submit("bad")


async def test_user_key_is_unique_while_its_request_is_alive(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    await hive.watch(repo)
    first, second = await hive.submit(user_key="k"), await hive.submit(user_key="k")
    assert first.id == second.id
    await hive.queen.cancel(first.id, by="ada")
    assert (await hive.submit(user_key="k")).id != first.id


async def test_a_job_waits_for_an_ant_of_its_platform(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nplatform: linux/arm64\nscript: [make]\n"})
    await hive.watch(repo)
    async with hive.ant("big", platform="linux/x86_64") as big, anyio.create_task_group() as group:
        group.start_soon(big.claim)
        request = await hive.submit()
        await hive.until(lambda: "platform linux/arm64" in hive.queen.why(request.id))
        async with hive.ant("small", platform="linux/aarch64") as small:
            await small.work(await small.claim())
            assert (await hive.ended(request.id)).state is State.COMPLETED
        group.cancel_scope.cancel()


async def test_a_request_for_later_waits_until_then(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    await hive.watch(repo)
    async with hive.ant() as ant:
        due = time.time() + 0.3
        request = await hive.submit(scheduled_at=due)
        assert "due" in hive.queen.why(request.id)
        order = await ant.claim()
        assert time.time() >= due
        await ant.work(order)
        assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_a_long_line_of_one_job_does_not_hide_another(hive, repo):
    """Priority first, and what cannot run now keeps nobody else waiting."""
    repo.commit(
        {
            ".formicary/a.yml": "job_type: a\nmax_concurrency: 1\nscript: [make]\n",
            ".formicary/b.yml": "job_type: b\nscript: [make]\n",
            ".formicary/c.yml": "job_type: c\ntags: [gpu]\nscript: [make]\n",
        }
    )
    await hive.watch(repo)
    for _ in range(20):
        await hive.submit("c", priority=9)
        await hive.submit("a")
    late = await hive.submit("b")
    urgent = await hive.submit("b", priority=5)
    async with hive.ant(hands=3) as ant:
        first, second, third = [await ant.claim() for _ in range(3)]
    assert first.request_id == urgent.id
    assert second.job_type == "a"
    assert third.request_id == late.id


async def test_she_is_well_while_she_runs(open_hive):
    async with open_hive() as hive:
        assert hive.queen.health() == {"queen": "", "ants": "no ant is there", "secrets": ""}
        async with hive.ant():
            assert hive.queen.health() == {"queen": "", "ants": "", "secrets": ""}
    assert hive.queen.health()["queen"] == "she is not there"
