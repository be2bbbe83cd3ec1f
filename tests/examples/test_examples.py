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
    approved: bool = True
    """What people say who are asked."""
    secrets: dict = field(default_factory=dict)

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
    Way("expire", shows=("0 artifacts have gone, 0 bytes",)),
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
    Way("fan_out_items", shows=("✓ deploy (Region=asia)", "| 3 regions, the first COMPLETED at eu.ex", "| us is up")),
    Way("plugin", shows=("io.example.greeting (greet) COMPLETED", "| it said good evening, ants")),
    Way("notify", shows=("somebody would hear of this",)),
    Way("timeout", shows=("timeout of 1s", "| whatever happened", "| going on without", "| nothing was left")),
    Way("sensor", shows=("looking after 0 seconds", "| the file has come")),
    Way("pause", shows=("prepared once", "| there is quota again")),
    Way("restart_job", shows=("fetched once", "token for attempt 0", "token for attempt 1", "| uploaded")),
    Way("job_retry", shows=("preparing in attempt 0", "preparing in attempt 2", "| it worked in attempt 2")),
    Way("error_codes", shows=("✓ deploy",)),
    Way("error_codes", {"Code": "42"}, "FAILED", shows=("(ERR_QUOTA)",)),
    Way("error_codes", {"Code": "43"}, shows=("✓ deploy",)),
    Way("approval", shows=("✓ production", "| deployed to production"), hides=("| taken from",)),
    Way("approval", ends="FAILED", approved=False, shows=("was rejected", "| taken from"), hides=("| deployed to",)),
    Way("restart_task", shows=("attempt 0", "attempt 1", "now it worked")),
    Way("restart_task", {"Code": "3"}, "FAILED", shows=("\nattempt 0",), hides=("\nattempt 1",)),
    Way("shell", shows=("still in .formicary", "✗ strict", "| nobody has noticed"), hides=("| never said",)),
    Way("include", shows=("good evening, ants", "ants at work")),
    Way("sub_workflow", shows=("✓ publish", "| get it from https://packages.example/app-2.0.tar")),
    Way(
        "stored_secret",
        secrets={"UploadToken": "hunter2hunter2"},
        shows=("this task sees no token", "| uploading with ***"),
        hides=("hunter2hunter2",),
    ),
    Way("environment", shows=("environment runs in production, CI is", '* it\'s new, "quoted" and {{not', "* 100%")),
    Way("commands", shows=("This name is used twice", "the word is ***"), hides=("the word is correct-horse",)),
    Way("retention", shows=("kept for a week",)),
    Way("pull_request", shows=("checking no pull request, asked for by hand",)),
    Way("checkout", shows=("| building what is under test", "| nothing is here")),
    Way("checkout", {"Release": "main"}, shows=("(main).", "| building main as it was")),
    Way("go_dialect", shows=("| hello from build", "| building for STAGING", "| step 2 of 2")),
    Way("release", shows=("✓ test (width=7)", "· agree", "| somebody hears"), hides=("| released",)),
    Way("release", {"Version": "v1.0.0"}, shows=("| app.py: OK", "| released app-v1.0.0.tar")),
    Way("release", {"Version": "v1.0.0"}, approved=False, shows=("✓ agree",), hides=("| released",)),
    Way("image_pipeline", times=2, shows=("✓ smoke_test", "| pushed app@sha256:")),
    Way("etl", shows=("the phone system is closed", "| shops: 2 orders, 750 cents", "| web: 1 orders, 1999 cents")),
    Way("train_evaluate_decide", shows=("the best is ridge=0", "| deploying the model"), hides=("| kept for a look",)),
    Way("train_evaluate_decide", {"Needed": "1.1"}, shows=("| kept for a look",), hides=("| deploying the model",)),
    Way("scan", shows=("✓ secrets", "✗ licences", "2 tests, 1 failed", "| see what was found")),
    Way("scan", {"Strict": "yes"}, "FAILED", shows=("✗ gate",)),
    Way("video", shows=("| 1-meadow in 720p", "| 3-night in 720p", "| the scratch space")),
    Way("defaults", shows=("before every script", "first in C", "after it", "second in C.UTF-8, in .formicary")),
]

FORKED = {"encode", "encode_scene", "deploy_region", "package", "io.example.greeting"}
"""Jobs that others fork, in the files of these."""
ALONE = {"http", "container"}
"""Jobs that have a test of their own."""


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
    run = {way.job for way in WAYS} | ALONE
    assert {Path(one.path).stem for one in loaded} == run
    assert run | FORKED == {one.job_type for one in loaded}
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.yml" for name in run} | {"fragments"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yml")), ids=lambda path: path.name)
def test_each_begins_with_what_it_shows(path):
    """A reader who sees it first is told what it is about, in two lines that fit on a screen."""
    first, second, *_ = path.read_text().splitlines()
    assert first.startswith("# ") and second.startswith("# ") and max(map(len, path.read_text().splitlines())) <= 120


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_it_runs(way, project, settings, capfd, monkeypatch):
    async def answer(question):
        return way.approved, "I have looked at it"

    monkeypatch.setattr("formicary.cli.runasks._answer", answer)
    loaded, definition = find(project.path, way.job)
    local = Local(project.path, loaded, definition, params=way.params, secrets=way.secrets)
    for _ in range(way.times):
        with anyio.fail_after(30):
            ended = await run(settings, local)
    shown = capfd.readouterr().out
    assert ended.state == way.ends, shown
    assert [text for text in way.shows if text not in shown] == [], shown
    assert [text for text in way.hides if text in shown] == [], shown


async def test_http_asks_a_server_until_it_is_done(project, settings, capfd, receive):
    receiver, kind = receive(), {"content-type": "application/json"}
    receiver.answers.extend([(201, kind, b'{"id": 7}'), (202, {}, b"not yet"), (200, {}, b"it is built")])
    loaded, definition = find(project.path, "http")
    near = settings.model_copy(update={"allow_networks": ("127.0.0.0/8",)})
    with anyio.fail_after(30):
        ended = await run(near, Local(project.path, loaded, definition, params={"Server": receiver.url(path="")}))
    shown = capfd.readouterr().out
    assert ended.state == "COMPLETED" and "| it is built" in shown, shown
    assert "and asks again; again in 0 s" in shown, "one sentence, one full stop"
    assert [call.path for call in receiver.calls] == ["/builds", "/builds/7", "/builds/7"]


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
