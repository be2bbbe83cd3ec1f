"""The server's own words on its standard error: one line each; only faults of ours bring a traceback."""

from __future__ import annotations

import logging
import os
import time
from typing import Final

from formicary.runner.core.errors import FormicaryError

_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"


class Dated(logging.Formatter):
    """The time is in UTC, as everything else on disk."""

    converter = staticmethod(time.gmtime)

    def __init__(self, form: str) -> None:
        super().__init__(form, "%Y-%m-%dT%H:%M:%SZ")


class OneLine(Dated):
    """What the world did to us (a full disk, a repository that is gone) is said; where in our code is not."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, FormicaryError):
            return super().format(record)
        said = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return f"{super().format(said)}: {' '.join(str(error).split())}"


def keep_journal(*, verbose: bool) -> None:
    """From here on everything logged goes to the standard error; with `verbose` more of it, and whole."""
    handler = logging.StreamHandler()
    form = _FORMAT if "JOURNAL_STREAM" in os.environ else f"%(asctime)s {_FORMAT}"  # systemd puts the time itself
    handler.setFormatter(Dated(form) if verbose else OneLine(form))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
