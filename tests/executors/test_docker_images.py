"""Images: had by policy, from a real registry with credentials, told by digest; one not to be had is lost (D12)."""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import closing

import anyio
import pytest

from formicary.executors.docker_images import Images, Wrong
from formicary.runner.core.errors import ERR_DEFINITION, ERR_IMAGE, LOST_CODES

#: Of `formicary:let-me-in`, by bcrypt.
HTPASSWD = "formicary:$2b$04$abcdefghijklmnopqrstuudxA/1BY5FxPYA69jUrJOJFmTyoe9T1a\n"
CONFIG = """
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}
"""


@pytest.fixture(scope="module")
def registry(engine, tmp_path_factory):
    """A registry that wants a password; it holds the small image as `tests/small:1`."""
    program = shutil.which("docker-registry")
    if program is None:
        if "docker" in os.environ.get("FORMICARY_REQUIRE", ""):
            pytest.fail(
                "FORMICARY_REQUIRE names docker, whose registry is not installed; apt-get install docker-registry"
            )
        pytest.skip("there is no docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    name = f"127.0.0.1:{port}/tests/small"
    log = open(folder / "log", "wb")  # noqa: SIM115
    with log, subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log) as process:
        try:
            _wait(port)
            engine.client.tag(engine.image, name, "1")
            auth = {"username": "formicary", "password": "let-me-in"}
            for said in engine.client.push(name, "1", auth_config=auth, stream=True, decode=True):
                assert "error" not in said, said
            engine.forget(f"{name}:1")
            yield f"{name}:1"
        finally:
            process.terminate()


def _wait(port):
    for _ in range(500):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the registry does not listen")


@pytest.fixture
def absent(registry, engine):
    """An image that is in the registry and not on the engine, before and after."""
    yield registry
    if any(registry in (one["RepoTags"] or ()) for one in engine.client.images()):
        engine.forget(registry)


@pytest.fixture
def logged_in(registry, tmp_path):
    """A file as `docker login` writes it."""
    path = tmp_path / "docker.json"
    secret = base64.b64encode(b"formicary:let-me-in").decode()
    path.write_text(json.dumps({"auths": {registry.partition("/")[0]: {"auth": secret}}}))
    return str(path)


@pytest.fixture
def have(docker):
    """Have an image: the policy, what was said."""

    async def have(name, policy=None, **settings):
        said = []
        return await Images(docker(**settings).engine).have(name, policy, said.append), said

    return have


async def test_it_is_pulled_once_and_its_digest_is_told(absent, logged_in, have):
    image, said = await have(absent, config=logged_in)
    assert image.digest.startswith("sha256:") and image.digest != image.id
    assert said == [f"Pulling the image {absent}.", f"Image {absent}, {image.digest}."]
    _, again = await have(absent, "if-not-present", config=logged_in)
    assert again == said[1:]
    _, always = await have(absent, "always", config=logged_in)
    assert always == said


async def test_many_that_want_it_at_once_pull_it_once(absent, logged_in, docker):
    images, said = Images(docker(config=logged_in).engine), []
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(images.have, absent, None, said.append)
    assert said.count(f"Pulling the image {absent}.") == 1 and len(said) == 6


@pytest.mark.parametrize("policy", [None, "never", "always"])
async def test_one_that_cannot_be_had_is_lost_and_says_why(policy, absent, have, boxed):
    """D12: without credentials, or forbidden to pull."""
    with pytest.raises(Wrong) as raised:
        await have(absent, policy)
    assert raised.value.code == ERR_IMAGE and ERR_IMAGE in LOST_CODES
    assert absent in str(raised.value)
    assert ("pull_policy is never" if policy == "never" else "no basic auth credentials") in str(raised.value)
    outcome = await boxed("true", image=absent, container={"pull_policy": policy})
    assert outcome.error_code == ERR_IMAGE and str(raised.value) == outcome.error_message


async def test_a_registry_that_is_not_there_is_lost(boxed):
    outcome = await boxed("true", image="127.0.0.1:1/none:1")
    assert outcome.error_code == ERR_IMAGE and "connection refused" in outcome.error_message


async def test_an_image_that_is_not_in_the_registry_is_lost(registry, logged_in, have):
    with pytest.raises(Wrong, match="cannot be had") as raised:
        await have(registry.replace("small", "other"), config=logged_in)
    assert raised.value.code == ERR_IMAGE


async def test_a_name_that_is_none_is_the_definitions_fault(boxed):
    outcome = await boxed("true", image="No Such!Name")
    assert outcome.error_code == ERR_DEFINITION and "'No Such!Name' is no name of an image" in outcome.error_message


async def test_a_pull_may_be_cancelled_and_holds_nobody_up(docker, contain, sink):
    """The registry accepts and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        name = f"127.0.0.1:{silent.getsockname()[1]}/never/answers:1"
        started = time.monotonic()
        async with docker().open(contain(image=name)) as session:
            with anyio.move_on_after(0.5) as scope:
                await session.run(["true"], sink)
            assert scope.cancelled_caught
        assert time.monotonic() - started < 5
