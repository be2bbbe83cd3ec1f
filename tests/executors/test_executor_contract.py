"""The promises of `contract.py`, kept by every executor. A new one is added to `kind` with a way to ask for things."""

import json
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import pytest

from formicary.ant.outputs import parse
from formicary.executors.dummy import DummyExecutor
from formicary.executors.http import HttpExecutor
from formicary.executors.shell import ShellExecutor
from formicary.runner.core.containing import Container
from formicary.runner.core.errors import ERR_EXIT_CODE


class OfDummy:
    success, failure = 0, 3

    def make(self, hands):
        return DummyExecutor()

    def ask(self, *, exit_code=0, output="", hang=False, outputs=""):
        named = {
            "DUMMY_EXIT_CODE": exit_code,
            "DUMMY_OUTPUT": output,
            "DUMMY_HANG": int(hang),
            "DUMMY_OUTPUTS": outputs,
        }
        return {"environment": {name: str(value) for name, value in named.items()}}, ["act"]


class OfShell:
    success, failure = 0, 3

    def make(self, hands):
        return ShellExecutor(hands, 0.3)

    def ask(self, *, exit_code=0, output="", hang=False, outputs=""):
        lines = [f"printf %s '{output}'", f"printf '%s\\n' '{outputs}' >$FORMICARY_OUTPUT"]
        return {}, ["\n".join([*lines, *(["sleep 600"] if hang else []), f"exit {exit_code}"])]


class OfHttp:
    """What is asked for stands in the URL; the server does it. There are no items."""

    success, failure = 200, 503

    def __init__(self, server):
        self.server = server

    def make(self, hands):
        return HttpExecutor(hands, 0.3)

    def ask(self, *, exit_code=200, output="", hang=False, outputs=""):
        query = urlencode({"code": exit_code, "output": output, "hang": int(hang), "outputs": outputs})
        return {"method": "HTTP_GET", "url": self.server.url(f"/?{query}"), "allow_networks": ("127.0.0.0/8",)}, []

    @staticmethod
    async def answer(stream, head):
        asked = parse_qs(urlsplit(head.split()[1].decode()).query)
        name, _, value = asked.get("outputs", [""])[0].partition("=")
        body = json.dumps({name: value}) if name else asked.get("output", [""])[0]
        kind = "application/json" if name else "text/plain"
        await stream.send(f"HTTP/1.1 {asked['code'][0]} Said\r\ncontent-type: {kind}\r\n\r\n{body}".encode())
        if asked["hang"] == ["1"]:
            await anyio.sleep_forever()


class OfDocker(OfShell):
    """`mount` and `copy`: how the workspace gets into the container."""

    def __init__(self, image, docker, workspace):
        self.image, self.docker, self.workspace = image, docker, workspace

    def make(self, hands):
        return self.docker(self.workspace)

    def ask(self, **asked):
        given, items = super().ask(**asked)
        return {"method": "DOCKER", "container": Container(image=self.image), **given}, items


@pytest.fixture(params=["dummy", "shell", "http", "docker mount", "docker copy"])
async def kind(request, answers):
    if request.param == "http":
        async with answers(OfHttp.answer) as server:
            yield OfHttp(server)
    elif request.param.startswith("docker"):
        image, docker = request.getfixturevalue("engine").image, request.getfixturevalue("docker")
        yield OfDocker(image, docker, request.param.split()[1])
    else:
        yield {"dummy": OfDummy, "shell": OfShell}[request.param]()


@pytest.fixture
def scripted(kind):
    """A kind that runs scripts."""
    if isinstance(kind, OfHttp):
        pytest.skip("an HTTP task has one request and no scripts: the loader refuses them")
    return kind


@pytest.fixture
def executor(kind, hands):
    return kind.make(hands)


async def test_success_has_an_exit_code_without_an_error(kind, executor, prepare, sink):
    given, items = kind.ask()
    async with executor.open(prepare(**given)) as session:
        outcome = await session.run(items, sink)
    assert (outcome.exit_code, outcome.error_code, outcome.ok) == (kind.success, "", True)


async def test_a_failing_script_is_an_outcome_and_no_exception(kind, executor, prepare, sink):
    """D12: the user's failure is told by exit code and ERR_EXIT_CODE, never as lost."""
    given, items = kind.ask(exit_code=kind.failure)
    async with executor.open(prepare(**given)) as session:
        outcome = await session.run(items, sink)
    assert (outcome.exit_code, outcome.error_code, outcome.ok) == (kind.failure, ERR_EXIT_CODE, False)
    assert f"exit code {kind.failure}" in outcome.error_message


async def test_items_are_announced_before_their_output(kind, executor, prepare, sink):
    given, items = kind.ask(output="words")
    async with executor.open(prepare(**given)) as session:
        await session.run(items, sink)
    said = [one for one in sink.merged() if one[0] != "sys"]
    assert [kind for kind, _ in said] == ["cmd", "out"] and said[1] == ("out", b"words")
    assert sink.commands == items or not items


async def test_outputs_are_written_to_their_file(kind, executor, prepare, sink):
    given, items = kind.ask(outputs="k=v")
    prepared = prepare(**given)
    async with executor.open(prepared) as session:
        await session.run(items, sink)
    assert parse((prepared.run_dir / "output").read_bytes())[0]["k"] == "v"


async def test_after_script_runs_after_a_failed_script(scripted, executor, prepare, sink):
    given, items = scripted.ask(exit_code=1)
    async with executor.open(prepare(**given)) as session:
        assert not (await session.run(items, sink)).ok
        assert (await session.run(["true"], sink, name="after_script")).ok
    assert sink.commands == [*items, "true"]


async def test_after_script_runs_after_a_cancelled_script(scripted, executor, prepare, sink):
    given, items = scripted.ask(output="here", hang=True)
    async with executor.open(prepare(**given)) as session:
        async with anyio.create_task_group() as group:
            group.start_soon(session.run, items, sink)
            await sink.said(b"here")
            group.cancel_scope.cancel()
        assert (await session.run(["true"], sink, name="after_script")).ok


async def test_a_deadline_around_a_hanging_script_is_kept(kind, executor, prepare, sink):
    given, items = kind.ask(hang=True)
    with anyio.fail_after(10):
        async with executor.open(prepare(**given)) as session:
            with anyio.move_on_after(0.05) as scope:
                await session.run(items, sink)
    assert scope.cancelled_caught


async def test_usage_tells_the_time_it_took(kind, executor, prepare, sink):
    given, items = kind.ask()
    async with executor.open(prepare(**given)) as session:
        outcome = await session.run(items, sink)
    assert outcome.usage["wall_seconds"] >= 0


async def test_two_sessions_run_side_by_side(kind, executor, prepare, sink):
    given, items = kind.ask(output="x", hang=True)
    quick, quick_items = kind.ask()
    async with anyio.create_task_group() as group:

        async def hang():
            async with executor.open(prepare(**given)) as session:
                await session.run(items, sink)

        group.start_soon(hang)
        await sink.said(b"x")
        async with executor.open(prepare(**quick)) as session:
            assert (await session.run(quick_items, sink)).ok
        group.cancel_scope.cancel()
