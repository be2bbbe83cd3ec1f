"""What the operator says of one repository; its own files can set none of this."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from formicary.runner.core.definition import NATIVE, Dialect
from formicary.runner.core.errors import SetupError
from formicary.runner.git.address import is_address, parse


class RepositorySettings(BaseModel):
    """A repository on this machine (`path`), or elsewhere (`url`). Secrets are named, never written here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = None
    url: str = ""
    name: str = ""
    branch: str = ""
    visibility: str = Field("private", pattern="^(private|public)$")
    token_env: str = ""
    token_file: Path | None = None
    username: str = ""
    deploy_key: Path | None = None
    known_hosts: Path | None = None
    forge: str = Field("", pattern="^(|github|gitlab|gitea|none)$")
    slug: str = Field("", pattern=r"^$|^[\w.-]+(/[\w.-]+)+$")
    api_url: str = Field("", pattern="^$|^https?://")
    webhook_secret_env: str = ""
    webhook_secret_file: Path | None = None
    poll: float | None = Field(None, gt=0)
    dialect: Dialect = NATIVE

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            return parse(value).url if value else ""
        except SetupError as error:
            raise _wrong(str(error)) from error

    @model_validator(mode="after")
    def _one_place(self) -> RepositorySettings:
        if (self.path is None) == (not self.url):
            raise _wrong("it needs `path` or `url`, and not both")
        scheme = parse(self.url).scheme if self.url else ""
        forge = self.forge or (parse(self.url).forge if self.url else "")
        if (self.token_env or self.token_file) and scheme not in ("http", "https") and not forge:
            raise _wrong("a token is for http and https, and for the statuses of a `forge`; ssh takes a `deploy_key`")
        if (self.deploy_key or self.known_hosts) and scheme != "ssh":
            raise _wrong("`deploy_key` and `known_hosts` are for ssh; http and https take a token")
        if (self.token_env and self.token_file) or (self.webhook_secret_env and self.webhook_secret_file):
            raise _wrong("a secret is in a variable or in a file, not in both")
        return self


def as_settings(said: Any) -> Any:
    """What the command line or a variable says of a repository: an address or a path."""
    if not isinstance(said, (str, Path)):
        return said
    return {"url": said} if is_address(str(said)) else {"path": said}


def in_variable(value: str) -> list[str]:
    """Several in one variable: separated by blanks where there is an address among them, else by `:`."""
    if "://" in value or "@" in value:
        return value.split()
    return [one for one in value.split(":") if one]


def said_twice(many: Sequence[RepositorySettings]) -> str:
    """A sentence where two of these would be one watched repository and are not the same words; else nothing."""
    for number, one in enumerate(many):
        for earlier in many[:number]:
            if one == earlier:
                continue
            if one.name and one.name == earlier.name:
                return f"two repositories are called {one.name}; a name is one repository's"
            if _place(one) == _place(earlier):
                return f"{one.url or one.path} stands there twice, with different settings; leave one"
    return ""


def _place(one: RepositorySettings) -> str:
    return parse(one.url).identity if one.path is None else str(one.path.expanduser().absolute())


def _wrong(reason: str) -> PydanticCustomError:
    return PydanticCustomError("repository", "{reason}", {"reason": reason})
