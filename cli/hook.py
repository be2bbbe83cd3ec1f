"""`formicary hook`: lets git tell the server of every commit, beside whatever hooks a repository has."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from formicary.cli import githooks
from formicary.cli.hooksend import CONFIG
from formicary.cli.settings import read_settings
from formicary.runner.core.errors import NotFound, SetupError, UserError
from formicary.runner.core.records import Repository
from formicary.webhook.datafolder import hook_secret, known_hook_secret, read_server_json

WORKING: Final = ("post-commit", "post-merge", "post-rewrite")
BARE: Final = ("post-receive",)

REPO: Final = click.option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="The repository.  [default: this one]"
)
DATA: Final = click.option("--data", type=click.Path(path_type=Path), help="The data folder of the server.")


@dataclass(frozen=True, slots=True)
class Place:
    """A repository as git sees it. `common` is its git folder, `hooks` where its hooks are (core.hooksPath)."""

    top: Path
    common: Path
    hooks: Path
    bare: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The hooks that are ours here. A working repository that is pushed to has both."""
        return BARE if self.bare else (*WORKING, *BARE)

    @property
    def config(self) -> Path:
        """Beside the hooks, but never where they are shared or committed: it holds the secret."""
        return self.common / "hooks" / CONFIG

    def is_called(self, path: str) -> bool:
        """Whether a server that watches `path` watches this."""
        known = {self.top, self.common, self.common.parent if self.common.name == ".git" else self.common}
        return Path(path).resolve() in known

    @property
    def committed(self) -> bool:
        """Whether the hooks' folder is one that git may commit."""
        return not self.bare and self.hooks.is_relative_to(self.top) and not self.hooks.is_relative_to(self.common)


def place_of(repo: Path) -> Place:
    """Raises NotFound, SetupError."""
    is_bare = _git(repo, "rev-parse", "--is-bare-repository").strip() == "true"
    top = Path(_git(repo, "rev-parse", "--absolute-git-dir" if is_bare else "--show-toplevel").rstrip("\n")).resolve()
    # From the top: there a relative core.hooksPath means what it means when git runs a hook.
    common, hooks = _git(top, "rev-parse", "--git-common-dir", "--git-path", "hooks").splitlines()
    return Place(top, (top / common).resolve(), (top / Path(hooks).expanduser()).resolve(), is_bare)


def _git(repo: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise SetupError("git is not installed; install it (Debian: apt install git)") from error
    if done.returncode != 0:
        said = done.stderr.strip().removeprefix("fatal: ").partition("\n")[0]
        if "dubious ownership" in said:
            said += f"; if you trust it: git config --global --add safe.directory {repo.absolute()}"
        raise NotFound(f"{repo.absolute()} is no git repository that can be used: {said}")
    return done.stdout


def watched(data: Path, place: Place) -> Repository:
    """The repository as the server of this data folder knows it. Raises NotFound."""
    found = next((one for one in _known(data) if place.is_called(one.path)), None)
    if found is None:
        raise NotFound(
            f"no server with the data folder {data} has watched {place.top} yet; start one, then install again:\n"
            f"  formicary serve --repo {place.top} --data {data}"
        )
    return found


def _known(data: Path) -> list[Repository]:
    from formicary.runner.store.sqlite import open_reader

    if not (data / "formicary.db").is_file():
        return []
    with open_reader(data) as reader:
        return reader.repositories()


def install(place: Place, data: Path) -> Iterator[str]:
    """Put the hooks in place; tells what was done."""
    repository = watched(data, place)
    url = str((read_server_json(data) or {}).get("url", ""))
    secret = hook_secret(data, repository).decode()
    config = {"data": str(data), "repository": str(repository.id), "url": url, "secret": secret}
    for folder in (place.hooks, place.config.parent):
        folder.mkdir(parents=True, exist_ok=True)
    githooks.write(place.config, json.dumps(config, indent=2) + "\n", 0o600)
    chained = [name for name in place.names if githooks.put(place.hooks / name, sys.executable)]
    yield f"installed {', '.join(place.names)} in {place.hooks}"
    if chained:
        yield f"  {', '.join(chained)}: the hook that was there still runs"
    if place.committed:
        yield "  note: this folder is part of the repository; do not commit the hooks, they hold paths of this machine"
    yield f"  every commit wakes the server of {data}; without one, commits are as fast and are found at its next start"


def uninstall(place: Place) -> Iterator[str]:
    gone = [name for name in place.names if githooks.take_away(place.hooks / name)]
    place.config.unlink(missing_ok=True)
    yield f"removed {', '.join(gone)} from {place.hooks}" if gone else f"no hook of ours is in {place.hooks}"


def status(place: Place, data: Path) -> dict[str, Any]:
    """How the hooks are; `problems` is empty where a commit will be told."""
    hooks = {name: _state(place.hooks / name) for name in place.names}
    problems = [f"{name} is not installed; run: formicary hook install" for name in hooks if hooks[name] == "absent"]
    problems += [f"{name} is somebody else's; run: formicary hook install" for name in hooks if hooks[name] == "other"]
    problems += _config_problems(place, data)
    return {"repository": str(place.top), "folder": str(place.hooks), "hooks": hooks, "problems": problems}


def _state(path: Path) -> str:
    if not githooks.is_ours(path):
        return "other" if path.exists() else "absent"
    return "installed, runs the one before" if githooks.before_of(path).exists() else "installed"


def _config_problems(place: Place, data: Path) -> Iterator[str]:
    try:
        config = json.loads(place.config.read_text())
    except FileNotFoundError:
        yield f"{place.config} is missing; run: formicary hook install"
        return
    except (OSError, ValueError) as error:
        yield f"{place.config} cannot be read ({error}); run: formicary hook install"
        return
    if githooks.mode_of(place.config) & 0o077:
        yield f"{place.config} holds a secret and is open to others; run: chmod 600 {place.config}"
    try:
        secret = known_hook_secret(Path(config["data"]), watched(Path(config["data"]), place))
    except UserError as error:
        yield str(error)
        return
    if secret is None or secret.decode() != config.get("secret"):
        yield "the server has another secret for this repository; run: formicary hook install"
    if Path(config["data"]) != data:
        yield f"the hook tells the server of {config['data']}, not that of {data}; name it with --data"


@click.group(short_help="Let git tell the server of every commit.")
def command() -> None:
    """Let git tell the server of every commit, so that it need not look.

    A hook that is there already still runs. Commits are not slowed down and never fail because of it.

    \b
    Examples:
      formicary hook install
      formicary hook install --repo /srv/git/app.git
      formicary hook status
      formicary hook uninstall
    """


@command.command("install")
@REPO
@DATA
def install_command(repo: Path, data: Path | None) -> None:
    """Install post-commit, post-merge, post-rewrite and post-receive (a bare repository: post-receive alone).

    \b
    Examples:
      formicary hook install
      formicary hook install --repo /srv/git/app.git --data /var/lib/formicary
    """
    for line in install(place_of(repo), read_settings({"data": data}).data):
        click.echo(line)


@command.command("uninstall")
@REPO
def uninstall_command(repo: Path) -> None:
    """Take our hooks away; what was there before is put back as it was.

    \b
    Examples:
      formicary hook uninstall
    """
    for line in uninstall(place_of(repo)):
        click.echo(line)


@command.command("status")
@REPO
@DATA
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
def status_command(repo: Path, data: Path | None, json_wanted: bool) -> None:
    """Say whether the hooks are in place and would be believed. Exits 1 if not.

    \b
    Examples:
      formicary hook status
    """
    found = status(place_of(repo), read_settings({"data": data}).data)
    if json_wanted:
        click.echo(json.dumps(found, indent=2))
    else:
        for name, how in found["hooks"].items():
            click.echo(f"{name:<13} {how}")
        for problem in found["problems"]:
            click.echo(click.style("✗ ", fg="red") + problem)
    sys.exit(1 if found["problems"] else 0)


@command.command("send", hidden=True)
@click.argument("hook", default="post-commit")
def send_command(hook: str) -> None:
    """Tell the server now what the hook would tell, and show its answer."""
    from formicary.cli.hooksend import send

    code = send(hook, sys.stdin.read() if hook == "post-receive" else "")
    if not code:
        raise NotFound("this repository has no hook; run: formicary hook install")
    click.echo(f"the server answered {code}")
    sys.exit(0 if code in (200, 202) else 1)
