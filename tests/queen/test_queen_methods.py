"""A task whose method no ant offers waits, and says why; it begins when one comes that does."""

from __future__ import annotations

import pytest

from formicary.runner.core.containing import CONTAINER
from formicary.runner.core.states import State

NO_ENGINE = dict.fromkeys(("DOCKER", CONTAINER), "no container engine answers at /run/docker.sock")
BOX = "container: {image: alpine}\n"


async def watched(hive, repo, text):
    repo.commit({".formicary/ci.yml": f"job_type: ci\n{text}"})
    await hive.watch(repo)
    return await hive.submit()


@pytest.mark.parametrize(
    ("text", "method", "why"),
    [
        (
            f"method: DOCKER\n{BOX}",
            "DOCKER",
            "no ant can run DOCKER tasks: no container engine answers at /run/docker.sock",
        ),
        (BOX, CONTAINER, "no ant can run container tasks: no container engine answers at /run/docker.sock"),
        (f"method: KUBERNETES\n{BOX}", "KUBERNETES", "no ant can run KUBERNETES tasks"),
        ("method: WEBSOCKET\n", "WEBSOCKET", "no ant can run WEBSOCKET tasks"),
        ("method: MESSAGING\nmessaging_request_queue: q\n", "MESSAGING", "no ant can run MESSAGING tasks"),
    ],
)
async def test_a_job_waits_for_an_ant_that_runs_its_method(hive, repo, text, method, why):
    async with hive.ant(without=NO_ENGINE):
        request = await watched(hive, repo, text)
        assert hive.queen.why(request.id) == why and hive.request(request.id).state is State.PENDING
        async with hive.ant("a2", methods=("SHELL", method)) as able:
            order = await able.claim()
            assert order.task.method == method
            await able.work(order)
            assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_a_later_task_waits_too_and_fails_nothing(hive, repo):
    text = "tasks:\n- {task_type: a, script: x, on_completed: b}\n- {task_type: b, container: {image: alpine}}\n"
    async with hive.ant(without=NO_ENGINE) as ant:
        request = await watched(hive, repo, text)
        await ant.work(await ant.claim())
        await hive.until(lambda: hive.execution(request.id).tasks["b"].state is State.READY)
        wanted = "`b` waits: no ant can run container tasks: no container engine answers at /run/docker.sock"
        assert hive.queen.why(request.id) == wanted
        async with hive.ant("a2", methods=(CONTAINER, "DOCKER")) as able:
            await able.work(await able.claim())
            assert (await hive.ended(request.id)).state is State.COMPLETED
