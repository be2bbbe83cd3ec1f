"""Forked jobs: the queen forks them, waits for them, and gives what they have left to the tasks that come later."""

import anyio
import pytest

from formicary.runner.core.errors import ERR_FORK, ERR_FORKED_JOB
from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.states import TERMINAL, State

JOIN = """
job_type: ci
max_concurrency: 1
params: {Quality: {default: low}}
tasks:
  - task_type: one
    method: FORK_JOB
    fork_job_type: encode
    variables: {File: a.avi}
  - task_type: two
    method: JOB_FORK
    fork_job_type: encode
    sub_workflow: {input_params: {File: b.avi}}
  - task_type: both
    method: AWAIT_FORKED_JOB
    await_forked_tasks: [one, two]
    on_exit_code: {"9": mend}
  - {task_type: mend, script: [mend]}
  - task_type: join
    dependencies: [both]
    script: ["join {{ both.Size }} {{ one.Size }} {{ one.ForkedJobID }}"]
"""
ENCODE = "job_type: encode\nmax_concurrency: 1\nrequired_params: [File]\nscript: ['encode {{ File }}']\n"
FILES = {".formicary/ci.yml": JOIN, ".formicary/encode.yml": ENCODE}


def children(hive, parent):
    return hive.store.read().children(parent.id)


async def forked(hive, parent, count):
    await hive.until(lambda: len(children(hive, parent)) == count)
    return children(hive, parent)


async def do(hive, *results, hands=1):
    """One ant does as many tasks as there are results, and gives what each of them ran."""
    done = []
    async with hive.ant(hands=hands) as ant:
        for result in results:
            order = await ant.claim()
            done.append(order)
            await ant.work(order, **result)
    return done


async def test_fork_and_join(hive, repo):
    """Its children run meanwhile; what they leave is the await task's: outputs, artifacts, exit code."""
    commit = repo.commit(FILES)
    await hive.watch(repo)
    parent = await hive.submit(params={"Quality": "high"})
    kept = ArtifactRef(name="out", digest="1" * 64)
    async with hive.ant() as ant:
        first, second = await forked(hive, parent, 2)
        assert (first.parent_id, first.commit, first.event) == (parent.id, commit, "manual")
        assert first.params["File"] == "a.avi" and first.params["Quality"] == "high"
        assert second.params["File"] == "b.avi" and "Quality" not in second.params
        for size, one in enumerate((first, second)):
            order = await ant.claim()
            assert (order.request_id, order.job_type) == (one.id, "encode")
            await ant.work(order, outputs={"Size": size}, artifacts=(kept,))
        joins = await ant.claim()
        assert joins.task.script == (f"join 1 0 {first.id}",)
        assert [(one.folder, one.artifact.name) for one in joins.inputs] == [("one", "out"), ("two", "out")]
        await ant.work(joins)
        assert (await hive.ended(parent.id)).state is State.COMPLETED


async def test_the_await_task_ends_as_the_worst_child(hive, repo):
    """Its exit code is that of the child, and may lead on."""
    repo.commit(FILES)
    await hive.watch(repo)
    parent = await hive.submit()
    done = await do(hive, {}, {"exit_code": 9}, {})
    assert [order.task.task_type for order in done] == ["encode", "encode", "mend"]
    ended = await hive.ended(parent.id)
    assert ended.state is State.FAILED
    both = hive.execution(parent.id).tasks["both"].last
    assert (both.exit_code, both.error_code) == (9, ERR_FORKED_JOB)
    failed = done[1].request_id
    assert f"1 of 2 forked jobs did not complete; request {failed} (`encode`) failed" in ended.error_message


async def test_who_only_waits_takes_nobodys_place(hive, repo):
    """max_concurrency 1: another request of the job runs while the first waits; it is admitted again afterwards."""
    repo.commit({".formicary/ci.yml": JOIN + "  - {task_type: other, script: [other]}\n", ".formicary/e.yml": ENCODE})
    await hive.watch(repo)
    first, second = await hive.submit(), await hive.submit()
    async with hive.ant() as ant:
        order = await ant.claim()
        assert (order.request_id, order.task.task_type) == (first.id, "other")
        assert "1 of 1 runs of `ci`" in hive.queen.why(second.id)
        await ant.work(order)
        seen = {}
        while hive.request(second.id).state is State.PENDING:
            order = await ant.claim()
            seen[order.request_id] = order.job_type
            if order.request_id != second.id:
                await ant.work(order, outputs={"Size": 1})
        assert hive.request(first.id).state not in TERMINAL
        await ant.work(order)
        for _ in range(10):
            if hive.request(first.id).state in TERMINAL and hive.request(second.id).state in TERMINAL:
                break
            with anyio.move_on_after(2):
                await ant.work(await ant.claim(), outputs={"Size": 1})
    assert {hive.request(one.id).state for one in (first, second)} == {State.COMPLETED}


SUB = """
job_type: ci
tasks:
  - task_type: etl
    method: FORK_JOB
    fork_job_type: child
    sub_workflow:
      input_params: [{name: Table, value: "{{ GitCommitMessage }}"}]
      output_variables: [{name: rows, value: etl_rows}]
      wait_for_completion: true
  - {task_type: report, needs: [etl], script: ["rows {{ etl_rows }}"]}
"""


async def test_a_sub_workflow_waits_and_renames_and_taint_goes_down(hive, repo):
    """T6: what outsiders wrote stays tainted in the child, and does not become code there."""
    repo.commit(
        {
            ".formicary/ci.yml": SUB,
            ".formicary/child.yml": "job_type: child\ntasks:\n  - {task_type: a, script: [a]}\n"
            "  - {task_type: b, needs: [a], script: ['load {{ Table }}'], allow_failure: true}\n",
        },
        message="x; rm -rf /",
    )
    await hive.watch(repo)
    parent = await hive.submit()
    done = await do(hive, {"outputs": {"rows": 7, "more": 1}}, {})
    assert [order.task.script for order in done] == [("a",), ("rows 7",)]
    (child,) = children(hive, parent)
    assert "Table" in child.tainted and child.params["Table"] == "x; rm -rf /"
    b = hive.execution(child.id).tasks["b"].last
    assert "outsiders can write" in b.error_message
    assert (await hive.ended(parent.id)).state is State.COMPLETED
    outputs = hive.execution(parent.id).tasks["etl"].last.outputs
    assert outputs == {"ForkedJobID": child.id, "ForkedJobType": "child", "etl_rows": 7}


FAN = """
job_type: ci
tasks:
  - {task_type: list, script: [list]}
  - task_type: each
    needs: [list]
    method: FORK_JOB
    fan_out: {source: regions, item_var: region, max_parallel: 2, fail_fast: %s, fork_job_type: deploy}
  - task_type: report
    needs: [each]
    script: ["{{ url | join(',') }} {{ region_0_status }} {{ FanOutItemCount }}"]
"""
DEPLOY = {".formicary/d.yml": "job_type: deploy\nmax_concurrency: 9\nscript: ['deploy {{ region }}']\n"}


async def test_fan_out_forks_once_an_item(hive, repo):
    """max_parallel of them at a time; outputs are gathered as lists."""
    repo.commit({".formicary/ci.yml": FAN % "false", **DEPLOY})
    await hive.watch(repo)
    parent = await hive.submit()
    async with hive.ant(hands=5) as ant:
        await ant.work(await ant.claim(), outputs={"regions": '["eu", "us", "jp", "cn"]'})
        await forked(hive, parent, 4)
        first, second = await ant.claim(), await ant.claim()
        waits = [one for one in children(hive, parent) if one.state is State.PENDING]
        assert len(waits) == 2 and "siblings" in hive.queen.why(waits[0].id)
        for number, order in enumerate((first, second)):
            await ant.work(order, outputs={"url": f"u{number}"})
        third, fourth = await ant.claim(), await ant.claim()
        assert [one.task.script[0] for one in (first, second, third, fourth)] == [
            f"deploy {item}" for item in ("eu", "us", "jp", "cn")
        ]
        await ant.work(fourth, outputs={"url": "u3"})
        await ant.work(third, outputs={"url": "u2"})
        report = await ant.claim()
        assert report.task.script == ("u0,u1,u2,u3 COMPLETED 4",)
        await ant.work(report)
        assert (await hive.ended(parent.id)).state is State.COMPLETED


async def test_fail_fast_ends_the_others(hive, repo):
    """Those that run and those whose turn has not come."""
    repo.commit({".formicary/ci.yml": FAN % "true", **DEPLOY})
    await hive.watch(repo)
    parent = await hive.submit()
    async with hive.ant(hands=5) as ant:
        await ant.work(await ant.claim(), outputs={"regions": "[1, 2, 3, 4]"})
        first, second = await ant.claim(), await ant.claim()
        await ant.report(second, "EXECUTING")
        await ant.work(first, exit_code=4)
        await hive.until(lambda: hive.execution(second.request_id).cancelled)
        await ant.report(second, exit_code=143)
        ended = await hive.ended(parent.id)
    states = [one.state for one in children(hive, parent)]
    assert states == [State.FAILED, State.CANCELLED, State.CANCELLED, State.CANCELLED]
    assert ended.state is State.FAILED
    assert hive.execution(parent.id).tasks["each"].last.exit_code == 4


async def test_no_items_no_jobs(hive, repo):
    repo.commit({".formicary/ci.yml": FAN.replace("source: regions", "source: []") % "false", **DEPLOY})
    await hive.watch(repo)
    parent = await hive.submit()
    await do(hive, {})
    await hive.until(lambda: hive.execution(parent.id).tasks["each"].state is State.COMPLETED)
    assert children(hive, parent) == []


@pytest.mark.parametrize("known", [1, 2])
async def test_a_job_of_the_organization(hive, repo, make_repo, known):
    """The same repository first; then the one other that has it. Of two that have it, neither."""
    others = [make_repo(f"other{number}") for number in range(known)]
    for other in others:
        other.commit(DEPLOY)
        await hive.watch(other)
    repo.commit(
        {".formicary/ci.yml": "job_type: ci\nmethod: FORK_JOB\nfork_job_type: deploy\nvariables: {region: x}\n"}
    )
    await hive.watch(repo)
    parent = await hive.submit(repository=repo.path.name)
    async with hive.ant():
        ended = await hive.ended(parent.id)
    if known == 1:
        (child,) = children(hive, parent)
        assert hive.store.read().repository(child.repository_id).name == "other0"
        assert child.source_path != parent.source_path and ended.state is State.COMPLETED
    else:
        assert "several repositories" in ended.error_message and ended.error_code == ERR_FORK


async def test_circles_are_refused_with_their_chain(hive, repo):
    fork = "job_type: %s\nmethod: FORK_JOB\nfork_job_type: %s\nsub_workflow: {wait_for_completion: true}\n"
    repo.commit({".formicary/a.yml": fork % ("a", "b"), ".formicary/b.yml": fork % ("b", "a")})
    await hive.watch(repo)
    async with hive.ant():
        ended = await hive.ended((await hive.submit("a")).id)
    assert ended.state is State.FAILED and "in a circle: `a` → `b` → `a`" in ended.error_message


async def test_what_is_missing_is_said(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nmethod: FORK_JOB\nfork_job_type: nope\n"})
    await hive.watch(repo)
    async with hive.ant():
        ended = await hive.ended((await hive.submit()).id)
    assert ended.error_code == ERR_FORK and "there is no job `nope` in this repository" in ended.error_message
