"""`make demo`: a commit to a real repository is noticed, run and shown, in front of your eyes.

Everything lies in one folder (.demo), nothing is fetched, nothing is left running. KEEP=1 goes on serving until Ctrl-C.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import click

from formicary.ant.settings import DEFAULT_PATH
from formicary.cli.client import REQUESTS, Api, Json, find
from formicary.cli.follow import Follower, opened
from formicary.cli.format import SUCCESS
from formicary.cli.show import Lines, result_line

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("DEMO", ".demo")).absolute()
MADE_BY = "# made by `make demo`, which deletes this folder when it is called again\n"
SETTINGS = """\
data = "data"
site = "site"
port = 0
hands = 3

[[repo]]
path = "project"
visibility = "public"
"""
FORMICARY = [sys.executable, "-P", "-m", "formicary.cli.main"]
START_SECONDS = 30.0
NOTICE_SECONDS = 20.0
RUN_SECONDS = 60.0
STOP_SECONDS = 20.0


def say(text: str) -> None:
    click.echo(f"\n{click.style('●', fg='blue')} {click.style(text, bold=True)}")


def fail(text: str) -> None:
    click.echo(f"{click.style('the demo failed:', fg='red', bold=True)} {text}", err=True)
    sys.exit(1)


def shown(words: Sequence[str]) -> None:
    click.echo(click.style(f"$ {' '.join(words)}", dim=True))


def git(*words: str, show: bool = False) -> None:
    if show:
        shown(("git", *words))
    call = ["git", "-C", str(FOLDER / "project"), *words]
    done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        fail(f"git {words[0]}: {done.stderr.strip()}")


def formicary(*words: str) -> None:
    shown(("formicary", *words))
    if subprocess.run([*FORMICARY, *words], cwd=FOLDER, timeout=60).returncode != 0:
        fail(f"formicary {words[0]} has an error; it is above")


def fresh_folder() -> None:
    """An empty .demo. Only one that we made is deleted."""
    mark = FOLDER / "formicary.toml"
    if FOLDER.exists():
        if not mark.exists() or not mark.read_text().startswith(MADE_BY):
            fail(f"{FOLDER} is there already, and not ours; move it away")
        if serves(FOLDER / "data"):
            fail("an earlier demo still serves (KEEP=1); end it with Ctrl-C first")
        shutil.rmtree(FOLDER)
    FOLDER.mkdir(parents=True)
    mark.write_text(MADE_BY + SETTINGS)


def serves(data: Path) -> bool:
    try:
        os.kill(int(json.loads((data / "server.json").read_text())["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return False
    return True


def task_python() -> str:
    """A Python that tasks find by their own PATH, else the one that this runs with."""
    found = shutil.which("python3", path=DEFAULT_PATH)
    if found and subprocess.run([found, "--version"], capture_output=True, timeout=30).returncode == 0:
        return "python3"
    return str(Path(sys.executable).resolve())


def make_repository() -> None:
    """A real one with a real project; its pipeline comes with the second commit, so that it can be seen."""
    project = FOLDER / "project"
    shutil.copytree(HERE / "project", project, ignore=shutil.ignore_patterns(".formicary", "__pycache__"))
    git("init", "--quiet", "--initial-branch=main")
    for name, value in (
        ("user.name", "Ada"),
        ("user.email", "ada@example.org"),
        ("commit.gpgsign", "false"),
        ("core.hooksPath", ".git/hooks"),
    ):
        git("config", name, value)
    git("add", "--all")
    git("commit", "--quiet", "--message", "Count words")


def add_pipeline() -> None:
    folder = FOLDER / "project" / ".formicary"
    shutil.copytree(HERE.parent / ".formicary", folder)
    ci = (HERE / "project" / ".formicary" / "ci.yml").read_text()
    (folder / "ci.yml").write_text(ci.replace("PYTHON: python3", f"PYTHON: {task_python()}"))


@contextmanager
def served() -> Iterator[Path]:
    """A server as a process of its own; gives the file of what it says, and ends it at the end, whatever happens."""
    output = FOLDER / "serve.log"
    shown(("formicary", "serve"))
    with open(output, "wb") as file:
        process = subprocess.Popen(
            [*FORMICARY, "serve"],
            cwd=FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_server(process, output)
        yield output
    finally:
        stop(process)


def wait_for_server(process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "log in" not in output.read_text():
        if process.poll() is not None:
            fail(f"the server ended at once:\n{output.read_text()}")
        if time.monotonic() > deadline:
            fail(f"the server did not start in {START_SECONDS:.0f} s; it said:\n{output.read_text()}")
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Drain, then stop, then kill, each within its time."""
    for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGINT, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass


def noticed(api: Api, since: float) -> Json:
    """The request that the commit has led to."""
    while time.monotonic() < since + NOTICE_SECONDS:
        found: list[Json] = api.get(REQUESTS, job_type="ci")["records"]
        if found:
            return found[0]
        time.sleep(0.02)
    fail(f"nothing noticed the commit within {NOTICE_SECONDS:.0f} s; see {FOLDER / 'serve.log'}")
    raise AssertionError


async def watch(api: Api, request: Json) -> Json:
    async with opened(api.connection) as http:
        with anyio.fail_after(RUN_SECONDS):
            return await Follower(api.connection, http, request["id"], Lines(prefix=True), logs=True).run()


def commit_and_watch(api: Api) -> Json:
    git("add", ".formicary")
    git("commit", "--quiet", "--message", "Build and test every commit", show=True)
    since = time.monotonic()
    request = noticed(api, since)
    took = (time.monotonic() - since) * 1000
    click.echo(f"noticed after {took:.0f} ms: {request['job_type']} {request['id']} at {request['commit'][:10]}\n")
    try:
        ended = anyio.run(watch, api, request)
    except TimeoutError:
        fail(f"the job did not end in {RUN_SECONDS:.0f} s; see {FOLDER / 'serve.log'}")
    click.echo(result_line(ended))
    return ended


def check(api: Api, ended: Json) -> None:
    """The demo is a test too: what it shows must have happened."""
    tasks = {task["task_type"]: task for task in api.tasks(ended["id"])}
    if ended["state"] not in SUCCESS:
        fail(f"the job is {ended['state']}; its log is above")
    if len(tasks["service"]["attempts"]) < 2:
        fail("`service` should have failed once and recovered")
    if not tasks["build"]["attempts"][-1]["artifacts"]:
        fail("`build` should have made an artifact")


def login_link(output: Path) -> str:
    return next((word for word in output.read_text().split() if "/login?code=" in word), "")


def pages(output: Path) -> None:
    say("The pages")
    click.echo(f"as files  {FOLDER / 'site' / 'index.html'}  (need no server)")
    if os.environ.get("KEEP"):
        click.echo(f"live      {login_link(output)}  (works once)")
    else:
        click.echo("live      KEEP=1 make demo leaves the server running, and prints its link")


def keep_serving() -> None:
    formicary_here = Path(sys.executable).with_name("formicary")
    click.echo(f"look around: cd {FOLDER} && {formicary_here} status   (or logs 1, repos, trigger parallel --wait)")
    click.echo("serving until Ctrl-C …")
    try:
        signal.pause()
    except KeyboardInterrupt:
        click.echo("stopping")


def own_environment() -> None:
    """What the caller has set for other repositories and other servers does not count here."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "FORMICARY_")):
            del os.environ[name]


def main() -> None:
    began = time.monotonic()
    own_environment()
    say("A git repository with a small Python project")
    fresh_folder()
    make_repository()
    click.echo(f"{FOLDER / 'project'}")
    say("A server that watches it, on this machine alone")
    with served() as output:
        click.echo(output.read_text().rstrip())
        formicary("hook", "install", "--repo", "project")
        say("A commit that brings .formicary/ci.yml")
        add_pipeline()
        api = Api(find(data=FOLDER / "data"))
        check(api, commit_and_watch(api))
        say("What the server knows now")
        formicary("status")
        pages(output)
        api.close()
        if os.environ.get("KEEP"):
            keep_serving()
    if not (FOLDER / "site" / "index.html").is_file():
        fail("the static pages were not written")
    click.echo(f"\ndone in {time.monotonic() - began:.1f} s; the server has ended.")


def interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupted)  # a background job of a shell would ignore it
    signal.signal(signal.SIGTERM, interrupted)  # however it ends, the server ends with it
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
