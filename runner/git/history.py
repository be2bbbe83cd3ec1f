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
    waiting = [(0, start)]
    seen = {start}
    for _ in range(limit):
        if not waiting:
            return
        commit = reader.commit(heapq.heappop(waiting)[1])
        yield commit
        for parent in commit.parents:
            if parent not in seen and reader.header(parent) is not None:
                seen.add(parent)
                time = reader.commit(parent).time
                if time >= oldest - CLOCK_SLACK:
                    heapq.heappush(waiting, (-time, parent))


def is_ancestor(reader: ObjectReader, ancestor: str, descendant: str, limit: int) -> bool:
    if reader.header(ancestor) is None or reader.header(descendant) is None:
        return False
    oldest = reader.commit(ancestor).time
    return any(commit.sha == ancestor for commit in ancestors(reader, descendant, oldest, limit))


def first_parents(reader: ObjectReader, start: str, limit: int) -> list[Commit]:
    """The chain of first parents, newest first, as long as it is there."""
    chain = [reader.commit(start)]
    while len(chain) < limit and chain[-1].parents and reader.header(chain[-1].parents[0]) is not None:
        chain.append(reader.commit(chain[-1].parents[0]))
    return chain


def commits_between(reader: ObjectReader, before: str | None, after: str, limit: int, walk_limit: int) -> list[Commit]:
    """What `after` has that `before` had not, along first parents; oldest first, the newest `limit` of them."""
    if before is None or reader.header(before) is None:
        return [reader.commit(after)]
    chain = first_parents(reader, after, limit + 1)
    place = {commit.sha: index for index, commit in enumerate(chain)}
    known = place.get(before)
    if known is None:
        oldest = min(commit.time for commit in chain)
        met = (place[commit.sha] for commit in ancestors(reader, before, oldest, walk_limit) if commit.sha in place)
        known = min(met, default=len(chain))
    return chain[: min(known, limit)][::-1]
