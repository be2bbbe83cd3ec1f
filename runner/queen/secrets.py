"""The secrets of this process: who sees which is kept in memory by names; values are opened when they are wanted.

Nothing else opens a sealed value. Whatever leaves by another way than a task's log goes through `mask` (T8). All
changes go through here, so what is remembered is true: one process serves a data folder.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from formicary.runner.core.errors import Conflict, DefinitionError, FormicaryError, Locked, Problem, SetupError
from formicary.runner.core.records import DEFAULT_ORGANIZATION, JobRequest, Secret, SecretKind
from formicary.runner.core.secrets import sight
from formicary.runner.core.secrets.masking import Masker
from formicary.runner.core.secrets.sight import Sight
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.store import Reader, Store, Tx
from formicary.runner.store.seal import Broken, Key, Seal, no_key, place_of

log = logging.getLogger("formicary.queen")

CREDENTIALS: Final = ("token", "username", "deploy_key", "webhook_secret")
"""How this server gets into a repository, and how that one's hooks are known."""
MAX_VALUE: Final = 64 * 1024
MAX_TOGETHER: Final = 512 * 1024
"""Bytes of all secrets that one task sees: its process takes its whole environment with it."""
MAX_SECRETS: Final = 1000
"""Of an organization."""
NOT_HIDDEN: Final = "username"
"""A credential that is no secret: masked, it would be missing in every sentence."""
_JobKey = tuple[str, int | None, str]
_REMEMBERED: Final = 4096


class Secrets:
    """`given` are values that belong to this process alone (`formicary run`), by name; they are stored nowhere."""

    def __init__(self, store: Store, key: Key = no_key, given: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._key = key
        self._given = dict(given or {})
        self._lock = threading.Lock()
        self._forget()
        self._hidden: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """Values that are masked, by organization; those that were replaced too: what runs may still show one."""

    def _forget(self) -> None:
        self._scopes: dict[_JobKey, Mapping[str, tuple[Secret, ...]]] = {}
        self._maskers: dict[str, Masker] = {}
        self._numbers: dict[tuple[int, str], int] = {}
        self._credentials: dict[int, str] = {}
        """Those that were opened, by number, so that a hook call reads none of them."""

    # Who sees what

    def seen_by(self, request: JobRequest) -> Sight:
        """Which secrets this request sees. It asks the store once a job, until something changes."""
        key = (request.organization_id, request.repository_id, request.job_type)
        scope = self._scopes.get(key)
        if scope is None:
            scope = self._scope(key)
        return sight.sight(scope, request) if scope else sight.NOTHING

    def _scope(self, key: _JobKey) -> Mapping[str, tuple[Secret, ...]]:
        organization_id, repository_id, job_type = key
        scopes = self._scopes  # a change that comes now puts another one in its place
        found = sight.scoped(self._store.read().secrets(organization_id), repository_id, job_type)
        mine = {name: (Secret(name=name, organization_id=organization_id),) for name in self._given}
        scope = scopes[key] = {**found, **mine}
        return scope

    def values(self, seen: Sight, names: Iterable[str]) -> dict[str, str]:
        """The values of those names that are seen. Raises SetupError, DefinitionError where they are too long."""
        found = {name: self._value(seen.secrets[name]) for name in sorted(names) if name in seen.secrets}
        if sum(map(len, found.values())) > MAX_TOGETHER:
            told = f"The secrets that this task sees are longer than {MAX_TOGETHER // 1024} KiB together"
            raise DefinitionError((Problem("", 0, 0, told, "list fewer of them under `secrets`"),))
        return found

    def _value(self, secret: Secret) -> str:
        return self.value(secret.id) if secret.id else self._given[secret.name]

    def value(self, secret_id: int) -> str:
        """The value of a secret as it is now. Raises SetupError where it is gone or does not open."""
        return open_secret(self._store.read(), self._key, secret_id)

    def complaint(self) -> str:
        """What is wrong with the key, as a sentence for the operator; empty if nothing is. Makes no key."""
        keys = self._store.read().secret_keys()
        if not keys:
            return ""
        try:
            _only_key(self._key(keys), keys)
        except SetupError as error:
            return str(error)
        return ""

    # Changes

    async def put(self, secret: Secret, value: str, also: Also = nothing_else) -> tuple[Secret, bool]:
        """Keep it, in the place of the one of the same scope, kind and name (False). Raises SetupError, Conflict."""
        keys = self._store.read().secret_keys()
        seal = self._key(keys)
        _only_key(seal, keys)
        secret = secret.model_copy(update={"key_id": seal.key_id})
        sealed = seal.seal(value, *place_of(secret))

        def change(tx: Tx) -> tuple[Secret, bool]:
            also(tx)
            stored, new = tx.put_secret(secret, sealed)
            if new and len(tx.secrets(secret.organization_id)) > MAX_SECRETS:
                raise Conflict(f"there are {MAX_SECRETS} secrets already; remove those that nobody needs")
            return stored, new

        self.mask("", secret.organization_id)  # what is replaced now may still be shown by what runs
        stored = await self._store.write(change)
        self._forget()
        return stored

    async def delete(self, secret: Secret, also: Also = nothing_else) -> bool:
        """Forget it, value and all; False if it was gone already."""
        self.mask("", secret.organization_id)

        def change(tx: Tx) -> bool:
            if not tx.delete_secret(secret.id):
                return False
            also(tx)
            return True

        found = await self._store.write(change)
        self._forget()
        return found

    # For those who speak to the outside

    def values_of(self, request: JobRequest, names: Iterable[str]) -> dict[str, str]:
        """Values for what the queen sends of a request (`webhook`, `notify`); a name that is not for it is left out."""
        return self.values(self.seen_by(request), names)

    def credential(self, repository_id: int, name: str) -> str | None:
        """One of CREDENTIALS of a repository, as it is stored. Raises SetupError where it does not open."""
        numbers, opened = self._numbers, self._credentials  # a change that comes now puts others in their place
        if not numbers:
            numbers.update(self._numbered())
        number = numbers.get((repository_id, name), 0)
        if number and number not in opened:
            opened[number] = self.value(number)
        return opened.get(number)

    def _numbered(self) -> dict[tuple[int, str], int]:
        """The credentials' numbers, by their repositories' numbers and their names."""
        reader = self._store.read()
        found = {(0, ""): 0}  # so that it is not empty where there are none
        for organization_id in {one.organization_id for one in reader.repositories()}:
            for secret in reader.secrets(organization_id):
                if secret.kind is SecretKind.CREDENTIAL and secret.repository_id is not None:
                    found[secret.repository_id, secret.name] = secret.id
        return found

    def mask(self, text: str, organization_id: str = DEFAULT_ORGANIZATION) -> str:
        """The text without any secret of the organization, and without our own tokens (T8). Any thread may call it."""
        masker = self._maskers.get(organization_id)
        if masker is None:
            masker = self._new_masker(organization_id)
        return masker.text(text)

    def _new_masker(self, organization_id: str) -> Masker:
        with self._lock:
            maskers, hidden = self._maskers, self._hidden[organization_id]
            for value in (*self._given.values(), *self._opened(organization_id)):
                hidden.pop(value, None)  # what is still in use goes last
                hidden[value] = None
            while len(hidden) > _REMEMBERED:
                del hidden[next(iter(hidden))]
            masker = maskers[organization_id] = Masker(hidden)
        return masker

    def _opened(self, organization_id: str) -> Iterator[str]:
        for secret in self._store.read().secrets(organization_id):
            if secret.kind is SecretKind.CREDENTIAL and secret.name == NOT_HIDDEN:
                continue
            try:
                yield self.value(secret.id)
            except FormicaryError as error:
                log.warning("it cannot be masked: %s", error)


def open_secret(reader: Reader, key: Key, secret_id: int) -> str:
    """The value of a stored secret. Raises SetupError where it is gone or does not open, Locked without its key."""
    found = reader.sealed_secret(secret_id)
    if found is None:
        raise SetupError("the secret was deleted just now")
    secret, sealed = found
    seal = key(reader.secret_keys())
    if seal.key_id != secret.key_id:
        raise Locked(
            f"the secret `{secret.name}` is sealed with the key {secret.key_id}, and the key at hand is {seal.key_id}; "
            f"bring the right master key back, or set the secret anew"
        )
    try:
        return seal.open(sealed, *place_of(secret))
    except Broken as error:
        raise Broken(
            f"the secret `{secret.name}` does not open: its row was changed by something else than Formicary; set it "
            f"anew, and look who can write the database"
        ) from error


def _only_key(seal: Seal, keys: Mapping[str, int]) -> None:
    """What is sealed with another key would be out of reach, and nobody would notice. Raises SetupError."""
    for key_id, count in keys.items():
        if key_id != seal.key_id:
            what, those = ("secret is", "that secret") if count == 1 else ("secrets are", "those secrets")
            raise SetupError(
                f"{count} stored {what} sealed with the key {key_id}, and the key at hand is {seal.key_id}; bring the "
                f"right master key back, or remove {those} first"
            )
