"""Walks from commit to parents, newest first and bounded; history may end early (shallow) without being an error."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from formicary.runner.git.model import Commit
from formicary.runner.git.objects import ObjectReader

CLOCK_SLACK: Final = 7 * 24 * 3600
"""How far the clocks of committers may disagree before an ancestor is missed (it then looks like a force-push)."""


def ancestors(reader: ObjectReader, start: str, oldest: int, limit: int) -> Iterator[Commit]:
    """`start` and what it descends from, by committer's time, as far back as `oldest` and at most `limit` commits."""
    first = reader.commit(start)
    waiting = [(-first.time, start, first)]
    seen = {start}
    for _ in range(limit):
        if not waiting:
            return
        commit = heapq.heappop(waiting)[2]
        yield commit
        for parent in (sha for sha in commit.parents if sha not in seen):
            seen.add(parent)
            older = reader.commit_if_here(parent)
            if older is not None and older.time >= oldest - CLOCK_SLACK:
                heapq.heappush(waiting, (-older.time, parent, older))


def is_ancestor(reader: ObjectReader, ancestor: str, descendant: str, limit: int) -> bool:
    oldest, newest = reader.commit_if_here(ancestor), reader.commit_if_here(descendant)
    if oldest is None or newest is None:
        return False
    return any(commit.sha == ancestor for commit in ancestors(reader, descendant, oldest.time, limit))


def merge_base(reader: ObjectReader, one: str, other: str, limit: int) -> str | None:
    """The newest commit that both descend from, as far as `limit` commits of each show it."""
    seen = {commit.sha for commit in ancestors(reader, one, 0, limit)}
    return next((commit.sha for commit in ancestors(reader, other, 0, limit) if commit.sha in seen), None)


def first_parents(reader: ObjectReader, start: str, limit: int) -> list[Commit]:
    """The chain of first parents, newest first, as long as it is there."""
    chain = [reader.commit(start)]
    while len(chain) < limit and chain[-1].parents:
        parent = reader.commit_if_here(chain[-1].parents[0])
        if parent is None:
            break
        chain.append(parent)
    return chain


def commits_between(reader: ObjectReader, before: str | None, after: str, limit: int, walk_limit: int) -> list[Commit]:
    """What `after` has that `before` had not, along first parents; oldest first, the newest `limit` of them."""
    if before is None or reader.commit_if_here(before) is None:
        return [reader.commit(after)]
    chain = first_parents(reader, after, limit + 1)
    place = {commit.sha: index for index, commit in enumerate(chain)}
    known = place.get(before)
    if known is None:
        oldest = min(commit.time for commit in chain)
        met = (place[commit.sha] for commit in ancestors(reader, before, oldest, walk_limit) if commit.sha in place)
        known = min(met, default=len(chain))
    return chain[: min(known, limit)][::-1]


def reaches_back(reader: ObjectReader, start: str, depth: int, limit: int) -> bool:
    """Whether `depth` generations are here (0 = all there are); beyond `limit` commits nothing is looked at."""
    generation, seen = [start], {start}
    while generation and len(seen) <= limit:
        depth -= 1
        if depth == 0:
            return True
        older: list[str] = []
        for commit in map(reader.commit, generation):
            for parent in commit.parents:
                if parent not in seen:
                    if reader.header(parent) is None:
                        return False
                    seen.add(parent)
                    older.append(parent)
        generation = older
    return True
