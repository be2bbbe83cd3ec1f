"""Every setting, read once: command line over `FORMICARY_…` over `formicary.toml` over the default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from formicary.cli.repository import RepositorySettings, as_settings, in_variable, said_twice
from formicary.cli.siteplace import is_elsewhere, site_place
from formicary.runner.artifacts.address import address_of
from formicary.runner.core.errors import SetupError

CONFIG_FILE: Final = "formicary.toml"
PREFIX: Final = "FORMICARY_"
ROOT_DATA: Final = Path("/var/lib/formicary")
DEFAULT_PORT: Final = 7777

#: Variables that begin like a setting and are none: what tasks see, what the other commands and the tests read, and the
#: master key.
NOT_SETTINGS: Final = frozenset(
    f"{PREFIX}{name}"
    for name in [
        "OUTPUT",
        "WORKSPACE",
        "TASK_EXECUTION_ID",
        "TOKEN",
        "SERVER",
        "DEBUG",
        "REQUIRE",
        "MASTER_KEY",
        "MASTER_KEY_FILE",
    ]
)


class Settings(BaseModel):
    """Times in seconds, sizes in bytes, `keep_*` in days."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    repo: tuple[RepositorySettings, ...] = ()
    host: str = "127.0.0.1"
    port: int = Field(DEFAULT_PORT, ge=0, le=65535)
    url: str = ""
    bundle_id: str = Field("", pattern=r"^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+)?$", max_length=80)
    hooks_listen: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    github_webhook_secret: SecretStr | None = None
    gitlab_webhook_secret: SecretStr | None = None
    gitea_webhook_secret: SecretStr | None = None
    allow_networks: tuple[str, ...] = ()
    smtp: str = ""
    smtp_from: str = ""
    smtp_password: SecretStr | None = None
    slack: SecretStr | None = None
    notify_urls: dict[str, SecretStr] = Field(default_factory=dict)
    site: str = ""
    site_token: SecretStr | None = None
    artifacts: str = ""
    s3_access_key: str = ""
    s3_secret_key: SecretStr | None = None
    download_links: float = Field(0.0, ge=0, le=604800)
    archive_logs: float | None = Field(None, gt=0)
    work: Path | None = None
    poll: float = Field(10.0, gt=0)
    hands: int = Field(default_factory=lambda: max(os.cpu_count() or 1, 2), ge=1, le=1000)
    tags: tuple[str, ...] = ()
    path: str = ""
    docker: str = ""
    docker_config: Path | None = None
    docker_workspace: str = Field("auto", pattern="^(auto|mount|copy)$")
    risky: tuple[str, ...] = ()
    grace: float = Field(10.0, ge=0)
    drain: float = Field(600.0, ge=0)
    keep_requests: float = Field(90.0, gt=0)
    keep_deliveries: float = Field(30.0, gt=0)
    keep_caches: float = Field(30.0, gt=0)
    limit_cpu: int | None = Field(None, gt=0)
    limit_memory: int | None = Field(None, gt=0)
    limit_file_size: int | None = Field(None, gt=0)
    limit_mirror: int = Field(20_000_000_000, gt=0)
    limit_running: int | None = Field(None, gt=0)
    limit_submits: int | None = Field(None, gt=0)
    limit_submits_organization: int | None = Field(None, gt=0)
    task_uids: str = Field("200000-265535", pattern=r"^\d+-\d+$|^$")

    @field_validator("repo", mode="before")
    @classmethod
    def _repositories(cls, value: Any) -> Any:
        """A path or an address, several, or tables with one."""
        many = value if isinstance(value, (list, tuple)) else [value]
        return [as_settings(one) for one in many]

    @field_validator("repo")
    @classmethod
    def _each_once(cls, value: tuple[RepositorySettings, ...]) -> tuple[RepositorySettings, ...]:
        """Two that would be one watched repository: what is said last would silently win."""
        if twice := said_twice(value):
            raise PydanticCustomError("twice", "{reason}", {"reason": twice})
        return value

    @field_validator("notify_urls", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A table; or, in the variable, `name=url`, several of them with spaces between."""
        return dict(part.partition("=")[::2] for part in value.split()) if isinstance(value, str) else value

    @field_validator("slack")
    @classmethod
    def _slack(cls, value: SecretStr | None) -> SecretStr | None:
        """Said at the start, and without the value; else it is seen only when the first message cannot be sent."""
        said = value.get_secret_value() if value else ""
        if said and not said.startswith(("https://hooks.slack.com/services/", "xox")):
            told = "it is https://hooks.slack.com/services/… or a token xox…; chats of another host go to `notify_urls`"
            raise PydanticCustomError("slack", "{reason}", {"reason": told})
        return value

    @field_validator("tags", "allow_networks", "risky", mode="before")
    @classmethod
    def _tags(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("artifacts")
    @classmethod
    def _bucket(cls, value: str) -> str:
        try:
            if value:
                address_of(value)
        except SetupError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from error
        return value

    @field_validator("site", mode="before")
    @classmethod
    def _site(cls, value: Any) -> Any:
        try:
            if value:
                site_place(str(value))
        except SetupError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from error
        return str(value)

    @property
    def scheme(self) -> str:
        return "http" if self.tls_cert is None else "https"

    @property
    def work_folder(self) -> Path:
        """Where workspaces lie: outside the data folder (T19), and as root where every user may pass through."""
        if self.work is not None:
            return self.work.absolute()
        if os.geteuid() != 0 or self.data == ROOT_DATA:
            return self.data.with_name(f"{self.data.name}-work")
        return ROOT_DATA.with_name("formicary-work") / sha256(os.fsencode(self.data)).hexdigest()[:12]


def default_data(environment: Mapping[str, str]) -> Path:
    """Where things are when nobody says: /var/lib/formicary for root, else the user's state folder."""
    if os.geteuid() == 0:
        return ROOT_DATA
    state = environment.get("XDG_STATE_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".local/state")
    return Path(state) / "formicary"


def read_settings(
    given: Mapping[str, Any], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """`given` is what the command line said (None = nothing). Raises SetupError naming the setting and its place."""
    environment = os.environ if environment is None else environment
    file = _from_file((folder or Path.cwd()) / CONFIG_FILE)
    origin: dict[str, str] = {}
    layers = [
        (CONFIG_FILE, file),
        ("the environment", _from_environment(environment)),
        ("the command line", _said(given)),
    ]
    merged: dict[str, Any] = {}
    for place, layer in layers:
        merged |= layer
        origin |= dict.fromkeys(layer, place)
    merged.setdefault("data", default_data(environment))
    merged["data"] = Path(merged["data"]).expanduser().absolute()
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SetupError(_explained(error, origin)) from error


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """A sentence for every variable that looks like a setting and is none."""
    names = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    found = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in NOT_SETTINGS and name not in names:
            near = get_close_matches(name, names, 1)
            found.append(f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else ""))
    return found


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None and value != ()}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path} is not valid TOML: {error}") from error
    for name in ("data", "site", "work", "tls_cert", "tls_key", "docker_config"):
        if isinstance(content.get(name), str) and not (name == "site" and is_elsewhere(content[name])):
            content[name] = path.parent / Path(content[name]).expanduser()
    for one in content["repo"] if isinstance(content.get("repo"), list) else ():
        for name in ("token_file", "deploy_key", "known_hosts", "webhook_secret_file"):
            if isinstance(one, dict) and isinstance(one.get(name), str):
                one[name] = path.parent / Path(one[name]).expanduser()
    return content


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            key = name.removeprefix(PREFIX).lower()
            found[key] = in_variable(value) if key == "repo" else value
    return {name: value for name, value in found.items() if name in Settings.model_fields}


def _explained(error: ValidationError, origin: Mapping[str, str]) -> str:
    lines = []
    for one in error.errors():
        name, *below = [str(part) for part in one["loc"]] or [""]
        place = origin.get(name, "the defaults")
        if name == "repo" and len(below) == 1:
            lines.append(f"repository {int(below[0]) + 1} in {place}: {one['msg']}")
        elif name == "repo" and len(below) > 1:
            lines.append(_of_repository(one["type"], place, int(below[0]) + 1, below[1], one["msg"]))
        elif one["type"] == "extra_forbidden":
            lines.append(f"`{name}` in {place} is no setting; there is {', '.join(sorted(Settings.model_fields))}")
        else:
            lines.append(f"`{name}` from {place}: {one['msg']}")
    return "\n".join(lines)


def _of_repository(kind: str, place: str, number: int, key: str, message: str) -> str:
    whose = f"`{key}` of repository {number} in {place}"
    if kind == "extra_forbidden":
        return f"{whose} is no setting; there is {', '.join(RepositorySettings.model_fields)}"
    return f"{whose} is missing" if kind == "missing" else f"{whose}: {message}"
