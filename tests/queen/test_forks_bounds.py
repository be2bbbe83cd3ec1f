"""Forked jobs at their bounds: how deep, how many, how long; what stays secret, and what stays tainted."""

import json

import anyio
import pytest

from formicary.cli.masterkey import MasterKey
from formicary.runner.core.errors import ERR_FORK, ERR_TIMEOUT
from formicary.runner.core.forked import DEEPEST, MOST_CHILDREN
from formicary.runner.core.states import State


def children(hive, parent):
    return hive.store.read().children(parent.id)


def chain(length):
    """Jobs of which each forks the next, and waits for it."""
    fork = "job_type: j{}\nmethod: FORK_JOB\nfork_job_type: j{}\nsub_workflow: {{wait_for_completion: true}}\n"
    files = {f".formicary/j{n}.yml": fork.format(n, n + 1) for n in range(length - 1)}
    return files | {".formicary/last.yml": f"job_type: j{length - 1}\nscript: [deep]\n"}


@pytest.mark.parametrize("length", [DEEPEST, DEEPEST + 1])
async def test_so_deep_and_no_deeper(hive, repo, length):
    repo.commit(chain(length))
    await hive.watch(repo)
    async with hive.ant() as ant:
        top = await hive.submit("j0")
        if length == DEEPEST:
            await ant.work(await ant.claim())
        ended = await hive.ended(top.id)
    below, one = 0, top
    while one := next(iter(children(hive, one)), None):
        below += 1
    assert below == DEEPEST - 1
    if length == DEEPEST:
        assert ended.state is State.COMPLETED
    else:
        assert ended.state is State.FAILED
        assert f"at most {DEEPEST} jobs may fork each other, one below the other: `j0` → `j1`" in ended.error_message


MANY = """
job_type: ci
params: {Count: {default: 1}, More: {default: 0}}
tasks:
  - {task_type: first, script: [first]}
  - task_type: some
    needs: [first]
    method: FORK_JOB
    fan_out: {source: Some, item_var: n, max_parallel: 1, fail_fast: true, fork_job_type: leaf}
    allow_failure: true
  - task_type: more
    needs: [some]
    method: FORK_JOB
    fan_out: {source: More, item_var: n, fork_job_type: leaf}
"""
LEAF = {".formicary/leaf.yml": "job_type: leaf\nscript: [leaf]\n"}


@pytest.mark.parametrize(("some", "more"), [(0, MOST_CHILDREN + 1), (2, MOST_CHILDREN - 1)])
async def test_so_many_and_no_more(hive, repo, some, more):
    """Of one execution, by all its tasks together: nothing is forked of what would be too many."""
    repo.commit({".formicary/ci.yml": MANY, **LEAF})
    await hive.watch(repo)
    async with hive.ant() as ant:
        parent = await hive.submit()
        lists = {"Some": json.dumps([*range(some)]), "More": json.dumps([*range(more)])}
        await ant.work(await ant.claim(), outputs=lists)
        for _ in range(some):
            await ant.work(await ant.claim())
        ended = await hive.ended(parent.id)
    assert (ended.state, ended.error_code) == (State.FAILED, ERR_FORK)
    assert f"a job may fork {MOST_CHILDREN} others, and this would be {MOST_CHILDREN + 1}" in ended.error_message
    assert len(children(hive, parent)) == some


async def test_who_waits_too_long_cancels_what_he_waits_for(hive, repo):
    """The timeout of an AWAIT task is that of its waiting."""
    text = "job_type: ci\ntasks:\n  - {task_type: go, method: FORK_JOB, fork_job_type: leaf}\n"
    text += "  - {task_type: wait, method: AWAIT_FORKED_JOB, await_forked_tasks: [go], timeout: 100ms}\n"
    repo.commit({".formicary/ci.yml": text, **LEAF})
    await hive.watch(repo)
    async with hive.ant() as ant:
        parent = await hive.submit()
        order = await ant.claim()
        await hive.until(lambda: hive.execution(order.request_id).cancelled)
        await ant.report(order, error_code="ERR_CANCELLED")
        ended = await hive.ended(parent.id)
    (child,) = children(hive, parent)
    assert child.state is State.CANCELLED and "Nobody waits for it after 100ms." in child.error_message
    assert (ended.state, ended.error_code) == (State.FAILED, ERR_TIMEOUT)
    assert ended.error_message == "task `wait` ran into its timeout of 100ms"


SECRET = "correct horse battery"
HANDS_DOWN = """
job_type: ci
params: {{Key: {{secret: true}}}}
method: FORK_JOB
fork_job_type: leaf
sub_workflow: {{input_params: {{{name}: "{{{{ Key }}}}"}}, wait_for_completion: true}}
"""
TAKES = "job_type: leaf\nparams: {Key: {secret: true}, Plain: {}}\nscript: ['use \"$Key\"']\n"


@pytest.fixture
async def secretive(open_hive, repo, tmp_path):
    async with open_hive(key=MasterKey(tmp_path / "data", {})) as hive:
        repo.commit({".formicary/leaf.yml": TAKES})
        yield hive


async def test_a_secret_that_is_handed_down_stays_one(secretive, repo, tmp_path):
    """T3, T8: the child's ant gets it, and nobody reads it anywhere else."""
    hive = secretive
    repo.commit({".formicary/ci.yml": HANDS_DOWN.format(name="Key")})
    await hive.watch(repo)
    async with hive.ant() as ant:
        parent = await hive.submit(params={"Key": SECRET})
        order = await ant.claim()
        assert order.job_type == "leaf" and order.secrets == {"Key": SECRET}
        (child,) = children(hive, parent)
        assert child.has_secrets and "Key" not in child.params
        assert SECRET not in child.model_dump_json() + hive.execution(child.id).model_dump_json()
        assert hive.queen.mask(f"it is {SECRET}!") == "it is ***!"
        stored = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("formicary.db*"))
        assert SECRET.encode() not in stored
        await ant.work(order)
        assert (await hive.ended(parent.id)).state is State.COMPLETED
    assert hive.store.read().secret_params(child.id) == {}, "it ends with its request"


async def test_a_secret_is_handed_down_to_a_secret_parameter_alone(secretive, repo):
    repo.commit({".formicary/ci.yml": HANDS_DOWN.format(name="Plain")})
    await secretive.watch(repo)
    async with secretive.ant():
        parent = await secretive.submit(params={"Key": SECRET})
        ended = await secretive.ended(parent.id)
    assert ended.error_code == ERR_FORK and SECRET not in ended.error_message
    assert "`Plain` would hand the secret `Key` down to `leaf`" in ended.error_message
    assert children(secretive, parent) == []


CALLS = {
    ".formicary/leaf.yml": "job_type: leaf\ntasks:\n"
    "  - {task_type: call, method: HTTP_GET, url: https://service.example/}\n"
    "  - {task_type: own, needs: [call], script: [own]}\n"
}
ASKS = """
job_type: ci
params: {Env: {default: staging}}
tasks:
  - {task_type: ask, method: FORK_JOB, fork_job_type: leaf, sub_workflow: {%s wait_for_completion: true}}
  - {task_type: use, needs: [ask], script: ["use {{ ask.Answer | default('nothing') }} {{ Env }} {{ ask.Own }}"]}
"""


async def answered(hive, repo, mapped, answer):
    """How the parent ended, and what its last task ran."""
    repo.commit({".formicary/ci.yml": ASKS % mapped, **CALLS})
    await hive.watch(repo)
    ran = []

    async def last(ant):
        ran.append(await ant.claim())
        await ant.work(ran[0])

    async with hive.ant(methods=("SHELL", "HTTP_GET")) as ant, anyio.create_task_group() as group:
        parent = await hive.submit()
        await ant.work(await ant.claim(), outputs={"Answer": answer, "Env": "production"})
        await ant.work(await ant.claim(), outputs={"Own": "own"})
        group.start_soon(last, ant)
        ended = await hive.ended(parent.id)
        group.cancel_scope.cancel()
    return ended, ran[0].task.script if ran else ()


MAPPED = "output_variables: [Answer, Own],"


@pytest.mark.parametrize(("answer", "runs"), [("plain", True), ("x; rm -rf /", False)])
async def test_what_a_server_said_to_a_forked_job_is_not_run(hive, repo, answer, runs):
    """T6: an output of a child that has called a server is tainted."""
    ended, script = await answered(hive, repo, MAPPED, answer)
    assert (ended.state is State.COMPLETED) == runs
    assert script == (("use plain staging own",) if runs else ())
    assert runs or "outsiders can write" in ended.error_message


async def test_what_a_server_calls_its_answer_replaces_nothing(hive, repo):
    """T6: of a child's HTTP task, only what `output_variables` names is the parent's."""
    ended, script = await answered(hive, repo, "", "x; rm -rf /")
    assert ended.state is State.COMPLETED and script == ("use nothing staging own",)
