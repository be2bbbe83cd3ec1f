"""Mirrors of remote repositories: brought up to date ref by ref, only as deep as needed, made anew where damaged.

Listing comes before fetching: where nothing has moved, nothing is fetched. A first fetch is shallow where the server
allows it, so that a repository with a long history is ready soon; what a task wants beyond that is fetched when it is
wanted (`ready`). Everything of a commit is there, its files included, because a task gets a copy of it and has no
credentials to fetch more.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import anyio
from anyio import to_thread
from dulwich.refs import Ref, check_ref_format

from formicary.runner.core.errors import RepositoryUnavailable, SetupError
from formicary.runner.core.messages import Source
from formicary.runner.core.records import Repository
from formicary.runner.git import complaint, redirects
from formicary.runner.git.address import Address, parse
from formicary.runner.git.bare import Bare, remove_leftovers
from formicary.runner.git.chosen import is_id
from formicary.runner.git.remote import Advert, Credentials, Failed, Remote
from formicary.runner.git.repository import GitRepository
from formicary.runner.git.subprocesses import run

log = logging.getLogger("formicary.mirrors")

FOLDER: Final = "mirrors"
FIRST_DEPTH: Final = 50
"""As `checkout` has it by default."""
WHOLE: Final = 0x7FFFFFFF
"""git's own number for all of it."""
FEW_REFS: Final = 200
"""Up to so many refs are asked for by name; where more have moved, all are."""
MOST_CALLS: Final = 60
"""In search of the refs that git refuses; about ten of thousands are found."""
LISTINGS: Final = 8
FETCHES: Final = 3
MANY_PACKS: Final = 40
RENEW_AGAIN: Final = 600.0
TIDY_TIMEOUT: Final = 1800.0
MOST_BYTES: Final = 20_000_000_000
EVERYTHING: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")

CredentialsOf = Callable[[Repository], Credentials | None]


class Refreshed(NamedTuple):
    """`fingerprint` differs whenever a ref is elsewhere than before; `troubles` are refs that could not be fetched;
    `anew`: the mirror was made anew, so what was open of it is gone."""

    fingerprint: str
    troubles: tuple[str, ...] = ()
    anew: bool = False


@dataclass(slots=True)
class Mirror:
    """One mirror and what is known of it. `agreed`: the listing that it was last brought to; `refused`: ref → id that
    git would not take; `moved_to`: where its own host says that it is now; `is_new`: made anew, not yet told;
    `looked_at`: when the last look for a task's `ref` began."""

    bare: Bare
    repository: Repository
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    agreed: str = ""
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    moved_to: Address | None = None
    renewed_at: float | None = None
    is_new: bool = False
    looked_at: float = 0.0


class Mirrors:
    """All mirrors of one process. `credentials` is asked anew before each call, so that a new token counts at once."""

    def __init__(self, folder: Path, credentials: CredentialsOf, *, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self._credentials = credentials
        self._most_bytes = most_bytes
        self._mirrors: dict[str, Mirror] = {}
        self._listing = anyio.CapacityLimiter(LISTINGS)
        self._fetching = anyio.CapacityLimiter(FETCHES)

    def path_for(self, url: str, taken: Collection[str]) -> str:
        """A folder for a new mirror of this address that no other repository has."""
        address = parse(url)
        digest = hashlib.sha256(address.identity.encode()).hexdigest()[:12]
        for number in range(1, len(taken) + 2):
            path = str(self.folder / f"{digest}{f'-{number}' if number > 1 else ''}.git")
            if path not in taken:
                return path
        raise AssertionError("one of so many names is free")

    def at_home(self, path: str) -> str:
        """The same mirror in this data folder; a database may have come from another one."""
        return str(self.folder / Path(path).name)

    async def prepare(self, repository: Repository) -> None:
        """An empty mirror, where there is none. Raises SetupError for an address that is none."""
        parse(repository.url)
        await self._make(self._mirror(repository))

    async def refresh(self, repository: Repository) -> Refreshed:
        """Make the mirror's branches and tags those of the remote. Raises RepositoryUnavailable, SetupError with one
        sentence that says what to do."""
        try:
            return await self._refreshed(repository)
        except RepositoryUnavailable as error:
            if getattr(error, "kind", "") != complaint.OWN or not await self.renew(repository):
                raise
        return await self._refreshed(repository)

    async def _refreshed(self, repository: Repository) -> Refreshed:
        mirror = self._mirror(repository)
        async with mirror.lock:
            advert = await self._list(mirror, self._remote(mirror))
            digest = _digest(advert)
            if digest != mirror.agreed:
                await self._agree(mirror, self._remote(mirror), advert)
            anew, mirror.agreed, mirror.is_new = mirror.is_new, digest, False
        return Refreshed(digest, tuple(why for _, why in mirror.refused.values()), anew)

    async def fetch_ref(self, repository: Repository, ref: str) -> str:
        """The commit that a ref beside branches and tags names (`refs/pull/7/head`), fetched. Raises
        RepositoryUnavailable."""
        if not check_ref_format(Ref(ref.encode())) or not ref.startswith("refs/"):
            raise SetupError(f"`{ref}` is no full name of a ref.")
        mirror = self._mirror(repository)
        async with mirror.lock:
            await self._make(mirror)
            kept = f"refs/formicary/{ref.removeprefix('refs/')}"
            async with self._fetching:
                await self._remote(mirror).fetch(mirror.bare.path, [f"+{ref}:{kept}"], most_bytes=self._most_bytes)
            found = await to_thread.run_sync(_resolve, mirror.bare.path, kept)
        return found

    async def ready(self, source: Source) -> None:
        """Have the commit there with as much history as the task wants, or where only a `ref` is known, what that names
        at the remote now; nothing to do for a repository of this machine. Raises RepositoryUnavailable."""
        mirror = self._mirrors.get(source.path)
        if mirror is None or source.kind != "commit":
            return
        if not source.commit:
            await self._look_again(mirror, source.ref)
            return
        if await to_thread.run_sync(_holds, mirror.bare, source.commit, source.depth):
            return
        async with mirror.lock:
            if not await to_thread.run_sync(_holds, mirror.bare, source.commit, source.depth):
                await self._fetch_commit(mirror, source.commit, source.depth)

    async def _look_again(self, mirror: Mirror, ref: str) -> None:
        """An earlier task may have pushed it. Those who ask while a look is under way share the next one. What was
        agreed stays as it was, so that the next refresh tells what has moved."""
        asked = time.monotonic()
        async with mirror.lock:
            if is_id(ref) or mirror.looked_at >= asked:
                return
            begun = time.monotonic()
            advert = await self._list(mirror, self._remote(mirror))
            await self._agree(mirror, self._remote(mirror), advert)
            mirror.looked_at = begun

    async def renew(self, repository: Repository) -> bool:
        """Throw a damaged mirror away; the next refresh makes it anew. False where that was done a moment ago: then it
        is not the mirror."""
        mirror = self._mirror(repository)
        now = time.monotonic()
        if mirror.renewed_at is not None and now - mirror.renewed_at < RENEW_AGAIN:
            return False
        log.warning("the mirror of %s is damaged; it is made anew", repository.name)
        async with mirror.lock:
            mirror.renewed_at = now
            await to_thread.run_sync(mirror.bare.remove)
            await self._make(mirror)
        return True

    async def tidy(self, repository: Repository, keep: Collection[str]) -> bool:
        """In quiet times: few packs instead of many; the commits `keep` stay. False where nothing was tidied."""
        mirror = self._mirror(repository)
        if await to_thread.run_sync(mirror.bare.packs) < MANY_PACKS:
            return False
        async with mirror.lock:
            here = [sha for sha in keep if await to_thread.run_sync(_holds, mirror.bare, sha, 1)]
            await to_thread.run_sync(mirror.bare.remove_locks)
            await to_thread.run_sync(mirror.bare.keep, here)
            tidying = mirror.bare.tidying()
            if tidying is None:
                return False
            words, environment = tidying
            ended = await run(words, cwd=mirror.bare.path, env=environment, timeout=TIDY_TIMEOUT)
        if ended.code or ended.stopped:
            said = ended.stopped or complaint.last_words(ended.err.decode("utf-8", "replace"))
            log.warning("the mirror of %s could not be tidied: %s", repository.name, said)
        return not ended.code

    async def forget(self, repository: Repository) -> None:
        """Its mirror goes."""
        mirror = self._mirror(repository)
        async with mirror.lock:
            await to_thread.run_sync(mirror.bare.remove)
        self._mirrors.pop(repository.path, None)

    # How

    def _mirror(self, repository: Repository) -> Mirror:
        known = self._mirrors.get(repository.path)
        if known is None:
            known = self._mirrors[repository.path] = Mirror(Bare(Path(repository.path)), repository)
        if known.repository.url != repository.url:
            known.moved_to, known.agreed = None, ""
        known.repository = repository
        return known

    def _remote(self, mirror: Mirror) -> Remote:
        credentials = self._credentials(mirror.repository) or Credentials()
        return Remote(mirror.moved_to or parse(mirror.repository.url), credentials, self.folder)

    async def _make(self, mirror: Mirror, hex_length: int = 40) -> None:
        if not await to_thread.run_sync(lambda: mirror.bare.is_there):
            mirror.agreed, mirror.is_new = "", True
            await to_thread.run_sync(self._made, mirror.bare, hex_length)

    def _made(self, bare: Bare, hex_length: int) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        bare.make(hex_length)

    async def _fit(self, mirror: Mirror, advert: Advert) -> None:
        """Ids of another length than the mirror's: the history was replaced by one of the other object format."""
        length = len(next(iter(advert.refs.values()), "")) or 40
        if advert.refs and await to_thread.run_sync(mirror.bare.object_format) != length:
            await to_thread.run_sync(mirror.bare.remove)
            await self._make(mirror, length)

    async def _list(self, mirror: Mirror, remote: Remote) -> Advert:
        tracked = mirror.repository.tracked_branch
        await self._make(mirror)
        async with self._listing:
            try:
                advert = await remote.list_refs(head=not tracked)
            except Failed as failed:
                remote = await self._followed(mirror, remote, failed)
                advert = await remote.list_refs(head=not tracked)
            if tracked and f"refs/heads/{tracked}" not in advert.refs and not mirror.repository.pinned:
                advert = await remote.list_refs(head=True)
        return Advert(_usable(advert.refs), advert.head)

    async def _followed(self, mirror: Mirror, remote: Remote, failed: Failed) -> Remote:
        """The remote where its own host says that it is now; another host is not followed: the token is not for it."""
        mirror.moved_to = None  # where it was said to be, it is not: ask again at its address next time
        if failed.kind != complaint.MOVED:
            raise failed
        mirror.moved_to = await redirects.target(remote.address)
        log.warning("%s has moved to %s; change its `url`", remote.address.url, mirror.moved_to.url)
        return self._remote(mirror)

    async def _agree(self, mirror: Mirror, remote: Remote, advert: Advert) -> None:
        bare = mirror.bare
        await self._fit(mirror, advert)
        await to_thread.run_sync(bare.remove_locks)
        there = await to_thread.run_sync(bare.refs, await to_thread.run_sync(bare.object_format))
        moved = {ref: sha for ref, sha in advert.refs.items() if there.get(ref) != sha}
        mirror.refused = {ref: why for ref, why in mirror.refused.items() if moved.get(ref) == why[0]}
        moved = {ref: sha for ref, sha in moved.items() if ref not in mirror.refused}
        gone = [ref for ref in there if ref not in advert.refs]
        if gone:
            await to_thread.run_sync(bare.set_refs, dict.fromkeys(gone))
        if moved:
            async with self._fetching:
                await self._fetch(mirror, remote, moved, first=not there)
        if len(moved) > FEW_REFS:
            await to_thread.run_sync(bare.pack_refs)
        if advert.head:
            await to_thread.run_sync(bare.point_head, advert.head)

    async def _fetch(self, mirror: Mirror, remote: Remote, moved: Mapping[str, str], *, first: bool) -> None:
        named = [f"+{ref}:{ref}" for ref in moved]
        refspecs = EVERYTHING if len(moved) > FEW_REFS else named
        depth = FIRST_DEPTH if first else 0
        path = mirror.bare.path
        try:
            await remote.fetch(path, refspecs, depth=depth, prune=refspecs is EVERYTHING, most_bytes=self._most_bytes)
        except Failed as failed:
            if failed.kind == complaint.NO_SHALLOW:
                await remote.fetch(path, refspecs, prune=refspecs is EVERYTHING, most_bytes=self._most_bytes)
            elif failed.kind in (complaint.CONTENT, complaint.NO_REF):
                await self._fetch_apart(mirror, remote, moved, depth)
            else:
                raise

    async def _fetch_apart(self, mirror: Mirror, remote: Remote, moved: Mapping[str, str], depth: int) -> None:
        """One ref that git refuses keeps no other from being fetched (D8): halves of halves, until it is found."""
        waiting, calls = [list(moved)], 0
        while waiting:
            some, calls = waiting.pop(), calls + 1
            try:
                named = [f"+{ref}:{ref}" for ref in some]
                await remote.fetch(mirror.bare.path, named, depth=depth, most_bytes=self._most_bytes)
            except Failed as failed:
                if failed.kind not in (complaint.CONTENT, complaint.NO_REF) or calls >= MOST_CALLS:
                    raise
                if len(some) > 1:
                    waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
                elif failed.kind == complaint.CONTENT:
                    mirror.refused[some[0]] = (moved[some[0]], f"{some[0]} is left out: {failed}")
        if moved and len(mirror.refused) >= len(moved):
            raise RepositoryUnavailable(next(iter(mirror.refused.values()))[1])

    async def _fetch_commit(self, mirror: Mirror, sha: str, depth: int) -> None:
        """The commit with what is missing below it; then beyond where history ends here, if that is too near. What is
        here is never cut off again, as a `depth` would do."""
        path, refspecs = mirror.bare.path, [f"+{sha}:refs/formicary/keep/{sha}"]
        remote = self._remote(mirror)
        try:
            async with self._fetching:
                if not await to_thread.run_sync(_holds, mirror.bare, sha, 1):
                    await remote.fetch(path, refspecs, most_bytes=self._most_bytes)
                if not await to_thread.run_sync(_holds, mirror.bare, sha, depth):
                    whole = 0 if depth else WHOLE
                    await remote.fetch(path, refspecs, depth=whole, deepen=depth, most_bytes=self._most_bytes)
        except Failed as failed:
            if failed.kind != complaint.NO_REF:
                raise
            log.info("commit %s is not in %s any more", sha, mirror.repository.name)  # the copy says what to do


def _usable(refs: Mapping[str, str]) -> dict[str, str]:
    return {ref: sha for ref, sha in refs.items() if check_ref_format(Ref(ref.encode("utf-8", "surrogateescape")))}


def _digest(advert: Advert) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for ref, sha in sorted(advert.refs.items()):
        digest.update(f"{sha} {ref}\n".encode("utf-8", "surrogateescape"))
    digest.update((advert.head or "").encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _holds(bare: Bare, sha: str, depth: int) -> bool:
    """Whether the commit is there with `depth` generations of history (0 = all of it)."""
    if not bare.is_there:
        return False
    with GitRepository.open(bare.path) as repository:
        if not repository.contains(sha):
            return False
        return not bare.is_shallow or repository.reaches_back(sha, depth)


def _resolve(path: Path, ref: str) -> str:
    with GitRepository.open(path) as repository:
        return repository.named(ref)
