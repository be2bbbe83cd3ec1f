"""Every file of examples/.formicary is loaded without a warning and run for real, in each way that it tells of."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from formicary.cli.house import open_house
from formicary.cli.run import Local, find, read_tree, run
from formicary.cli.settings import Settings
from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.records import Repository
from formicary.runner.core.states import TERMINAL
from formicary.runner.queen.arriving.requests import checked_params

FOLDER = Path(__file__).parents[2] / "examples" / ".formicary"


@dataclass
class Way:
    """A way to run an example: what is given, how it ends, what must and what must not be in what is shown."""

    job: str
    params: dict = field(default_factory=dict)
    ends: str = "COMPLETED"
    shows: tuple = ()
    hides: tuple = ()
    times: int = 1

    def __str__(self):
        return "-".join([self.job, *self.params.values()])


WAYS = [
    Way("hello", shows=("Hello from ",)),
    Way("parallel", shows=("looking for mistakes", "running the tests", "lint and test are fine")),
    Way("retry", shows=("attempt 0", "↻ flaky", "attempt 1", "✓ flaky")),
    Way("artifacts", shows=("I was built by another task",)),
    Way("cache", times=2, shows=("fetching it anew", "\nfound in the cache")),
    Way("outputs", shows=("image registry/app:1.4.2",)),
    Way("exit_codes", shows=("nothing has changed",), hides=("| deploying",)),
    Way("exit_codes", {"Changes": "yes"}, shows=("| deploying",), hides=("| nothing has changed",)),
    Way("cleanup", shows=("stopped the test database",)),
    Way("cleanup", {"Break": "yes"}, "FAILED", shows=("✗ test", "| stopped the test database")),
    Way("params", {"Environment": "staging"}, shows=("deploying v1.0 to staging",)),
    Way("params", {"Environment": "production", "Version": "v2.1"}, shows=("deploying v2.1 to production",)),
    Way("cron", shows=("tidying up on 2",)),
    Way("paths", shows=("building the docs of main",)),
    Way("skip", shows=("building 1.0", "| publishing 1.0")),
    Way("skip", {"Version": "dev"}, shows=("building dev", "· publish"), hides=("| publishing dev",)),
    Way("skip", {"Version": "none"}, "SKIPPED", hides=("building none",)),
    Way("allow_failure", shows=("✗ strict_check", "| the tests pass")),
    Way(
        "secret",
        {"Token": "hunter2hunter2"},
        shows=("logging in with ***", "is ***"),
        hides=("hunter2hunter2", "uhagre2uhagre2"),
    ),
    Way("templates", shows=("with Python 3.11", "with Python 3.12", "with Python 3.13", "all 3 are fine")),
    Way("reports", shows=("Reports: 3 tests, 1 skipped; 75.0% of 4 lines covered.",)),
    Way("reports", {"Break": "yes"}, "FAILED", shows=("Reports: 3 tests, 1 failed, 1 skipped; 75.0%",)),
    Way(
        "matrix",
        shows=(
            "testing with Python 3.11 on linux",
            "✓ test (python=3.12, os=macos)",
            "| 3.13 on linux is fine",
        ),
        hides=("Python 3.11 on macos",),
    ),
    Way("when", shows=("· publish: Its `when` is for the event `push`, and this is `run`.", "| all is done")),
    Way("concurrency", shows=("building the preview of main",)),
    Way("resources", shows=("this needs no database", "migrating the database at nowhere")),
    Way("completed", shows=("after nobody",)),
    Way("webhook", shows=("deploying 0 for nobody",)),
    Way("webhook", {"Version": "1.4", "Who": "ann"}, shows=("deploying 1.4 for ann",)),
    Way("fork_join", shows=("✓ encode1", "✓ both", "| part 1, encoded", "| part 2, encoded")),
    Way("fan_out", shows=("✓ each", "| 3 jobs, eu.example.org,us.example.org,asia.example.org")),
    Way("notify", shows=("somebody would hear of this",)),
    Way("defaults", shows=("before every script", "first in C", "after it", "second in C.UTF-8, in .formicary")),
]

FORKED = {"encode", "deploy_region"}
"""Jobs that others fork, in the files of these."""


@pytest.fixture
def project(repo):
    """A repository whose only content are the examples."""
    shutil.copytree(FOLDER, repo.path / ".formicary")
    repo.commit(message="the examples")
    return repo


@pytest.fixture
def settings():
    """Workspaces where tasks' own users may pass through, as root too."""
    with tempfile.TemporaryDirectory(prefix="formicary-examples-") as folder:
        Path(folder).chmod(0o711)
        yield Settings(data=Path(folder) / "data", work=Path(folder) / "work", hands=2)


def test_every_file_is_run_and_loads_without_a_warning():
    """`examples/` is documentation: nothing in it may be wrong or forgotten."""
    loaded, broken = read_tree(FOLDER.parent)
    assert broken == []
    assert [one for one in loaded if one.problems or one.warnings] == []
    assert {Path(one.path).stem for one in loaded} == {way.job for way in WAYS}
    assert {way.job for way in WAYS} | FORKED == {one.job_type for one in loaded}
    assert {path.name for path in FOLDER.iterdir()} == {f"{way.job}.yml" for way in WAYS}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_each_begins_with_what_it_shows(path):
    """A reader who sees it first is told what it is about."""
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_it_runs(way, project, settings, capfd):
    loaded, definition = find(project.path, way.job)
    for _ in range(way.times):
        with anyio.fail_after(30):
            ended = await run(settings, Local(project.path, loaded, definition, params=way.params))
    shown = capfd.readouterr().out
    assert ended.state == way.ends, shown
    assert [text for text in way.shows if text not in shown] == [], shown
    assert [text for text in way.hides if text in shown] == [], shown


@pytest.mark.parametrize("params", [{}, {"Environment": "moon"}, {"Environment": "staging", "Version": "1"}], ids=str)
def test_params_refuses_what_it_does_not_want(params):
    _, definition = find(FOLDER.parent, "params")
    with pytest.raises(RequestRefused):
        checked_params(definition, params)


async def test_paths_runs_for_the_docs_alone(project, settings):
    """An event that the filter excludes makes a request that is skipped at once; drafts are excluded."""
    async with open_house(settings, state=settings.data) as house:
        await house.start()
        watched = await house.reconciler.add(Repository(id=0, name="app", path=str(project.path)))
        await house.reconciler.sync(watched.id)
        project.commit({"docs/guide.md": "read me"}, "docs")
        docs = await ended(house, watched, project.head())
        project.commit({"docs/drafts/next.md": "not yet"}, "a draft")
        draft = await ended(house, watched, project.head())
        house.group.cancel_scope.cancel()
    assert (docs.state, draft.state) == ("COMPLETED", "SKIPPED")


async def ended(house, watched, commit):
    """The one request of this commit, once it has ended."""
    with house.queen.changes.subscribe() as news, anyio.fail_after(30):
        await house.reconciler.sync(watched.id)
        while True:
            (request,) = house.store.read().requests(commit=commit, job_type="paths").records
            if request.state in TERMINAL:
                return request
            await news.next()
