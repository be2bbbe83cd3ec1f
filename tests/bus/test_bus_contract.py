"""What every bus promises; a new one is one more parameter."""

import anyio
import pytest

from formicary.runner.bus.memory import MemoryBus
from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import StaleFence, WorldError
from formicary.runner.core.execution import Result
from formicary.runner.core.messages import Ant, LogChunk, Report, TaskOrder


class DeskOfTests:
    """Answers what it is told to, and remembers what was said."""

    def __init__(self):
        self.here, self.gone, self.beats, self.reports, self.chunks = [], [], [], [], []
        self.send, self.orders = anyio.create_memory_object_stream(100)
        self.claiming = anyio.Event()
        self.withdrawn = anyio.Event()

    def joined(self, ant):
        self.here.append(ant)

    async def left(self, ant_id, *, lost):
        self.gone.append((ant_id, lost))

    async def claim(self, ant_id, free):
        self.claiming.set()
        try:
            return await self.orders.receive()
        except anyio.get_cancelled_exc_class():
            self.withdrawn.set()
            raise

    async def heartbeat(self, ant_id, fences):
        self.beats.append((ant_id, dict(fences)))
        return frozenset(name for name, fence in fences.items() if fence < 5)

    async def report(self, report):
        self.reports.append(report)

    async def log(self, chunk):
        if chunk.fence < 5:
            raise StaleFence
        self.chunks.append(chunk)
        return chunk.offset + len(chunk.data)


def an_order(number=1):
    return TaskOrder(
        task_execution_id=f"7-{number}",
        fence=number,
        request_id=1,
        execution_id=7,
        organization_id="default",
        job_type="ci",
        task=TaskDefinition(task_type="t", script=("true",)),
    )


ANT = Ant(ant_id="a", tags=frozenset({"linux"}), methods=frozenset({"SHELL"}), hands=2)


@pytest.fixture(params=[MemoryBus], ids=lambda make: make.__name__)
def bus(request):
    return request.param()


@pytest.fixture
async def desk():
    made = DeskOfTests()
    yield made
    made.send.close()
    made.orders.close()


async def test_join_and_leave(bus, desk):
    async with bus.serve(desk):
        async with bus.join(ANT):
            assert desk.here == [ANT]
        assert desk.gone == [("a", False)]


async def test_an_ant_says_what_it_can_do_now(bus, desk):
    """Also to a queen that comes later."""
    more = ANT.model_copy(update={"methods": frozenset({"SHELL", "DOCKER"})})
    async with bus.join(ANT):
        async with bus.serve(desk):
            await bus.announce(more)
            assert desk.here == [ANT, more]
        async with bus.serve(desk):
            assert desk.here[-1] == more


async def test_a_waiting_claim_is_answered(bus, desk):
    async with bus.serve(desk), bus.join(ANT), anyio.create_task_group() as group:
        got = []

        async def claim():
            got.append(await bus.claim("a", 1))

        group.start_soon(claim)
        await desk.claiming.wait()
        assert not got
        await desk.send.send(an_order())
        while not got:
            await anyio.lowlevel.checkpoint()
        assert got == [an_order()]


async def test_leaving_the_scope_withdraws_the_claim(bus, desk):
    async with bus.serve(desk), bus.join(ANT), anyio.create_task_group() as group:
        group.start_soon(bus.claim, "a", 1)
        await desk.claiming.wait()
        group.cancel_scope.cancel()
    assert desk.withdrawn.is_set()


async def test_heartbeat_report_log(bus, desk):
    """D2: what carries an old fence is refused."""
    async with bus.serve(desk), bus.join(ANT):
        assert await bus.heartbeat("a", {"7-1": 1, "7-6": 6}) == {"7-1"}
        report = Report(
            task_execution_id="7-6",
            fence=6,
            ant_id="a",
            kind="FINISHED",
            result=Result(0, outputs={"k": [1, {"a": None}]}),
        )
        await bus.report(report)
        assert desk.reports == [report]
        assert await bus.log(LogChunk(task_execution_id="7-6", fence=6, offset=3, data=b"\xff\x00")) == 5
        with pytest.raises(StaleFence):
            await bus.log(LogChunk(task_execution_id="7-1", fence=1, offset=0, data=b"x"))


async def test_stops_reach_their_ant(bus, desk):
    async with bus.serve(desk), bus.join(ANT), bus.join(ANT.model_copy(update={"ant_id": "b"})):
        bus.stop("b", "7-2")
        bus.stop("a", "7-1")
        bus.stop("nobody", "7-9")
        bus.stop("a", "7-3")
        with anyio.fail_after(5):
            stops = bus.stops("a")
            assert [await anext(stops), await anext(stops)] == ["7-1", "7-3"]
            await stops.aclose()


async def test_while_the_queen_is_away_the_world_is_to_blame(bus, desk):
    """D7: an ant can tell that it should try again."""
    async with bus.join(ANT):
        for call in (
            bus.claim("a", 1),
            bus.heartbeat("a", {}),
            bus.log(LogChunk(task_execution_id="1-1", fence=1, offset=0, data=b"")),
        ):
            with pytest.raises(WorldError):
                await call
        async with bus.serve(desk):
            assert desk.here == [ANT]


async def test_a_claim_ends_when_the_queen_goes(bus, desk):
    async with bus.join(ANT), anyio.create_task_group() as group:
        refused = anyio.Event()

        async def claim():
            with pytest.raises(WorldError):
                await bus.claim("a", 1)
            refused.set()

        async with bus.serve(desk):
            group.start_soon(claim)
            await desk.claiming.wait()
        with anyio.fail_after(5):
            await refused.wait()
