"""Addresses of remote repositories: what is taken, what each is called, and that none carries a password. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from formicary.runner.core.errors import SetupError

SCHEMES: Final = ("http", "https", "ssh", "file")
FORGES: Final = {"github.com": "github", "gitlab.com": "gitlab", "gitea.com": "gitea", "codeberg.org": "gitea"}
"""Hosts whose forge is known."""
LONGEST: Final = 2000
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SCP: Final = re.compile(r"(?P<user>[\w.+-]+)@(?P<host>\[[0-9A-Fa-f:]+\]|[\w.-]+):(?P<path>.+)", re.DOTALL)
_SECRET: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@'\"]*@")


@dataclass(frozen=True, slots=True)
class Address:
    """A remote repository's place. `url` is what git is given; it never holds a password."""

    url: str
    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as git's configuration names what a header is for."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port else "") + "/"

    @property
    def name(self) -> str:
        """The last part of its path, without `.git`."""
        return self._parts[-1].removesuffix(".git") or "repository"

    @property
    def slug(self) -> str:
        """`owner/name`, as forges call it; empty where the path has no owner."""
        return "/".join([*self._parts[:-1], self.name]) if len(self._parts) > 1 else ""

    @property
    def forge(self) -> str:
        """The forge that is known by its host, else empty."""
        return FORGES.get(self.host.lower(), "")

    @property
    def identity(self) -> str:
        """Equal for two spellings of one place."""
        port = "" if self.port is None else f":{self.port}"
        path = self.path.strip("/").removesuffix(".git").strip("/")
        scheme = self.scheme
        return f"{scheme}://{self.host.lower()}{port}/{path}"

    @property
    def _parts(self) -> list[str]:
        parts = [part for part in unquote(self.path).split("/") if part not in ("", ".", "..", "~", ".git")]
        return parts or ["repository"]


def is_address(text: str) -> bool:
    """Whether this names a remote (`https://…`, `ssh://…`, `file://…`, `git@host:path`) and no folder."""
    return bool(_URL.match(text) or _SCP.fullmatch(text))


def parse(text: str) -> Address:
    """Raises SetupError for what is no address that Formicary takes; its message never repeats a password."""
    said = text.strip()
    if len(said) > LONGEST or any(ord(character) < 33 or ord(character) == 127 for character in said):
        raise SetupError("The address of the repository is too long or holds blanks or control characters.")
    scp = None if _URL.match(said) else _SCP.fullmatch(said)
    found = _scp(said, scp) if scp else _url(said)
    if found.host.startswith("-") or found.path.lstrip("/").startswith("-"):
        raise SetupError(f"`{redacted(said)}` is no address of a repository: host and path may not begin with `-`.")
    return found


def redacted(text: str) -> str:
    """The text without what stands between `://` and `@` in any address in it."""
    return _SECRET.sub(r"\g<scheme>", text)


def _scp(said: str, found: re.Match[str]) -> Address:
    host = found["host"].strip("[]")
    return Address(said, "ssh", host, None, found["path"])


def _url(said: str) -> Address:
    try:
        parts = urlsplit(said)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise SetupError(f"`{redacted(said)}` is no address of a repository: {error}.") from error
    if parts.scheme not in SCHEMES:
        raise SetupError(
            f"`{redacted(said)}` is no address that Formicary takes; it takes https://…, http://…, ssh://…, file://… "
            "and user@host:path."
        )
    _refuse_secrets(said, parts.scheme, parts.username, parts.password)
    if parts.query or parts.fragment:
        raise SetupError(f"`{redacted(said.split('?')[0])}` may have no query and no fragment; leave it out.")
    if not parts.path.strip("/") or (parts.scheme != "file" and not host):
        raise SetupError(f"`{redacted(said)}` names no repository; it looks like https://example.org/owner/name.git.")
    if parts.scheme == "file" and host not in ("", "localhost"):
        raise SetupError(f"`{said}` names another machine; a file address looks like file:///srv/git/app.git.")
    return Address(said.rstrip("/"), parts.scheme, host, port, parts.path)


def _refuse_secrets(said: str, scheme: str, username: str | None, password: str | None) -> None:
    if password is not None or (username is not None and scheme != "ssh"):
        raise SetupError(
            f"The address {redacted(said)} was given with a name or password in it. Take it out, and give the token "
            "apart: `token_env` or `token_file` of this repository in formicary.toml."
        )
