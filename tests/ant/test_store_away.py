"""An artifact store that is away, or wants other keys: nobody's script has failed (D12)."""

import io

import pytest

from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.core.definition import Artifacts, Cache
from formicary.runner.core.errors import SetupError, WorldError
from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.messages import Input


class Away(DirectoryStore):
    """Raises `error` for the first `times` calls of put and open."""

    times, error = 0, WorldError("The store is away.")

    def _maybe(self):
        if self.times:
            self.times -= 1
            raise self.error

    def put(self, source, *, durable=False):
        self._maybe()
        return super().put(source, durable=durable)

    def open(self, sha256):
        self._maybe()
        return super().open(sha256)


@pytest.fixture
def away(colony):
    colony.objects = Away(colony.folder / "objects")
    return colony.objects


KEEPS = {"script": ("echo made > out",), "artifacts": Artifacts(paths=("out",))}


async def test_artifacts_wait_for_the_store(colony, away, an_order):
    """The result comes when the store is back; the log says why it took so long."""
    away.times = 3
    order = an_order("SHELL", **KEEPS)
    report = await colony.do(order)
    assert report.result.error_code == "" and [one.name for one in report.result.artifacts] == ["out"]
    assert away.times == 0
    assert "The store is away. Trying again for up to 300 seconds." in colony.desk.sys(order.task_execution_id)


async def test_inputs_wait_for_the_store(colony, away, an_order):
    """What a dependency made is brought when the store is back."""
    digest = away.put(io.BytesIO(b"from before"))
    away.times = 2
    one = Input(task_type="first", artifact=ArtifactRef(name="in", digest=digest.sha256, size=digest.size))
    order = an_order("SHELL", script=("cat in",), order={"inputs": (one,)})
    report = await colony.do(order)
    assert report.result.error_code == ""
    assert colony.desk.raw(order.task_execution_id) == b"from before"


@pytest.mark.parametrize("error", [WorldError("The store is away."), SetupError("the store refuses these keys")])
async def test_a_store_that_stays_away_loses_the_attempt(colony, away, an_order, error):
    """D12: lost, not failed; wrong keys are not waited for."""
    away.times, away.error = 1000, error
    report = await colony.do(an_order("SHELL", **KEEPS), store_patience=0.1)
    assert report.kind == "LOST" and str(error) in report.message


async def test_waiting_for_the_store_is_not_the_scripts_time(colony, away, an_order):
    """D12: lost, before the task's timeout could be blamed."""
    digest = away.put(io.BytesIO(b"from before"))
    away.times = 1000
    one = Input(task_type="first", artifact=ArtifactRef(name="in", digest=digest.sha256, size=digest.size))
    report = await colony.do(an_order("SHELL", script=("cat in",), order={"inputs": (one,)}, timeout=0.6))
    assert report.kind == "LOST" and "The store is away." in report.message


async def test_who_cancels_does_not_wait_for_the_store(colony, away, an_order):
    """A task that waits with its artifacts is given up when it is cancelled."""
    away.times = 1000
    order = an_order("SHELL", **KEEPS)
    async with colony.bus.serve(colony.desk), colony.running():
        name = colony.desk.give(order)
        await colony.desk.until(lambda: b"Trying again" in colony.desk.logs.get(name, b""))
        colony.bus.stop("ant", name)
        report = await colony.desk.finished(name)
    assert report.kind == "LOST"


async def test_a_cache_waits_for_nobody(colony, away, an_order):
    """It is brought or kept where it can be, else the task goes on without it."""
    cache = Cache(key="k", paths=("out",))
    assert (await colony.do(an_order("SHELL", script=("echo 1 > out",), cache=(cache,)))).result.warnings == ()
    away.times = 1000
    order = an_order("SHELL", script=("echo 2 > out",), cache=(cache,))
    report = await colony.do(order)
    assert report.result.error_code == ""
    assert "going on without it: The store is away." in colony.desk.sys(order.task_execution_id)
    assert report.result.warnings == ("cache k: The store is away.",)
