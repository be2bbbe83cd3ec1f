"""A secret as a file that is on no disk: ssh wants a path for its key."""

from __future__ import annotations

import os
from pathlib import Path


class InMemory:
    """One file a name, gone with the process, readable by its own user alone."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, int]] = {}

    def path(self, name: str, text: str) -> Path:
        """Where a child of this process finds the text; the file stays the same while the text does."""
        known = self._files.get(name)
        if known is None or known[0] != text:
            if known is not None:
                os.close(known[1])
            known = self._files[name] = (text, _file(text))
        return Path(f"/proc/{os.getpid()}/fd/{known[1]}")


def _file(text: str) -> int:
    descriptor = os.memfd_create("formicary", os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)  # ssh refuses a key that others may read
    with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
        file.write(text)
    return descriptor
