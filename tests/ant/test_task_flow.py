"""From claim to report, with an executor that does what it is told."""

import anyio

from formicary.runner.core.errors import ERR_CANCELLED, ERR_EXIT_CODE, ERR_TIMEOUT


async def test_a_task_from_claim_to_report(colony, an_order):
    """D13: the report follows the last log byte."""
    order = an_order(environment={"DUMMY_OUTPUT": "hello\n", "DUMMY_OUTPUTS": "v=1"}, order={"notes": ("a note",)})
    report = await colony.do(order)
    assert (report.kind, report.result.exit_code, report.result.error_code) == ("FINISHED", 0, "")
    assert report.result.outputs == {"v": "1"} and report.fence == order.fence and report.ant_id == "ant"
    assert colony.desk.frames(order.task_execution_id) == [("sys", b"a note"), ("cmd", b"run it"), ("out", b"hello\n")]
    assert [one.kind for one, _ in colony.desk.reports] == ["EXECUTING", "FINISHED"]
    assert [path.name for path in colony.work.iterdir()] == [".lock"]


async def test_a_failure_is_the_scripts(colony, an_order):
    report = await colony.do(an_order(environment={"DUMMY_EXIT_CODE": "3"}))
    assert (report.kind, report.result.exit_code, report.result.error_code) == ("FINISHED", 3, ERR_EXIT_CODE)


async def test_our_failure_is_lost(colony, an_order):
    """D12: lost is told apart from failed."""
    order = an_order(environment={"DUMMY_FAIL": "lost"})
    report = await colony.do(order)
    assert report.kind == "LOST" and "told to be lost" in report.message
    assert "not its script's fault" in colony.desk.sys(order.task_execution_id)
    assert (await colony.do(an_order("UNHEARD_OF"))).kind == "LOST"


async def test_a_disk_error_is_lost(colony, an_order):
    """D12."""
    async with colony.bus.serve(colony.desk), colony.running():
        order = an_order()
        (colony.work / "1").write_text("in the way")
        report = await colony.desk.finished(colony.desk.give(order))
    assert report.kind == "LOST"


async def test_timeout_and_then_after_script(colony, an_order):
    order = an_order(environment={"DUMMY_HANG": "1"}, timeout=0.05, after_script=("clean up",))
    report = await colony.do(order)
    assert report.result.error_code == ERR_TIMEOUT and "0.05s" in report.result.error_message
    assert ("cmd", b"clean up") in colony.desk.frames(order.task_execution_id)


async def test_cancel_and_then_after_script(colony, an_order):
    async with colony.bus.serve(colony.desk), colony.running():
        order = an_order(environment={"DUMMY_HANG": "1"}, after_script=("clean up",))
        name = colony.desk.give(order)
        await colony.desk.executing(name)
        colony.bus.stop("ant", name)
        report = await colony.desk.finished(name)
    assert report.kind == "FINISHED" and report.result.error_code == ERR_CANCELLED
    assert ("cmd", b"clean up") in colony.desk.frames(name)


async def test_a_lost_lease_ends_the_task_at_once(colony, an_order):
    """D2: an old fence is refused and that worker stops its task."""
    async with colony.bus.serve(colony.desk), colony.running():
        order = an_order(environment={"DUMMY_HANG": "1"}, after_script=("clean up",), order={"lease_seconds": 0.06})
        name = colony.desk.give(order)
        await colony.desk.executing(name)
        await colony.desk.until(lambda: {name: order.fence} in colony.desk.beats)
        colony.desk.refuse.add(name)
        report = await colony.desk.finished(name)
        assert report.result.error_code == ERR_CANCELLED
        assert ("cmd", b"clean up") not in colony.desk.frames(name)
        assert (await colony.desk.finished(colony.desk.give(an_order()))).kind == "FINISHED", "the hand is free again"


async def test_heartbeats_go_on_while_it_runs(colony, an_order):
    """D4."""
    async with colony.bus.serve(colony.desk), colony.running(hands=2):
        orders = [an_order(environment={"DUMMY_HANG": "1"}, order={"lease_seconds": 0.03}) for _ in range(2)]
        for order in orders:
            colony.desk.give(order)
        fences = {order.task_execution_id: order.fence for order in orders}
        await colony.desk.until(lambda: colony.desk.beats.count(fences) >= 3)
        for name in fences:
            colony.bus.stop("ant", name)


async def test_heartbeats_go_on_until_the_result_is_acknowledged(colony, an_order):
    """D4: also while draining."""
    async with colony.bus.serve(colony.desk), colony.running() as ant:
        colony.desk.silent = True
        order = an_order(order={"lease_seconds": 0.03})
        await colony.desk.finished(colony.desk.give(order))
        ant.drain()
        before = len(colony.desk.beats)
        await colony.desk.until(lambda: len(colony.desk.beats) >= before + 3)
        assert colony.desk.beats[-1] == {order.task_execution_id: order.fence}
        colony.desk.silent = False


async def test_the_queen_goes_and_comes_back(colony, an_order):
    """D7: the task goes on, log and report arrive once."""
    name = "1-77"
    async with colony.running():
        async with colony.bus.serve(colony.desk):
            colony.desk.give(
                an_order(
                    environment={"DUMMY_SLEEP": "0.2", "DUMMY_OUTPUT": "before\n"}, order={"task_execution_id": name}
                )
            )
            await colony.desk.executing(name)
        assert colony.desk.last(name) is None
        with anyio.fail_after(30):
            await colony.bus.tried.wait()  # it ends while nobody is there
        assert colony.desk.last(name) is None
        async with colony.bus.serve(colony.desk):
            await colony.desk.finished(name)
            assert colony.desk.raw(name) == b"before\n"
            assert [one.kind for one, _ in colony.desk.reports] == ["EXECUTING", "FINISHED"]
            assert (await colony.desk.finished(colony.desk.give(an_order()))).kind == "FINISHED"


async def test_drain_finishes_what_runs_and_claims_no_more(colony, an_order):
    """D4: drain = stop claiming, finish, bounded."""
    async with colony.bus.serve(colony.desk):
        async with colony.running() as ant:
            name = colony.desk.give(an_order(environment={"DUMMY_SLEEP": "0.1"}))
            await colony.desk.executing(name)
            ant.drain()
            later = colony.desk.give(an_order())
        assert colony.desk.last(name).kind == "FINISHED"
        assert colony.desk.last(later) is None


async def test_a_drain_that_takes_too_long_gives_back(colony, an_order):
    async with colony.bus.serve(colony.desk):
        async with colony.running(drain_timeout=0.05):
            name = colony.desk.give(an_order(environment={"DUMMY_HANG": "1"}))
            await colony.desk.executing(name)
        assert colony.desk.last(name).kind == "LOST"


async def test_hands_work_at_the_same_time(colony, an_order):
    async with colony.bus.serve(colony.desk), colony.running(hands=3):
        names = [colony.desk.give(an_order(environment={"DUMMY_HANG": "1"})) for _ in range(3)]
        for name in names:
            await colony.desk.executing(name)
        for name in names:
            colony.bus.stop("ant", name)


async def test_who_it_says_it_is(colony):
    async with colony.bus.serve(colony.desk), colony.running(hands=4, tags=frozenset({"gpu"})):
        ant = colony.desk.present[0]
        assert (ant.ant_id, ant.hands, ant.tags) == ("ant", 4, {"gpu"})
        assert {"SHELL", "DUMMY"} <= ant.methods and ant.platform.startswith("linux/")
