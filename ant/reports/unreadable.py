"""Why a report is not taken."""

from __future__ import annotations


class Unreadable(Exception):
    """A sentence without its subject: "is not XML: …". The report is left out, and a warning says so."""
