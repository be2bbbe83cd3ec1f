"""The places of an ant's tasks: one that a task left as empty as it was is used again, every other one is removed.

Making and removing five folders is most of what a trivial task would cost: some file systems take milliseconds for it.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from formicary.ant.workspace import Place, remove_tree


class Places:
    """Keeps up to `keep` empty places of one ant. What `recycle` refuses is the caller's to remove.

    A place keeps its path from task to task, which spares two renames and is kind to tools that remember paths.
    """

    def __init__(self, work: Path, keep: int) -> None:
        self._work, self._keep = work, keep
        self._idle: list[Place] = []
        self._numbers = itertools.count(1)

    def take(self, uid: int | None) -> Place:
        """A place for a task of this user; its folders are there after `furnish`."""
        if self._idle:
            return replace(self._idle.pop(), uid=uid)
        return Place.of(self._work / f"{next(self._numbers)}", uid)

    def furnish(self, place: Place) -> None:
        """Make the place's folders, empty and its own. Raises OSError."""
        if place.root.exists():
            place.take_over()
        else:
            place.make()

    def recycle(self, place: Place) -> bool:
        """Keep it for another task, if this one has left nothing in it and on it."""
        try:
            if len(self._idle) >= self._keep or not place.empty():
                return False
            place.shut()
        except OSError:
            return False
        self._idle.append(place)
        return True

    def close(self) -> None:
        """Remove what is kept. Blocking."""
        while self._idle:
            remove_tree(self._idle.pop().root)
