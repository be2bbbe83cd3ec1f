"""The door's own files in the data folder, all 0600: the admin token, the server's address, the hooks' secrets."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import Final

from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Repository, Role, Token
from formicary.runner.store import Store, Tx
from formicary.webhook.caller import TOKEN, digest_of, is_token, new_token

ADMIN_TOKEN: Final = "admin.token"
SERVER_JSON: Final = "server.json"
_SECRET: Final = ".secret"
_TICK_NS: Final = 1_000_000_000
"""A file that was changed less than this ago may be changed once more without another time."""


async def first_start(data: Path, store: Store) -> None:
    """Write `admin.token` if it is not there, and make the token in it good.

    Deleting the file and starting again makes a new one; the old one is then no good any more.
    """
    path = data / ADMIN_TOKEN
    secret = _read(path) or new_token()
    if not is_token(secret, TOKEN):
        raise SetupError(f"{path} holds no token. Delete it and start again: a new one is written.")
    digest = digest_of(secret)

    def make_good(tx: Tx) -> None:
        if tx.token_by_digest(digest):
            return
        for old in tx.tokens():
            if old.name == ADMIN_TOKEN:
                tx.delete_token(old.id)
        tx.add_token(Token(name=ADMIN_TOKEN, digest=digest, role=Role.ADMIN, created_at=time.time()))

    await store.write(make_good)
    if not path.exists():
        _write(path, secret + "\n")


def read_admin_token(data: Path) -> str:
    """The admin token, for a client on the same machine; empty where there is none."""
    return _read(data / ADMIN_TOKEN)


def write_server_json(data: Path, url: str, pid: int | None = None, cert: Path | None = None) -> None:
    """Say where this server is, so that the command line finds it, and by which certificate it is known."""
    said = {"url": url, "pid": pid or os.getpid(), "started_at": time.time()}
    if cert is not None:
        said["cert"] = str(cert.absolute())
    _write(data / SERVER_JSON, json.dumps(said) + "\n")


def read_server_json(data: Path) -> dict[str, object] | None:
    """Where the server says it is; it may be gone all the same."""
    try:
        found = json.loads(_read(data / SERVER_JSON) or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def remove_server_json(data: Path) -> None:
    """At the exit; a server that started in the meantime keeps its own."""
    found = read_server_json(data)
    if found and found.get("pid") == os.getpid():
        (data / SERVER_JSON).unlink(missing_ok=True)


def hook_secret(data: Path, repository: Repository) -> bytes:
    """The secret that signs this repository's hooks; made where there is none yet."""
    path = _secret_path(data, repository)
    secret = _read(path)
    if not secret:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = secrets.token_urlsafe(32)
        _write(path, secret + "\n")
    return secret.encode()


def known_hook_secret(data: Path, repository: Repository) -> bytes | None:
    """The secret, or None where no hook was ever set up: such a repository accepts no hook (T9)."""
    return _read(_secret_path(data, repository)).encode() or None


class HookSecrets:
    """The secrets of all local hooks. A file is read again when it has changed."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "hooks"
        self._known: dict[str, tuple[tuple[int, int, int], bytes]] = {}

    def all(self) -> dict[int, bytes]:
        """By the numbers of their repositories."""
        try:
            with os.scandir(self._folder) as entries:
                names = {entry.name: entry for entry in entries if entry.name.endswith(_SECRET)}
        except FileNotFoundError:
            return {}
        self._known = {name: known for name, known in self._known.items() if name in names}
        found = {name.removesuffix(_SECRET): self._secret(entry) for name, entry in names.items()}
        return {int(number): secret for number, secret in found.items() if secret and number.isdecimal()}

    def _secret(self, entry: os.DirEntry[str]) -> bytes:
        stat, known = entry.stat(), self._known.get(entry.name)
        shape = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if known is not None and known[0] == shape:
            return known[1]
        secret = _read(Path(entry.path)).encode()
        if time.time_ns() - stat.st_mtime_ns > _TICK_NS:
            self._known[entry.name] = shape, secret
        return secret


def _secret_path(data: Path, repository: Repository) -> Path:
    return data / "hooks" / f"{repository.id}{_SECRET}"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and for nobody else's eyes (mkstemp makes it 0600)."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
