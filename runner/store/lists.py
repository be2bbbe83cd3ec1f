"""The list of requests: every filter starts from an index, every page is limited, and no total is counted row by row
where the `ended` table knows it.

A page is found in two steps: the ids of its requests, from an index; then their rows. Several states are one walk each,
merged, because one walk over all of them would sort every request that has ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from formicary.runner.core.errors import UserError
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.store.rows import REQUEST

MAX_PAGE: Final = 1000
#: A search that finds more than this says that it found this many.
MAX_FOUND: Final = 10_000
ORDERS: Final = {"id": "ASC", "created_at": "ASC", "-id": "DESC", "-created_at": "DESC"}

_FOUND: Final = f"""id IN (
    SELECT id FROM requests WHERE id > (SELECT searched FROM store) AND
        begins_words(job_type || ' ' || ref || ' ' || [commit] || ' ' || description || ' ' || created_by, :q)
    UNION ALL
    SELECT * FROM (
        SELECT rowid FROM requests_fts WHERE requests_fts MATCH :match ORDER BY rowid DESC LIMIT {MAX_FOUND}
    )
)"""
_WORD = re.compile(r"[^\W_]+")


def window(page: int, page_size: int) -> dict[str, int]:
    """LIMIT and OFFSET of a page."""
    size = min(max(page_size, 1), MAX_PAGE)
    return {"limit": size, "offset": max(page, 0) * size}


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """What a list of requests is asked for. Ids rise with time, so both orders walk the same way."""

    organization_id: str | None = None
    repository_id: int | None = None
    job_type: str | None = None
    states: Sequence[State] = ()
    ref: str | None = None
    commit: str | None = None
    q: str = ""
    order: str = "-id"


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    parameters: dict[str, Any] = field(default_factory=dict)


def search_words(q: str) -> str:
    """The full-text query for what somebody typed: every word, each the beginning of a word."""
    return " ".join(f'"{word}"*' for word in words_of(q))


def words_of(text: str) -> list[str]:
    """The words as the full-text index sees them."""
    return _WORD.findall(text.lower())


def begins_words(text: str, q: str) -> bool:
    """Whether every word of `q` begins one of the text: the search of what is not in the full-text index yet."""
    words = words_of(text)
    return all(any(word.startswith(part) for word in words) for part in words_of(q))


def page_of_ids(wanted: RequestFilter, page: int, page_size: int) -> Statement:
    """Ids of one page, in order."""
    direction = _direction(wanted.order)
    parameters = {**_parameters(wanted), **window(page, page_size)}
    tests = _tests(wanted)
    tail = f"ORDER BY id {direction} LIMIT :limit OFFSET :offset"
    if len(wanted.states) < 2:
        return Statement(f"SELECT id FROM requests{_where(tests)} {tail}", parameters)
    walks = [
        f"SELECT * FROM (SELECT id FROM requests{_where([*tests, f'state = :state{n}'])} "
        f"ORDER BY id {direction} LIMIT :limit + :offset)"
        for n in range(len(wanted.states))
    ]
    return Statement(f"{' UNION ALL '.join(walks)} {tail}", parameters)


def rows_of(ids: Sequence[int], order: str) -> Statement:
    """The rows of those requests, in order."""
    places = ", ".join(str(int(request_id)) for request_id in ids)
    return Statement(
        f"SELECT {REQUEST.columns} FROM requests WHERE id IN ({places}) ORDER BY id {_direction(order)}",
    )


def totals(wanted: RequestFilter) -> list[Statement]:
    """Statements whose numbers add up to how many requests the filter finds."""
    if wanted.q or wanted.ref is not None or wanted.commit is not None:
        return [_counted(wanted)]
    ended, live = _split(wanted.states)
    statements = []
    if ended:
        statements.append(_count_ended(wanted, ended))
    if live:
        statements.append(_count_live(wanted, live))
    return statements


def _counted(wanted: RequestFilter) -> Statement:
    tests = _tests(wanted)
    if wanted.states:
        tests.append(f"state IN ({_quoted(wanted.states)})")
    text = f"SELECT count(*) FROM (SELECT 1 FROM requests{_where(tests)} LIMIT {MAX_FOUND})"
    return Statement(text, _parameters(wanted))


def _count_ended(wanted: RequestFilter, states: Sequence[State]) -> Statement:
    tests = [*_scope(wanted), f"state IN ({_quoted(states)})"]
    return Statement(f"SELECT ifnull(sum(requests), 0) FROM ended{_where(tests)}", _parameters(wanted))


def _count_live(wanted: RequestFilter, states: Sequence[State]) -> Statement:
    tests = [f"state IN ({_quoted(states)})", *("+" + test for test in _scope(wanted))]
    return Statement(f"SELECT count(*) FROM requests{_where(tests)}", _parameters(wanted))


def _split(states: Sequence[State]) -> tuple[list[State], list[State]]:
    """The states that end a request, and those of live ones; none named means all."""
    named = list(dict.fromkeys(states or State))
    return [state for state in named if state in TERMINAL], [state for state in named if state not in TERMINAL]


def _scope(wanted: RequestFilter) -> list[str]:
    names = ("organization_id", "repository_id", "job_type")
    return [f"{name} = :{name}" for name in names if getattr(wanted, name) is not None]


def _tests(wanted: RequestFilter) -> list[str]:
    """The conditions of the filter, several states left out."""
    tests = _scope(wanted)
    if wanted.ref is not None:
        tests.append("ref = :ref")
    if wanted.commit is not None:
        tests.append('"commit" = :commit')
    if wanted.q:
        tests.append(_FOUND)
    if len(wanted.states) == 1:
        tests.append("state = :state0")
    return tests


def _parameters(wanted: RequestFilter) -> dict[str, Any]:
    parameters: dict[str, Any] = {f"state{n}": str(state) for n, state in enumerate(wanted.states)}
    for name in ("organization_id", "repository_id", "job_type", "ref", "commit"):
        parameters[name] = getattr(wanted, name)
    parameters["q"], parameters["match"] = wanted.q, search_words(wanted.q)
    return parameters


def _direction(order: str) -> str:
    if order not in ORDERS:
        raise UserError(f"Requests cannot be ordered by {order!r}; choose one of {', '.join(ORDERS)}.")
    return ORDERS[order]


def where_equal(names: Iterable[str]) -> str:
    """The WHERE of rows whose columns have the values of the parameters of the same names."""
    return _where([f"{name} = :{name}" for name in names])


def _where(tests: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(tests)}" if tests else ""


def _quoted(states: Sequence[State]) -> str:
    return ", ".join(f"'{State(state)}'" for state in states)
