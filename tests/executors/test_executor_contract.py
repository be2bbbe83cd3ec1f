"""The promises of `contract.py`, kept by every executor. A new one is added to `kind` with a way to ask for things."""

import anyio
import pytest

from formicary.executors.dummy import DummyExecutor
from formicary.executors.shell import ShellExecutor
from formicary.runner.core.errors import ERR_EXIT_CODE


class OfDummy:
    def make(self, hands):
        return DummyExecutor()

    def ask(self, *, exit_code=0, output="", hang=False, outputs=""):
        named = {
            "DUMMY_EXIT_CODE": exit_code,
            "DUMMY_OUTPUT": output,
            "DUMMY_HANG": int(hang),
            "DUMMY_OUTPUTS": outputs,
        }
        return {name: str(value) for name, value in named.items()}, ["act"]


class OfShell:
    def make(self, hands):
        return ShellExecutor(hands, 0.3)

    def ask(self, *, exit_code=0, output="", hang=False, outputs=""):
        lines = [f"printf %s '{output}'", f"printf '%s\\n' '{outputs}' >$FORMICARY_OUTPUT"]
        return {}, ["\n".join([*lines, *(["sleep 600"] if hang else []), f"exit {exit_code}"])]


@pytest.fixture(params=[OfDummy(), OfShell()], ids=["dummy", "shell"])
def kind(request):
    return request.param


@pytest.fixture
def executor(kind, hands):
    return kind.make(hands)


async def test_success_is_exit_code_0_without_an_error(kind, executor, prepare, sink):
    environment, items = kind.ask()
    async with executor.open(prepare(environment=environment)) as session:
        outcome = await session.run(items, sink)
    assert (outcome.exit_code, outcome.error_code, outcome.ok) == (0, "", True)


async def test_a_failing_script_is_an_outcome_and_no_exception(kind, executor, prepare, sink):
    """D12: the user's failure is told by exit code and ERR_EXIT_CODE, never as lost."""
    environment, items = kind.ask(exit_code=3)
    async with executor.open(prepare(environment=environment)) as session:
        outcome = await session.run(items, sink)
    assert (outcome.exit_code, outcome.error_code, outcome.ok) == (3, ERR_EXIT_CODE, False)
    assert "exit code 3" in outcome.error_message


async def test_items_are_announced_before_their_output(kind, executor, prepare, sink):
    environment, items = kind.ask(output="words")
    async with executor.open(prepare(environment=environment)) as session:
        await session.run(items, sink)
    assert sink.merged() == [("cmd", items[0]), ("out", b"words")]


async def test_outputs_are_written_to_their_file(kind, executor, prepare, sink):
    environment, items = kind.ask(outputs="k=v")
    prepared = prepare(environment=environment)
    async with executor.open(prepared) as session:
        await session.run(items, sink)
    assert (prepared.run_dir / "output").read_text() == "k=v\n"


async def test_after_script_runs_after_a_failed_script(kind, executor, prepare, sink):
    environment, items = kind.ask(exit_code=1)
    async with executor.open(prepare(environment=environment)) as session:
        assert not (await session.run(items, sink)).ok
        assert (await session.run(["true"], sink, name="after_script")).ok
    assert sink.commands == [*items, "true"]


async def test_after_script_runs_after_a_cancelled_script(kind, executor, prepare, sink):
    environment, items = kind.ask(output="here", hang=True)
    async with executor.open(prepare(environment=environment)) as session:
        async with anyio.create_task_group() as group:
            group.start_soon(session.run, items, sink)
            await sink.said(b"here")
            group.cancel_scope.cancel()
        assert (await session.run(["true"], sink, name="after_script")).ok


async def test_a_deadline_around_a_hanging_script_is_kept(kind, executor, prepare, sink):
    environment, items = kind.ask(hang=True)
    with anyio.fail_after(10):
        async with executor.open(prepare(environment=environment)) as session:
            with anyio.move_on_after(0.05) as scope:
                await session.run(items, sink)
    assert scope.cancelled_caught


async def test_usage_tells_the_time_it_took(kind, executor, prepare, sink):
    environment, items = kind.ask()
    async with executor.open(prepare(environment=environment)) as session:
        outcome = await session.run(items, sink)
    assert outcome.usage["wall_seconds"] >= 0


async def test_two_sessions_run_side_by_side(kind, executor, prepare, sink):
    environment, items = kind.ask(output="x", hang=True)
    quick, quick_items = kind.ask()
    async with anyio.create_task_group() as group:

        async def hang():
            async with executor.open(prepare(environment=environment)) as session:
                await session.run(items, sink)

        group.start_soon(hang)
        await sink.said(b"x")
        async with executor.open(prepare(environment=quick)) as session:
            assert (await session.run(quick_items, sink)).ok
        group.cancel_scope.cancel()
