"""A matrix and `when` from the definition to the ants: values, artifacts, outputs, and what is shown on the way."""

import pytest

from formicary.runner.core.definition import WhenFilter
from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.states import State
from formicary.runner.queen.arriving.wanted import unwanted

JOB = """
job_type: ci
tasks:
  - task_type: test
    matrix: {python: [3.11, 3.12], os: [linux]}
    tags: ["{{ os }}"]
    script: ["./test.sh {{ python }}"]
  - task_type: report
    dependencies: [test]
    script: ["echo {{ common }} {{ test['python=3.11, os=linux'].own }} {{ own | default('none') }}"]
"""


def artifact(name, kind="file"):
    return ArtifactRef(name=name, kind=kind, digest="0" * 64)


async def test_each_combination_is_an_order_of_its_own(hive, repo):
    repo.commit({".formicary/ci.yml": JOB})
    await hive.watch(repo)
    async with hive.ant(tags=("linux",)) as ant:
        request = await hive.submit()
        for version in ("3.11", "3.12"):
            order = await ant.claim()
            assert (order.task.task_type, order.task.script) == (
                f"test (python={version}, os=linux)",
                (f"./test.sh {version}",),
            )
            wanted = {"python": version, "os": "linux", "TaskType": "test"}
            assert wanted.items() <= order.environment.items() and order.task.matrix is None
            outputs = {"common": 1, "own": version}
            await ant.work(order, outputs=outputs, artifacts=(artifact("out.txt"), artifact("dist", "tar")))
        order = await ant.claim()
        assert order.task.script == ("echo 1 3.11 none",)
        assert [(one.folder, one.artifact.name) for one in order.inputs] == [
            (f"python={version},os=linux", name) for version in ("3.11", "3.12") for name in ("out.txt", "dist")
        ]
        assert "own" not in order.environment and order.environment["common"] == "1"
        await ant.work(order)
        ended = await hive.ended(request.id)
    assert ended.state is State.COMPLETED
    names = {one.task_type for one in hive.store.read().artifacts(request_id=request.id).records}
    assert names == {"test (python=3.11, os=linux)", "test (python=3.12, os=linux)"}


async def test_a_hundred_combinations_survive_the_queen(hive, repo):
    """More than one row holds: what has ended stays so, the rest goes on."""
    repo.commit({".formicary/ci.yml": f"job_type: ci\nscript: [make]\nmatrix: {{n: {[*range(100)]}}}\n"})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        for _ in range(60):
            await ant.work(await ant.claim())
    execution = hive.execution(request.id)
    assert execution.tasks["ci"].combinations.left == 40
    assert hive.store.read().execution(execution.id) == execution
    async with hive.ant() as ant:
        for _ in range(40):
            await ant.work(await ant.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_when_is_decided_by_the_facts_of_git(hive, repo):
    """A definition without any template is planned once; its `when` is not."""
    text = "job_type: ci\ntasks:\n  - {task_type: a, script: make, when: {branch: BRANCH}}\n"
    text += "  - {task_type: b, needs: [a], script: make}\n"
    repo.commit({".formicary/ci.yml": text.replace("BRANCH", "other")})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        order = await ant.claim()
        assert order.task.task_type == "b"
        await ant.work(order)
        await hive.ended(request.id)
    run = hive.execution(request.id).tasks["a"]
    assert run.state is State.SKIPPED
    assert run.reason == "Its `when` is for the branch `other`, and this is `main`."


FACTS = {"GitBranch": "release/1", "GitEvent": "push", "GitChangedFiles": ["docs/a.md", "x.py"]}
WHEN = [
    ({"branch": ("release/*",)}, True),
    ({"branch": ("main", "release/1")}, True),
    ({"branch": ("main",)}, False),
    ({"event": ("push", "manual")}, True),
    ({"event": ("pull_request",)}, False),
    ({"path": ("docs/**",)}, True),
    ({"path": ("src/**",)}, False),
    ({"branch": ("release/*",), "path": ("src/**",)}, False),
]


@pytest.mark.parametrize(("wanted", "runs"), WHEN, ids=str)
def test_all_that_is_given_must_match(wanted, runs):
    reason = unwanted(WhenFilter(**wanted), FACTS)
    assert bool(reason) is not runs
    assert not reason or (reason.startswith("Its `when` is for ") and reason.endswith("."))


def test_files_that_nobody_knows_of_exclude_nothing():
    assert not unwanted(WhenFilter(path=("src/**",)), {"GitChangedFiles": []})
    assert "this is none" in unwanted(WhenFilter(branch=("main",)), {})
