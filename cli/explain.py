"""`formicary explain`: what an event would run of this repository's definitions, and why, or why not. No server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from formicary.cli.format import as_json, one_line, table
from formicary.cli.run import tree_of
from formicary.reconciler.explain import Explained, call, pull_request, push
from formicary.runner.core.errors import NotFound, UserError
from formicary.runner.core.records import Fact, Repository
from formicary.runner.queen.arriving.requests import full_ref
from formicary.runner.queen.arriving.sources import Sources

COLOURS: Final = {"runs": "green", "skipped": "yellow", "nothing": "bright_black", "invalid": "red"}


@click.command(short_help="What a push or an event would run, and why.")
@click.option("--push", "branch", metavar="BRANCH", help="A push of this branch or tag.  [default: that of HEAD]")
@click.option("--before", metavar="COMMIT", help="Where it was before.  [default: the commit's parent]")
@click.option("--event", type=click.Path(path_type=Path, allow_dash=True), help="What a hook sent, as a file.")
@click.option("--webhook", metavar="NAME", help="The event is a call of the webhook triggers of this name.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
def command(branch: str | None, before: str | None, event: Path | None, webhook: str | None, json_wanted: bool) -> None:
    """Say of each definition what it would do, by what is committed.

    An event is a push or a pull or merge request as a forge's hook sends it, or else what is sent to webhook triggers.

    \b
    Examples:
      formicary explain
      formicary explain --push release/2
      formicary explain --event payload.json
      formicary explain --event body.json --webhook deploy
    """
    if branch and event:
        raise UserError("--push and --event say two things; give one of them")
    if webhook and not event:
        raise UserError("--webhook says which triggers are called; --event says with what")
    tree = tree_of(Path.cwd())
    sources = Sources()
    try:
        repository = Repository(id=0, name=tree.name, path=str(tree))
        found = (
            _of_event(sources, repository, event, webhook) if event else _of_push(sources, repository, branch, before)
        )
    finally:
        sources.close()
    click.echo(as_json([asdict(one) for one in found]) if json_wanted else _shown(found))


def _of_push(sources: Sources, repository: Repository, branch: str | None, before: str | None) -> list[Explained]:
    git = sources.git(repository.path)
    refs = git.refs()
    ref = full_ref(branch, refs) if branch else git.head_ref()
    if ref is None:
        raise UserError("no branch is checked out here; name one: formicary explain --push BRANCH")
    if ref not in refs:
        raise NotFound(f"there is no `{ref.removeprefix('refs/heads/')}` here, or nothing is committed on it yet")
    return push(sources, repository, ref, refs[ref], before)


def _of_event(sources: Sources, repository: Repository, event: Path, webhook: str | None) -> list[Explained]:
    """Of a push, or of a pull request, whose commit has to be here; or of a call of webhook triggers."""
    from formicary.webhook.forges import gitlab
    from formicary.webhook.forges.github import fact_of

    text = sys.stdin.read() if str(event) == "-" else event.read_text("utf-8")
    if webhook:
        return _of_call(sources, repository, event, text, webhook)
    name = "pull_request" if '"pull_request"' in text else "push"
    try:
        fact = gitlab.fact_of(text) if '"object_kind"' in text else fact_of(name, text)
        if fact.event == "other":
            raise ValueError("nothing here acts on such an event")
    except ValueError as error:
        if called := _of_call(sources, repository, event, text, ""):
            return called
        raise UserError(f"{event} is no push or pull request of a forge: {error}") from error
    remote = repository.model_copy(update={"url": fact.slug, "slug": fact.slug})
    return _of_fact(sources, remote, fact)


def _of_call(sources: Sources, repository: Repository, event: Path, text: str, name: str) -> list[Explained]:
    """Of the triggers of this name; without a name of all, and nothing where there is none."""
    from formicary.runner.queen.arriving.called import JSON
    from formicary.runner.queen.arriving.triggered import parsed

    try:
        body = parsed(JSON, text)
    except ValueError as error:
        raise UserError(f"{event} is no JSON: {error}") from error
    git = sources.git(repository.path)
    commit = git.refs().get(git.head_ref() or "", "")
    if not commit:
        raise NotFound("nothing is committed here yet")
    found = call(sources, repository, commit, body, name)
    return found if name or any("`webhook` trigger" in one.reason for one in found) else []


def _of_fact(sources: Sources, repository: Repository, fact: Fact) -> list[Explained]:
    git = sources.git(repository.path)
    if fact.pull_request is not None:
        commit = fact.pull_request.head_commit
        if not git.contains(commit):
            raise NotFound(f"the head {commit[:12]} of this pull request is not here; fetch it first")
        return pull_request(sources, repository, fact.pull_request, fact.action)
    (ref,) = fact.refs
    commit = git.refs().get(ref, "")
    if not commit:
        raise NotFound(f"there is no {ref} here; fetch it first")
    return push(sources, repository, ref, commit)


def _shown(found: Sequence[Explained]) -> str:
    if not found:
        return "there are no definitions at that commit"
    rows = [
        (click.style(f"  {one.answer:<8}", fg=COLOURS[one.answer]), one_line(one.job_type or one.path), one.reason)
        for one in found
    ]
    return table(rows)
