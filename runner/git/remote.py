"""One call to a remote repository: hardened, bounded in time and bytes, ended with all its processes when it is left.

What the operator configured counts, and nothing else: no configuration of the machine or of a user, no hook, no prompt,
no credential helper, no other protocol. A token goes to git through a file without a name, never through an argument, a
variable, an address or a configuration that stays.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from formicary.runner.core.errors import RepositoryUnavailable, SetupError
from formicary.runner.git import complaint
from formicary.runner.git.address import Address, redacted
from formicary.runner.git.subprocesses import Ended, run
from formicary.runner.git.workspace import git_binary

LIST_TIMEOUT: Final = 60.0
FETCH_TIMEOUT: Final = 3600.0
MAX_LISTING: Final = 32 << 20
USERNAME: Final = "x-access-token"
"""GitHub's, GitLab's and Gitea's tokens are taken with any name; GitHub documents this one."""

#: Variables of the server that say how this machine reaches others.
_PASSED_ON: Final = (
    *("PATH", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR"),
)
#: Old faults of harmless kinds, which famous repositories have.
_OLD_FAULTS: Final = (
    *("missingSpaceBeforeDate", "zeroPaddedFilemode", "zeroPaddedDate", "badTimezone", "missingEmail"),
    *("missingNameBeforeEmail", "missingSpaceBeforeEmail", "missingTaggerEntry", "badEmail", "badDate"),
    *("badDateOverflow", "multipleAuthors", "badFilemode"),
)
_HARDENED: Final[Mapping[str, str]] = {
    "safe.directory": "*",
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.askPass": "",
    "credential.helper": "",
    "protocol.version": "2",
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.file.allow": "always",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "http.userAgent": "formicary",
    "transfer.fsckObjects": "true",
    "transfer.bundleURI": "false",
    "fetch.unpackLimit": "1",
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "pack.threads": "2",
    "pack.windowMemory": "64m",
    "pack.deltaCacheSize": "64m",
    "core.bigFileThreshold": "32m",
    "core.deltaBaseCacheLimit": "48m",
    **{f"fetch.fsck.{fault}": "ignore" for fault in _OLD_FAULTS},
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a remote is read. `known_hosts`: the operator's own file, strict; without it a host's key is taken at first
    sight and must stay the same."""

    token: str = field(default="", repr=False)
    username: str = USERNAME
    deploy_key: Path | None = None
    known_hosts: Path | None = None

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username or USERNAME}:{self.token}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.token, self.basic.removeprefix("Basic ")) if self.token else ()


class Failed(RepositoryUnavailable):
    """A call to a remote that did not succeed; `kind` as in `complaint`."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Advert(NamedTuple):
    """What a remote says of itself: branches and tags with their ids (of tags not peeled), and the branch that HEAD
    names (None where that was not asked, or it names none)."""

    refs: dict[str, str]
    head: str | None


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote repository as it is reached from here. `home` is a private folder for known_hosts."""

    address: Address
    credentials: Credentials
    home: Path

    async def list_refs(self, *, head: bool) -> Advert:
        """Branches and tags; with `head` also what HEAD names, for which some servers must list everything."""
        wanted = ("--symref",) if head else ("--heads", "--tags")
        done = await self._call(["ls-remote", *wanted, *self._served_by, "--", self.address.url], None, LIST_TIMEOUT)
        return _advert(bytes(done.out))

    async def fetch(
        self,
        mirror: Path,
        refspecs: Sequence[str],
        *,
        depth: int = 0,
        deepen: int = 0,
        prune: bool = False,
        most_bytes: int = 0,
    ) -> None:
        """Bring these into the mirror. `depth` 0 = as much history as is missing, else it ends there; `deepen`: so many
        generations beyond where it ends now; `most_bytes` 0 = any size."""
        options = (
            *("fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--no-recurse-submodules", "--update-shallow"),
            *(("--prune",) if prune else ()),
            *((f"--depth={depth}",) if depth else ()),
            *((f"--deepen={deepen}",) if deepen else ()),
        )
        lines = "".join(f"{refspec}\n" for refspec in refspecs).encode()
        command = [*options, *self._served_by, "--stdin", "--", self.address.url]
        await self._call(command, mirror, FETCH_TIMEOUT, lines, most_bytes)

    @property
    def _served_by(self) -> tuple[str, ...]:
        """A repository on this machine may belong to anybody; our own configuration does not reach its end."""
        return ("--upload-pack=git -c safe.directory=* upload-pack",) if self.address.scheme == "file" else ()

    async def _call(
        self, words: Sequence[str], mirror: Path | None, timeout: float, stdin: bytes = b"", most_bytes: int = 0
    ) -> Ended:
        git = git_binary()
        if git is None:
            cap = (f"--most-bytes={most_bytes}",) if most_bytes else ()
            words = [sys.executable, "-P", "-m", "formicary.runner.git.byhand", words[0], *cap, *words[1:]]
        else:
            words = [git, *(("--git-dir", str(mirror)) if mirror else ()), *words]
        with self._secret_config() as (variables, descriptors):
            environment = {**self._environment(), **variables}
            where = mirror or self.home
            ended = await run(
                words,
                cwd=where,
                env=environment,
                pass_fds=descriptors,
                stdin=stdin,
                timeout=timeout,
                most_out=MAX_LISTING,
                growing=(where / "objects" / "pack") if mirror and most_bytes else None,
                most_bytes=most_bytes,
            )
        if ended.stopped:
            raise Failed(complaint.OTHER, f"{self.address.url} was not fetched: {ended.stopped}")
        if ended.code:
            raise self._failed(ended.err)
        return ended

    def _failed(self, said: bytes) -> Failed:
        found = complaint.explain(
            said.decode("utf-8", "replace"),
            self.address,
            secrets=self.credentials.secrets,
            authenticated=bool(self.credentials.token),
            hosts=str(self._known_hosts),
        )
        return Failed(found.kind, found.sentence)

    @property
    def _known_hosts(self) -> Path:
        return self.credentials.known_hosts or self.home / "known_hosts"

    @property
    def ssh_command(self) -> str:
        """What reaches the remote over ssh, for a shell or whoever splits as one."""
        return self._ssh()

    def _environment(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        if self.credentials.deploy_key is None and "SSH_AUTH_SOCK" in os.environ:
            passed["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
        return {
            "PATH": os.defpath,
            **passed,
            "HOME": str(self.home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_SSH_VARIANT": "ssh",
            "GIT_SSH_COMMAND": self._ssh(),
        }

    def _ssh(self) -> str:
        key = self.credentials.deploy_key
        strict = "yes" if self.credentials.known_hosts else "accept-new"
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": strict,
            "UserKnownHostsFile": _ssh_path(self._known_hosts),
            "GlobalKnownHostsFile": os.devnull,
            "UpdateHostKeys": "no",
            "ConnectTimeout": "15",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "ControlMaster": "no",
            "LogLevel": "ERROR",
            **({"IdentitiesOnly": "yes", "IdentityAgent": "none"} if key else {}),
        }
        words = ["ssh", "-F", os.devnull, *(("-i", _ssh_path(key, quoted=False)) if key else ())]
        words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return " ".join(f"'{word}'" for word in words)

    @contextmanager
    def _secret_config(self) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
        """Hardening, and the token in a file without a name that only our children hold open."""
        values = dict(_HARDENED)
        descriptors: tuple[int, ...] = ()
        header = self._header()
        try:
            if header:
                descriptor = _nameless_file()
                descriptors = (descriptor,)
                os.write(descriptor, header.encode())
                values["include.path"] = f"/dev/fd/{descriptor}"
            yield _as_variables(values), descriptors
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _header(self) -> str:
        """For this host only: git would send an unbound header to wherever a redirect leads."""
        if not self.credentials.token or self.address.scheme not in ("http", "https"):
            return ""
        if any(ord(character) < 33 for character in self.credentials.token + self.credentials.username):
            raise SetupError(f"The token of {self.address.url} holds blanks or control characters; give it as it is.")
        return f'[http "{self.address.origin}"]\n\textraHeader = "Authorization: {self.credentials.basic}"\n'


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("formicary", 0)
    raise SetupError("not supported: tokens for http(s) on a system without memfd_create; use ssh and a deploy key.")


def _as_variables(values: Mapping[str, str]) -> dict[str, str]:
    found = {"GIT_CONFIG_COUNT": str(len(values))}
    for number, (key, value) in enumerate(values.items()):
        found[f"GIT_CONFIG_KEY_{number}"] = key
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    return found


def _ssh_path(path: Path, *, quoted: bool = True) -> str:
    """A path for ssh, which expands `%`, and splits the values of `-o` at blanks; a shell reads the command line."""
    text = str(path)
    if any(character in text for character in "'\"\\\n"):
        raise SetupError(f"ssh cannot be given the path {text}; use one without quotes and backslashes.")
    text = text.replace("%", "%%")
    return f'"{text}"' if quoted and " " in text else text


def _advert(out: bytes) -> Advert:
    refs: dict[str, str] = {}
    head: str | None = None
    for line in out.decode("utf-8", "surrogateescape").splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: refs/heads/"):
            head = value.removeprefix("ref: ")
        elif name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}") and _is_id(value):
            refs[name] = value
    return Advert(refs, head)


def _is_id(value: str) -> bool:
    return len(value) in (40, 64) and not value.strip("0123456789abcdef")


def shown(url: str) -> str:
    """An address as pages and logs may show it."""
    return redacted(url)
