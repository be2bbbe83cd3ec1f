"""What people call a ref. Pure."""

from __future__ import annotations

import re
from typing import Final

_PULL: Final = re.compile(r"refs/pull/(\d+)/head\Z")


def short(ref: str) -> str:
    """`main` for a branch, `v1` for a tag, `#7` for a pull request's head."""
    pull = _PULL.match(ref)
    if pull:
        return f"#{pull.group(1)}"
    return ref.removeprefix("refs/").removeprefix("heads/").removeprefix("tags/")
