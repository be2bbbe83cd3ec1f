"""examples/.formicary/container.yml, in containers where there is an engine, and on the host as `--on-host` runs it."""

import shutil
import tempfile
from pathlib import Path

import anyio
import pytest

from formicary.cli.run import Local, find, run
from formicary.cli.settings import Settings
from formicary.runner.core.definition import METHODS
from formicary.runner.core.load import load

FOLDER = Path(__file__).parents[2] / "examples" / ".formicary"


@pytest.fixture
def project(repo):
    (repo.path / ".formicary").mkdir()
    shutil.copy(FOLDER / "container.yml", repo.path / ".formicary")
    repo.commit(message="the example")
    return repo


@pytest.fixture
def settings():
    """Workspaces where tasks' own users may pass through, as root too."""
    with tempfile.TemporaryDirectory(prefix="formicary-examples-") as folder:
        Path(folder).chmod(0o711)
        yield Settings(data=Path(folder) / "data", work=Path(folder) / "work", hands=2)


async def shown_by(project, settings, capfd, **fields):
    loaded, definition = find(project.path, "container")
    with anyio.fail_after(60):
        ended = await run(settings, Local(project.path, loaded, definition, **fields))
    shown = capfd.readouterr().out
    assert ended.state == "COMPLETED", shown
    return shown


async def test_it_runs_in_containers(project, settings, capfd, engine):
    near = settings.model_copy(update={"docker": engine.address})
    shown = await shown_by(project, near, capfd, params={"Image": engine.image})
    assert "inside | the user is 1000, and the workspace is my own" in shown
    assert "beside | root:x:0:0" in shown


async def test_what_needs_no_service_runs_on_the_host(project, settings, capfd):
    off = settings.model_copy(update={"docker": "off"})
    shown = await shown_by(project, off, capfd, task="inside", on_host=True)
    assert "\nthe user is " in shown


def test_its_methods_are_chosen_by_the_ant():
    (loaded,) = load((FOLDER / "container.yml").read_text(), path="container.yml", fragments={})
    assert {task.method for task in loaded.definition.tasks} == {"CONTAINER"} and "CONTAINER" not in METHODS
