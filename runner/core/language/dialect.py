"""Which dialect of the definition language a document is written in: nothing is guessed."""

from __future__ import annotations

import re
from typing import Final

from formicary.runner.core.definition import GO, NATIVE, Dialect

_SAID: Final = re.compile(r"""^template:[ \t]*(["']?)(native|go)\1[ \t]*(?:#.*)?$""", re.M)


def dialect_of(text: str, otherwise: Dialect) -> Dialect:
    """What `template` says on the job; it is read before the templates are, so it must stand there as plain text."""
    said = _SAID.search(text)
    if said is None:
        return otherwise
    return GO if said[2] == "go" else NATIVE
