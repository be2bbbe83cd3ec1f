"""Secrets of `formicary run`: those of the data folder that this run may see, and those that the caller gives it. They
are in memory alone, and masked as everywhere."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from formicary.cli.masterkey import MasterKey
from formicary.cli.secrets import NOT_THERE
from formicary.runner.core.errors import SetupError, UserError
from formicary.runner.core.loading.samples import SAMPLES
from formicary.runner.core.records import JobRequest
from formicary.runner.core.secrets.sight import scoped, sight
from formicary.runner.queen.secrets import open_secret
from formicary.runner.store import Reader
from formicary.runner.store.connect import FILE_NAME
from formicary.runner.store.sqlite import open_reader


def asked_for(names: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The values of `--secret NAME`: of the variable NAME, else typed. Raises UserError."""
    variables = os.environ if environment is None else environment
    return {name: variables.get(name) or _typed(name) for name in map(_checked, names)}


def _checked(name: str) -> str:
    if "=" in name:
        raise UserError(NOT_THERE)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name in SAMPLES:
        raise UserError(f"`{name}` can be no secret: letters, digits and _, and no name of Formicary's own")
    return name


def _typed(name: str) -> str:
    if not sys.stdin.isatty():
        raise SetupError(f"the secret `{name}` has no value; set the variable {name}, or call this at a terminal")
    typed: str = click.prompt(f"value of {name}", hide_input=True, err=True)
    return typed


def of_data_folder(data: Path, tree: Path, job_type: str, text: str, branch: Callable[[], str]) -> dict[str, str]:
    """What the server of this data folder would let the job see, where its key is at hand. What does not open, or is
    not for this run though the definition's text names it, is said and left out."""
    if not (data / FILE_NAME).is_file():
        return {}
    with suppress(SetupError), open_reader(data) as reader:
        if reader.secret_keys():
            return _opened(reader, data, tree, job_type, text, branch())
    return {}


def _opened(reader: Reader, data: Path, tree: Path, job_type: str, text: str, branch: str) -> dict[str, str]:
    request = JobRequest(
        id=0, version_id=0, job_type=job_type, event="run", params={"GitBranch": branch}, created_at=0.0
    )
    seen = sight(scoped(reader.secrets(), _watched(reader, tree), job_type), request)
    for name, why in seen.refused.items():
        if name in text:
            click.echo(f"the secret {name} is not for this run: {why}", err=True)
    found: dict[str, str] = {}
    for name, secret in seen.secrets.items():
        try:
            found[name] = open_secret(reader, MasterKey(data), secret.id)
        except SetupError as error:
            if name in text:
                click.echo(f"warning: {error}", err=True)
    return found


def _watched(reader: Reader, tree: Path) -> int | None:
    """The number of the repository that the server watches in this folder."""
    for repository in reader.repositories():
        with suppress(OSError):
            if tree.samefile(repository.path):
                return repository.id
    return None
