"""What a task brings from earlier runs, scoped by repository and trust (T3, T4). Blocking. A miss is no error.

A cache is found under `cache/<whose>/<trusted|untrusted>/<digest of its paths>/<key>`: untrusted runs never write
what trusted runs read, and two caches of one key that hold different paths do not meet. Its object holds its name, so
it is nobody else's: not even an artifact of the same files has its digest, and whoever forgets the name deletes it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from formicary.ant import extract, pack
from formicary.ant.artifacts import Selection, Warn, check, checked, select
from formicary.ant.below import Below, Found
from formicary.ant.settings import ArtifactLimits
from formicary.runner.artifacts import Named, ObjectDamaged, ObjectStore
from formicary.runner.core.definition import Cache
from formicary.runner.core.errors import UserError, WorldError
from formicary.runner.core.messages import TaskOrder

Say = Callable[[str], None]
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Caches:
    """The caches of one task. `folder` is its working_dir, from the workspace."""

    objects: ObjectStore
    order: TaskOrder
    below: Below
    folder: str
    limits: ArtifactLimits
    scratch: Path

    def restore(self, say: Say) -> frozenset[str]:
        """Bring what there is; returns the names that were found exactly, which need not be saved again."""
        exact: set[str] = set()
        for cache in self.order.task.cache:
            if cache.policy == "push":
                continue
            name = self._name(cache)
            found = self._find(cache, name)
            if found is None:
                say(f"Cache {cache.key}: nothing was kept under this key yet.")
            elif self._bring(cache, found, say) and found.name == name:
                exact.add(name)
        return frozenset(exact)

    def save(self, exact: frozenset[str], say: Say, warn: Warn) -> None:
        """Keep what the task made, after its success."""
        for cache in self.order.task.cache:
            name = self._name(cache)
            if cache.policy == "pull" or name in exact:
                continue
            try:
                self._keep(cache, name, say, warn)
            except (UserError, WorldError) as error:
                warn(f"cache {cache.key}: {error}")

    def _keep(self, cache: Cache, name: str, say: Say, warn: Warn) -> None:
        chosen = [select(self.below, self.folder, path) for path in cache.paths]
        found = {one.path: one for selection in chosen for one in selection.found}
        if useless := _useless(chosen, found):
            warn(f"cache {cache.key}: {useless}")
            return
        ordered = [found[path] for path in sorted(found)]
        check(ordered, self.limits, f"cache {cache.key}")
        before = self.objects.names.resolve(name)
        digest = self.objects.put(pack.stream(self.below, ordered, comment=name))
        self.objects.names.link(name, digest)
        if before is not None and before.digest != digest:
            self.objects.delete(before.digest.sha256)
        say(f"Cache {cache.key}: kept {digest.size} bytes.")

    def _bring(self, cache: Cache, found: Named, say: Say) -> bool:
        try:
            with checked(self.objects, found.digest.sha256, self.scratch) as content:
                extract.unpack(content, self.below, self.limits)
        except (ObjectDamaged, UserError) as error:
            say(f"Cache {cache.key}: cannot be used, going on without it: {error}")
            self._forget(found)
            return False
        say(f"Cache {cache.key}: brought {found.digest.size} bytes.")
        return True

    def _find(self, cache: Cache, name: str) -> Named | None:
        """The exact key, else the newest one that begins as a fallback key does."""
        if (found := self.objects.names.resolve(name)) and self._fresh(cache, found):
            return found
        for key in cache.fallback_keys:
            fresh = [one for one in self.objects.names.list(self._prefix(cache) + key) if self._fresh(cache, one)]
            if fresh:
                return max(fresh, key=lambda one: one.at)
        return None

    def _fresh(self, cache: Cache, found: Named) -> bool:
        if cache.expires_after is None or time.time() - found.at <= cache.expires_after:
            return True
        self._forget(found)
        return False

    def _forget(self, found: Named) -> None:
        self.objects.names.unlink(found.name)
        self.objects.delete(found.digest.sha256)

    def _prefix(self, cache: Cache) -> str:
        order = self.order
        whose = order.cache_scope or f"none-{order.organization_id}"
        paths = hashlib.sha256("\0".join((self.folder, *cache.paths)).encode()).hexdigest()[:16]
        return f"cache/{whose}/{'trusted' if order.trusted else 'untrusted'}/{paths}/"

    def _name(self, cache: Cache) -> str:
        if not cache.key_paths:
            return self._prefix(cache) + cache.key
        return f"{self._prefix(cache)}{cache.key}-{self._digest(cache)}"

    def _digest(self, cache: Cache) -> str:
        """Of the names and contents of all files that key_paths match."""
        seen = hashlib.sha256()
        for path in cache.key_paths:
            for one in select(self.below, self.folder, path).found:
                if one.is_file:
                    seen.update(f"{len(one.path)} {one.path} ".encode("utf-8", "surrogateescape"))
                    seen.update(self._content(one))
        return seen.hexdigest()

    def _content(self, one: Found) -> bytes:
        seen = hashlib.sha256()
        handle = self.below.read(one.path)
        try:
            while data := os.read(handle, _CHUNK):
                seen.update(data)
        finally:
            os.close(handle)
        return seen.digest()


def _useless(chosen: Sequence[Selection], found: Mapping[str, Found]) -> str:
    """Why there is nothing to keep. Half a cache is worse than none: it breaks the next run, far from its cause."""
    if any(os.path.basename(path) == "pyvenv.cfg" for path in found):  # noqa: PTH119  # pathlib costs time here
        return (
            "a Python virtual environment works in the folder where it was made alone, and each attempt has a new one; "
            "nothing was kept. Keep pip's downloads instead: PIP_CACHE_DIR below the workspace, and that in `paths`."
        )
    if left_out := sum(one.left_out for one in chosen):
        return (
            f"links or special files are among its paths ({left_out}), and only files and folders can be kept; nothing "
            "was kept. Keep the folder of downloads of your package manager instead of what it installs."
        )
    return "" if found else "its paths match nothing; nothing was kept."
