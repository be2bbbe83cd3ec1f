"""The places of an ant's tasks: one that a task left as empty as it was is used again, every other one is removed.

Making and removing five folders is most of what a trivial task would cost: some file systems take milliseconds for it.
"""

from __future__ import annotations

from pathlib import Path

from formicary.ant.workspace import Place, remove_tree


class Places:
    """Keeps up to `keep` empty places. What `recycle` refuses is the caller's to remove."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._idle: list[Path] = []

    def furnish(self, place: Place) -> None:
        """Make the place's folders, empty and its own. Raises OSError."""
        if self._idle:
            self._idle.pop().rename(place.root)
            place.take_over()
        else:
            place.make()

    def recycle(self, place: Place) -> bool:
        """Keep it for another task, if this one has left nothing in it and on it."""
        try:
            if len(self._idle) >= self._keep or not place.empty():
                return False
            place.shut()
            idle = place.root.with_name(f".idle-{place.root.name}")
            place.root.rename(idle)
        except OSError:
            return False
        self._idle.append(idle)
        return True

    def close(self) -> None:
        """Remove what is kept. Blocking."""
        while self._idle:
            remove_tree(self._idle.pop())
