"""What may follow on the command line, for the shell that asks: quick, and silent whatever is wrong."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

Items = list[CompletionItem]
Asked = Callable[[click.Context, click.Parameter, str], Items]

SECONDS: Final = 1.0
"""A person who pressed Tab waits no longer."""
NEWEST: Final = 50


def quietly(find: Callable[[click.Context], Iterable[tuple[Any, str]]]) -> Asked:
    """Values with what is said beside them, those that begin as the word does; none where it fails or takes long."""

    @functools.wraps(find)
    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
        found: Items = []

        def ask() -> None:
            try:
                pairs = list(find(ctx))
            except BaseException:  # of whatever kind: a shell has no place for it
                return
            found.extend(CompletionItem(str(value), help=said or None) for value, said in pairs)

        # A thread that hangs keeps no process from ending.
        thread = threading.Thread(target=ask, name="completion", daemon=True)
        thread.start()
        thread.join(SECONDS)
        return [item for item in tuple(found) if item.value.startswith(incomplete)]

    return complete


@quietly
def tree_jobs(_ctx: click.Context) -> Iterable[tuple[str, str]]:
    """The jobs of the working tree."""
    return [(name, path) for name, path, _ in _tree()]


@quietly
def tree_tasks(ctx: click.Context) -> Iterable[tuple[str, str]]:
    """The tasks of the job that is named, else of all."""
    named = {ctx.params.get("job"), *ctx.args}  # an option without its value leaves the rest of the line unread
    jobs = _tree()
    wanted = [job for job in jobs if job[0] in named] or jobs
    return [(task, name) for name, _, tasks in wanted for task in tasks]


@quietly
def server_jobs(ctx: click.Context) -> Iterable[tuple[str, str]]:
    """The registered jobs, of the repository that is named with --repo if one is."""
    wanted = ctx.params.get("repo")
    found = _records(ctx, "/api/jobs/definitions")
    return [(one["job_type"], one["repository"]) for one in found if wanted in (None, one["repository"])]


@quietly
def repositories(ctx: click.Context) -> Iterable[tuple[str, str]]:
    return [(one["name"], one["path"]) for one in _records(ctx, "/api/repos")]


@quietly
def requests(ctx: click.Context) -> Iterable[tuple[str, str]]:
    """The newest requests."""
    return [(one["id"], f"{one['job_type']} {one['state']}") for one in _records(ctx, "/api/jobs/requests")]


@quietly
def request_tasks(ctx: click.Context) -> Iterable[tuple[str, str]]:
    """The tasks of the request that is named."""
    path = f"/api/jobs/requests/{int(ctx.params['request_id'])}/tasks"
    return [(one["task_type"], one["state"]) for one in _records(ctx, path)]


def _tree() -> list[tuple[str, str, list[str]]]:
    """Job, path and tasks of each definition of the working tree, as far as it can be read."""
    from formicary.cli.run import read_tree, tree_of

    loaded, _ = read_tree(tree_of(Path.cwd()))
    return [
        (one.job_type, one.path, [task.task_type for task in one.definition.tasks] if one.definition else [])
        for one in loaded
        if one.job_type
    ]


def _records(ctx: click.Context, path: str) -> list[dict[str, Any]]:
    from formicary.cli.client import Api, find

    api = Api(find(ctx.params.get("server"), ctx.params.get("data")))
    try:
        found: list[dict[str, Any]] = api.get(path, page_size=NEWEST)["records"]
        return found
    finally:
        api.close()
