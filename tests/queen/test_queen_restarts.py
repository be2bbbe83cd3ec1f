"""D1, D2, D5: what a stopped queen leaves on the disk is taken up again."""

from formicary.runner.core.states import State

CI = "job_type: ci\ntasks:\n  - {task_type: a, script: [make]}\n  - {task_type: b, needs: [a], script: [test]}\n"


async def test_waiting_requests_run_after_a_restart(open_hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    async with open_hive() as hive:
        await hive.watch(repo)
        request = await hive.submit()
    async with open_hive() as hive, hive.ant() as ant:
        await ant.work(await ant.claim())
        await ant.work(await ant.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_what_the_embedded_ant_ran_is_lost_and_repeated(open_hive, repo):
    """D12: the user's retries are not used for it."""
    repo.commit({".formicary/ci.yml": CI})
    async with open_hive() as hive:
        await hive.watch(repo)
        async with hive.ant("embedded") as ant:
            request = await hive.submit()
            await ant.work(await ant.claim())
            running = await ant.claim()
            assert running.task.task_type == "b"
            hive.queen._board.workers["embedded"].running.clear()  # the process ends without a word
    async with open_hive() as hive, hive.ant("embedded") as ant:
        again = await ant.claim()
        assert (again.task.task_type, again.attempt) == ("b", 2)
        await ant.work(again)
        assert (await hive.ended(request.id)).state is State.COMPLETED
        attempts = hive.execution(request.id).tasks["b"].attempts
        assert attempts[0].error_code == "ERR_ANT_LOST"


async def test_another_machines_ant_goes_on_while_the_queen_is_away(open_hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    async with open_hive() as hive:
        await hive.watch(repo)
        async with hive.ant("far") as ant:
            request = await hive.submit()
            order = await ant.claim()
            hive.queen._board.workers["far"].running.clear()
    async with open_hive() as hive, hive.ant("far") as ant:
        assert await hive.bus.heartbeat("far", {order.task_execution_id: order.fence}) == frozenset()
        await ant.report(order)
        assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_a_cancel_survives_a_restart(open_hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    async with open_hive() as hive:
        await hive.watch(repo)
        async with hive.ant("embedded") as ant:
            request = await hive.submit()
            await ant.claim()
            await hive.queen.cancel(request.id, by="ada")
            hive.queen._board.workers["embedded"].running.clear()
    async with open_hive() as hive:
        assert (await hive.ended(request.id)).state is State.CANCELLED
