"""The order of the go dialect: before_script, what other tasks left, script; and each line in a shell of its own."""

import pytest

from formicary.runner.core.definition import Artifacts, Cache
from formicary.runner.core.errors import ERR_EXIT_CODE
from formicary.runner.core.messages import Input

SHOW = "ls; echo $X"


@pytest.fixture
async def left(colony, an_order):
    """An artifact that another task left."""
    first = an_order("SHELL", script=("echo a > left",), artifacts=Artifacts(paths=("left",)))
    (ref,) = (await colony.do(first)).result.artifacts
    return Input(task_type="t", artifact=ref)


async def test_before_script_runs_before_the_artifacts_come(colony, an_order, left):
    order = an_order(
        "SHELL",
        fresh_shell=True,
        before_script=("env X=1", "ls; touch made; cd /"),
        script=(SHOW,),
        after_script=(SHOW,),
        order={"inputs": (left,)},
    )
    report = await colony.do(order)
    assert report.result.exit_code == 0
    assert colony.desk.raw(order.task_execution_id) == b"left\nmade\n1\n" * 2
    assert report.result.usage["wall_seconds"] > 0


async def test_a_failing_before_script_is_the_end(colony, an_order, left):
    order = an_order(
        "SHELL",
        fresh_shell=True,
        before_script=("exit 3",),
        script=("echo never",),
        after_script=("ls; echo after",),
        order={"inputs": (left,)},
    )
    report = await colony.do(order)
    assert (report.result.exit_code, report.result.error_code) == (3, ERR_EXIT_CODE)
    assert colony.desk.raw(order.task_execution_id) == b"after\n"


async def test_the_cache_comes_after_before_script_too(colony, an_order):
    cache = (Cache(key="k", paths=("kept",)),)
    for seen in (b"\nend\n", b"\nkept\nend\n"):
        order = an_order(
            "SHELL", fresh_shell=True, before_script=("ls; echo",), script=("ls; echo end; touch kept",), cache=cache
        )
        assert (await colony.do(order)).result.exit_code == 0
        assert colony.desk.raw(order.task_execution_id) == seen


async def test_a_native_task_has_it_all_before_anything_runs(colony, an_order, left):
    order = an_order("SHELL", before_script=("ls; cd /",), script=("pwd",), order={"inputs": (left,)})
    await colony.do(order)
    assert colony.desk.raw(order.task_execution_id) == b"left\n/\n"
