"""Tasks in containers through a whole ant: what they keep and bring, say and may do; and engines that come and go."""

import pytest

from formicary.ant import ant as ants
from formicary.ant.uids import default_range
from formicary.executors.docker_settings import DockerSettings
from formicary.runner.core.containing import CONTAINER, DOCKER, Container, Service, Volume
from formicary.runner.core.definition import Artifacts, Cache
from formicary.runner.core.errors import ERR_DEFINITION, ERR_NOT_ALLOWED, ERR_SERVICE
from formicary.runner.core.messages import Input
from formicary.runner.core.names import secret_token

RANGE = default_range()


@pytest.fixture
def boxed(engine, an_order):
    """An order of a DOCKER task of the small image."""

    def make(*, image=None, container=None, method=DOCKER, **given):
        return an_order(method, container=Container(image=image or engine.image, **(container or {})), **given)

    return make


@pytest.fixture(params=["mount", "copy"])
def how(request, engine, colony):
    """Settings of an ant whose workspaces get into containers like this."""
    docker = DockerSettings(engine.address, workspace=request.param, work=str(colony.work))
    yield {"docker": docker, "uid_range": RANGE if request.param == "mount" else None}
    assert engine.ours(f"formicary.work={colony.work}") == []


@pytest.fixture
def auto(engine, colony):
    yield {"docker": DockerSettings(engine.address, work=str(colony.work))}
    assert engine.ours(f"formicary.work={colony.work}") == []


@pytest.mark.parametrize("folder", ["", "/src", "/"])
async def test_artifacts_go_from_one_task_to_the_next(folder, colony, boxed, how):
    """Also hardlinks and what belongs to whomever inside."""
    script = "mkdir -p dist; echo a >dist/a; ln dist/a dist/b; chown 1234 dist/a; echo 1 >one; chmod 755 one"
    first = boxed(script=(script,), working_dir=folder, artifacts=Artifacts(paths=("dist", "one")))
    kept = (await colony.do(first, **how)).result
    assert [(ref.name, ref.kind, ref.executable) for ref in kept.artifacts] == [
        ("dist", "tar", False),
        ("one", "file", True),
    ]
    inputs = tuple(Input(task_type="t", artifact=ref) for ref in kept.artifacts)
    check = boxed(script=("cat dist/a dist/b one; test -x one",), working_dir=folder, order={"inputs": inputs})
    assert (await colony.do(check, **how)).result.exit_code == 0
    assert colony.desk.raw(check.task_execution_id) == b"a\na\n1\n"


async def test_caches_outputs_commands_and_secrets(colony, boxed, how):
    script = "cat cache/x || { mkdir cache; echo kept >cache/x; }; echo k=$Secret >>$FORMICARY_OUTPUT"
    said = "echo '::set-output name=s::t'; echo '::warning::careful'; echo $Secret; cat $Long | wc -c"
    cache = Cache(key="k", paths=("cache",))
    for turn in range(2):
        order = boxed(
            script=(script, said),
            cache=(cache,),
            environment={"Secret": "hush-hush"},
            order={"secrets": {"Secret": "hush-hush"}, "files": {"Long": "x" * 200_000}},
        )
        result = (await colony.do(order, **how)).result
        assert result.exit_code == 0 and result.outputs == {"k": "***", "s": "t"}
        assert result.warnings == ("warning: careful",)
        raw = colony.desk.raw(order.task_execution_id)
        assert (b"kept\n" in raw) == bool(turn) and b"hush" not in raw and b"200000\n" in raw


async def test_secrets_reach_services_and_are_masked_in_what_they_say(colony, engine, boxed, auto):
    """T8."""
    command = ("sh", "-c", "echo key is $KEY of ${#KEY}; exit 1")
    service = Service(name="web", image=engine.image, entrypoint=command, environment={"KEY": secret_token("KEY")})
    order = boxed(services=(service,), order={"secrets": {"KEY": "hush-hush"}})
    assert (await colony.do(order, **auto)).result.error_code == ERR_SERVICE
    assert "web: key is *** of 9" in colony.desk.sys(order.task_execution_id)


async def test_the_environment_is_the_images_and_the_tasks(colony, engine, boxed, auto):
    image = engine.made("ENV OF=image")
    order = boxed(image=image, script=("env; echo $HOME",), environment={"OF_TASK": "yes"})
    await colony.do(order, **auto)
    raw = colony.desk.raw(order.task_execution_id).decode()
    assert "OF=image\n" in raw and "OF_TASK=yes\n" in raw and "FORMICARY_WORKSPACE=/workspace\n" in raw
    assert raw.endswith("/root\n") and str(colony.work) not in raw and "LOGNAME" not in raw


async def test_a_timeout_ends_it_and_the_after_script_runs(colony, boxed, auto):
    order = boxed(script=("sleep 600",), after_script=("echo after",), timeout=2.0)
    result = (await colony.do(order, **auto)).result
    assert result.error_code == "ERR_TIMEOUT" and colony.desk.raw(order.task_execution_id) == b"after\n"


async def test_an_image_that_cannot_be_had_is_lost_and_told(colony, boxed, auto):
    """D12."""
    order = boxed(image="formicary-tests/nowhere:1", container={"pull_policy": "never"}, after_script=("echo after",))
    report = await colony.do(order, **auto)
    assert report.kind == "LOST"
    assert report.message == ("The image formicary-tests/nowhere:1 is not on this engine, and pull_policy is never.")


RISKY = {
    "privileged": {"privileged": True},
    "host network": {"host_network": True},
    "host path": {"volumes": (Volume(kind="host_path", name="v", mount_path="/v", host_path="/etc"),)},
    "named volume": {"volumes": (Volume(kind="named", name="formicary-tests-v", mount_path="/v"),)},
    "device": {"container": {"devices": ("/dev/null",)}},
    "bind_dir": {"container": {"bind_dir": "/etc:/host"}},
}


@pytest.mark.parametrize("risk", RISKY.values(), ids=RISKY)
async def test_what_reaches_beyond_a_container_is_refused_unless_allowed(risk, colony, engine, boxed, auto):
    """T21: for the named repository's trusted runs alone."""
    order = boxed(script=("true",), order={"repository": "app"}, **risk)
    refused = (await colony.do(order, **auto, risky=("other",))).result
    assert refused.error_code == ERR_NOT_ALLOWED and "does not allow that for repository 'app'" in refused.error_message
    untrusted = boxed(script=("true",), order={"repository": "app", "trusted": False}, **risk)
    if RANGE:
        result = (await colony.do(untrusted, **auto, risky=("app",), uid_range=RANGE)).result
        assert result.error_code == ERR_NOT_ALLOWED and "not trusted" in result.error_message
    try:
        allowed = boxed(script=("true",), order={"repository": "app"}, **risk)
        report = await colony.do(allowed, **auto, risky=("app",))
        # An engine that is in a sandbox itself may be unable to give privileges away.
        assert "unable to apply caps" in report.message or report.result.exit_code == 0
    finally:
        if "named" in str(risk):
            engine.client.remove_volume("formicary-tests-v")


async def test_what_only_clusters_have_is_refused_by_name(colony, boxed, auto):
    claim = Volume(kind="pvc", name="data", mount_path="/data")
    result = (await colony.do(boxed(volumes=(claim,)), **auto, risky=("*",))).result
    assert result.error_code == ERR_DEFINITION and "not supported: the volume `data` (pvc)" in result.error_message


async def test_an_engine_that_comes_later_is_offered(colony, boxed, engine, monkeypatch):
    """The ant says so; until then it says what it is without, and why."""
    if not engine.address.startswith("unix:"):
        pytest.skip("needs an engine at a socket of this machine")
    monkeypatch.setattr(ants, "FIRST_LOOK", 0.05)
    later = colony.folder / "engine.sock"
    docker = DockerSettings(f"unix://{later}", work=str(colony.work))
    async with colony.bus.serve(colony.desk), colony.running(docker=docker):
        (present,) = colony.desk.present
        assert not {DOCKER, CONTAINER} & present.methods and present.methods >= {"SHELL"}
        assert present.without[DOCKER].startswith(f"no container engine answers at unix://{later}")
        later.symlink_to(engine.address.removeprefix("unix://"))
        await colony.desk.until(lambda: len(colony.desk.present) > 1)
        assert colony.desk.present[-1].methods >= {DOCKER, CONTAINER} and not colony.desk.present[-1].without
        report = await colony.desk.finished(colony.desk.give(boxed(script=("true",), method=CONTAINER)))
        assert report.result.exit_code == 0
        later.unlink()
        await colony.desk.until(lambda: colony.desk.present[-1].without)


async def test_what_a_container_wrote_is_removed_with_its_place(colony, boxed, auto):
    script = "mkdir -m 0 closed; echo 1 >root; chown 1234 root; mkdir -p deep/er; chmod 555 deep"
    assert (await colony.do(boxed(script=(script,)), **auto)).result.exit_code == 0
    assert [path.name for path in colony.work.iterdir()] == [".lock"]
