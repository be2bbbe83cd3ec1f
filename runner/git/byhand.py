"""Remotes where no git is installed: the two calls that mirrors need, made by dulwich in a process of their own.

    python -m formicary.runner.git.byhand ls-remote (--symref | --heads --tags) -- URL
    python -m formicary.runner.git.byhand fetch [--prune] [--depth=N | --deepen=N] [--most-bytes=N] --stdin -- URL

A fetch is called in the mirror. It takes git's words and answers in git's words, so that its caller need not care;
other options are for git alone. Being a process it can be ended, and its memory is not the queen's. A token is read
where git would read it.
"""

from __future__ import annotations

import base64
import os
import re
import resource
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from dulwich.client import GitClient, get_transport_and_path
from dulwich.config import ConfigFile
from dulwich.errors import HangupException, NotGitRepository
from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

_HEADER: Final = re.compile(r'extraHeader = "Authorization: Basic ([A-Za-z0-9+/=]+)"')
_NAMESPACES: Final = (b"refs/heads/", b"refs/tags/")


def main(words: Sequence[str]) -> int:
    """The exit code; what went wrong is on standard error, as git would say it."""
    url = words[-1]
    try:
        _bound(words)
        client, path = _client(url)
        if words[0] == "ls-remote":
            sys.stdout.buffer.writelines(_listing(client, path, head="--symref" in words))
        else:
            _fetch(client, path, [line.strip() for line in sys.stdin if line.strip()], words)
    except Exception as error:
        print(f"fatal: {_said(error, url)}", file=sys.stderr)
        return 128
    return 0


def _bound(words: Sequence[str]) -> None:
    """No file larger than that: dulwich writes what comes into one, which nobody else can see grow."""
    for word in words:
        if word.startswith("--most-bytes="):
            most = int(word.partition("=")[2])
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _client(url: str) -> tuple[GitClient, str]:
    user, _, token = _basic().partition(":")
    return get_transport_and_path(
        url,
        config=ConfigFile(),
        quiet=True,
        ssh_command=os.environ.get("GIT_SSH_COMMAND"),
        username=user if token else None,
        password=token or None,
    )


def _basic() -> str:
    """`name:token`, from the file without a name that git's configuration would include."""
    for number in range(int(os.environ.get("GIT_CONFIG_COUNT", "0"))):
        if os.environ.get(f"GIT_CONFIG_KEY_{number}") == "include.path":
            found = _HEADER.search(Path(os.environ[f"GIT_CONFIG_VALUE_{number}"]).read_text())
            return base64.b64decode(found[1]).decode() if found else ""
    return ""


def _listing(client: GitClient, path: str, *, head: bool) -> Iterable[bytes]:
    found = client.get_refs(path.encode())
    for name, target in found.symrefs.items() if head else ():
        if name == b"HEAD":
            yield b"ref: " + target + b"\tHEAD\n"
    for name, sha in found.refs.items():
        if sha is not None and name.startswith(_NAMESPACES):
            yield sha + b"\t" + name + b"\n"


def _fetch(client: GitClient, path: str, refspecs: Sequence[str], words: Sequence[str]) -> None:
    depths = [int(word.partition("=")[2]) for word in words if word.startswith(("--depth=", "--deepen="))]
    depth = depths[0] if depths else None
    pairs = [refspec.removeprefix("+").partition(":")[::2] for refspec in refspecs]
    with closing(Repo(".")) as repo:
        remote = {name: sha for name, sha in client.get_refs(path.encode()).refs.items() if sha is not None}
        wanted = _wanted(pairs, {os.fsdecode(name): sha for name, sha in remote.items()})
        missing = [sha for sha in wanted.values() if depth or sha not in repo.object_store]
        if missing:
            client.fetch(path.encode(), repo, lambda refs, depth=None: missing, depth=depth)
        for name, sha in wanted.items():
            repo.refs[Ref(os.fsencode(name))] = sha
        if "--prune" in words:
            _prune(repo, pairs, wanted)


def _wanted(pairs: Iterable[tuple[str, str]], remote: Mapping[str, ObjectID]) -> dict[str, ObjectID]:
    """What is named here → its id, by the refspecs; a source may be an id itself."""
    found: dict[str, ObjectID] = {}
    for source, target in pairs:
        if source.endswith("*"):
            start = source[:-1]
            names = [name for name in remote if name.startswith(start) and not name.endswith("^{}")]
            found |= {target[:-1] + name.removeprefix(start): remote[name] for name in names}
        elif source in remote:
            found[target] = remote[source]
        elif len(source) in (40, 64) and not source.strip("0123456789abcdef"):
            found[target] = ObjectID(source.encode())
        else:
            raise KeyError(f"couldn't find remote ref {source}")
    return found


def _prune(repo: Repo, pairs: Iterable[tuple[str, str]], wanted: Mapping[str, ObjectID]) -> None:
    targets = [target for _, target in pairs]
    for ref in list(repo.refs.allkeys()):
        name = os.fsdecode(ref)
        if name not in wanted and any(fnmatchcase(name, target) for target in targets):
            repo.refs.remove_if_equals(ref, None)


def _said(error: Exception, url: str) -> str:
    """The sentence that git would have for it."""
    if isinstance(error, NotGitRepository):
        return f"repository '{url}' not found"
    if isinstance(error, HangupException):
        lines = b"\n".join(error.stderr_lines or []).decode("utf-8", "replace")
        return f"{lines}\nthe remote end hung up unexpectedly"
    name = type(error).__name__
    if name == "HTTPUnauthorized":
        return f"Authentication failed for '{url}'"
    return f"{name}: {error}".strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
