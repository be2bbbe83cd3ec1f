"""Services: found by name and alias, ready before the script, gone with the task, and heard when something fails."""

import anyio
import pytest

from formicary.runner.core.containing import Health, Port, Service, Volume
from formicary.runner.core.errors import ERR_DEFINITION, ERR_SERVICE

SLOW_WEB = (
    "sh",
    "-c",
    "echo starting; sleep 0.5; mkdir /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www",
)


@pytest.fixture
def web(engine):
    def make(**fields):
        given = {"image": engine.image, "entrypoint": SLOW_WEB, "ports": (Port(number=80),)}
        return Service(**{"name": "web", **given, **fields})

    return make


@pytest.mark.parametrize(
    "health",
    [Health(), Health(port=80), Health(command=("test", "-e", "/www/index.html"), interval=0.05)],
    ids=["ports", "port", "command"],
)
async def test_it_is_ready_before_the_script_by_name_and_alias(health, web, boxed, sink):
    outcome = await boxed("wget -qO- http://web/; wget -qO- http://site/", services=(web(alias="site", health=health),))
    assert outcome.ok, outcome
    assert sink.output == b"hello\nhello\n"
    assert ("sys", "Service web is ready.") in sink.records


async def test_a_port_of_an_engine_far_away_is_asked_for_inside(web, boxed, monkeypatch):
    monkeypatch.setattr("formicary.executors.docker_api.Engine.local", False)
    assert (await boxed("wget -qO- http://web/", services=(web(),), workspace="copy")).ok


async def test_an_images_own_health_check_is_waited_for(engine, web, boxed):
    check = "HEALTHCHECK --interval=1s --retries=100 CMD test -e /www/index.html"
    service = web(image=engine.made(check), ports=())
    assert (await boxed("wget -qO- http://web/", services=(service,))).ok


async def test_several_reach_each_other_and_share_a_volume(engine, web, boxed, sink):
    shared = Volume(kind="empty_dir", name="data", mount_path="/data")
    writer = ("sh", "-c", "echo shared >/data/file; exec httpd -f -p 7000 -h /data")
    other = Service(name="other", image=engine.image, entrypoint=writer, ports=(Port(number=7000),), volumes=(shared,))
    outcome = await boxed(
        "wget -qO- http://web/",
        "cat /mine/file",
        services=(web(), other),
        volumes=(shared.model_copy(update={"mount_path": "/mine"}),),
    )
    assert outcome.ok, outcome
    assert sink.output == b"hello\nshared\n"


async def test_one_that_ends_too_soon_fails_the_task_and_is_heard(web, boxed, sink):
    broken = web(entrypoint=("sh", "-c", "echo cannot open database >&2; exit 4"))
    outcome = await boxed("echo never", services=(broken,))
    assert (outcome.exit_code, outcome.error_code) == (None, ERR_SERVICE)
    assert outcome.error_message == "Service web ended with exit code 4."
    assert ("sys", "web: cannot open database") in sink.records and not sink.output


async def test_one_that_is_never_ready_fails_the_task_in_its_own_time(web, boxed, sink):
    idle = web(entrypoint=("sh", "-c", "echo idle; sleep 600"), health=Health(interval=0.1, retries=5))
    with anyio.fail_after(15):
        outcome = await boxed("echo never", services=(idle,))
    assert outcome.error_code == ERR_SERVICE
    assert outcome.error_message == "Service web was not ready within 0.5 s: nothing listens at port 80."
    assert ("sys", "web: idle") in sink.records


async def test_a_check_that_hangs_is_not_waited_for(web, boxed):
    health = Health(command=("sleep", "5"), interval=0.1, timeout=0.2, retries=3)
    outcome = await boxed("echo never", services=(web(health=health),))
    assert outcome.error_code == ERR_SERVICE and "longer than 0.2 s" in outcome.error_message


async def test_when_the_script_fails_services_are_heard(web, boxed, sink):
    assert (await boxed("exit 1", services=(web(),))).exit_code == 1
    assert ("sys", "Service web runs; it wrote last:") in sink.records
    assert ("sys", "web: starting") in sink.records


async def test_a_task_of_the_hosts_network_cannot_have_services(web, boxed):
    outcome = await boxed("true", services=(web(),), host_network=True)
    assert outcome.error_code == ERR_DEFINITION and "not supported: services together" in outcome.error_message


async def test_cancelled_while_services_start_nothing_is_left(web, docker, contain, sink):
    """The fixture `docker` looks what is left."""
    idle = web(entrypoint=("sleep", "600"), health=Health(command=("false",)))
    async with docker().open(contain(services=(idle,))) as session:
        with anyio.move_on_after(1) as scope:
            await session.run(["echo never"], sink)
        assert scope.cancelled_caught
        assert (await session.run(["echo never"], sink, name="after_script")).ok
    assert not sink.output
