"""The statements of queries.sql by name, read once when the program starts; nothing else holds hot SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from formicary.runner.core.states import TERMINAL, State
from formicary.runner.store import rows

_NAME = re.compile(r"^-- name: (\w+)\n((?:-- .*\n)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Query:
    """One statement and the sentence that says what it is for."""

    name: str
    purpose: str
    text: str


def parse(text: str) -> dict[str, Query]:
    """The queries of a file, by name. Raises ValueError where a name is there twice."""
    parts = _NAME.split(text)[1:]
    queries: dict[str, Query] = {}
    for name, purpose, statement in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name in queries:
            raise ValueError(f"queries.sql has two statements called {name}.")
        queries[name] = Query(name, " ".join(purpose.replace("-- ", "").split()), statement.strip())
    return queries


def _filled(text: str) -> str:
    """The statement with the columns of its records in place."""
    return text.format(
        request=rows.REQUEST,
        new_request=rows.NEW_REQUEST,
        lease=rows.LEASE,
        repository=rows.REPOSITORY,
        ref=rows.REF,
        definition=rows.DEFINITION,
        version=rows.VERSION,
        artifact=rows.ARTIFACT,
        delivery=rows.DELIVERY,
        delivery_head=rows.DELIVERY_HEAD,
        pull_request=rows.PULL_REQUEST,
        secret=rows.SECRET,
        resource=rows.RESOURCE,
        token=rows.TOKEN,
        outbox=rows.OUTBOX,
        audit=rows.AUDIT,
        error_code=rows.ERROR_CODE,
        report=rows.REPORT,
        plugin=rows.PLUGIN,
        report_case=rows.REPORT_CASE,
        report_lines=rows.REPORT_LINES,
        live_states=", ".join(f"'{state}'" for state in State if state not in TERMINAL),
    )


QUERIES: Final = parse((files(__package__) / "queries.sql").read_text(encoding="utf-8"))
SQL: Final[dict[str, str]] = {name: _filled(query.text) for name, query in QUERIES.items()}
