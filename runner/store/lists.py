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
#: Where more are found than this (by words; by ref or commit), the total says that it found this many.
MAX_FOUND: Final = 1000
MAX_COUNTED: Final = 10_000
ORDERS: Final = {"id": "ASC", "created_at": "ASC", "-id": "DESC", "-created_at": "DESC"}

_INDEXED: Final = "requests_fts CROSS JOIN requests ON requests.id = requests_fts.rowid WHERE requests_fts MATCH :match"
_FRESH: Final = (
    "requests.id > (SELECT searched FROM store)",
    "begins_words(job_type || ' ' || ref || ' ' || [commit] || ' ' || description || ' ' || created_by, :q)",
)
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
    texts = [f"{walk.text} ORDER BY {walk.key} {direction} LIMIT :limit + :offset" for walk in _walks(wanted)]
    merged = " UNION ALL ".join(f"SELECT * FROM ({text})" for text in texts)
    text = f"{merged} ORDER BY id {direction} LIMIT :limit OFFSET :offset"
    if len(texts) == 1:
        text = texts[0].replace("LIMIT :limit + :offset", "LIMIT :limit OFFSET :offset")
    return Statement(text, {**_parameters(wanted), **window(page, page_size)})


@dataclass(frozen=True, slots=True)
class _Walk:
    """A SELECT of ids that goes along one index, and the column that it goes by."""

    text: str
    key: str = "requests.id"


def _walks(wanted: RequestFilter) -> list[_Walk]:
    """The walks that together find every request once."""
    tests = _tests(wanted)
    if wanted.q:
        if wanted.states:
            tests.append(f"requests.state IN ({_quoted(wanted.states)})")
        indexed = f"SELECT requests.id AS id FROM {_INDEXED} AND {' AND '.join(['1', *tests])}"
        return [_Walk(f"SELECT id FROM requests{_where([*_FRESH, *tests])}"), _Walk(indexed, "requests_fts.rowid")]
    if not wanted.states:
        return [_Walk(f"SELECT id FROM requests{_where(tests)}")]
    return [_Walk(f"SELECT id FROM requests{_where([*tests, *_in_state(state)])}") for state in wanted.states]


def _in_state(state: State) -> list[str]:
    """The indexes of ended requests want to be told that it has ended."""
    test = f"requests.state = '{State(state)}'"
    return [test, "requests.ended_at IS NOT NULL"] if state in TERMINAL else [test]


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
    """Counted one by one, up to a limit."""
    walks = " UNION ALL ".join(walk.text for walk in _walks(wanted))
    limit = MAX_FOUND if wanted.q else MAX_COUNTED
    return Statement(f"SELECT count(*) FROM ({walks} LIMIT {limit})", _parameters(wanted))


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
    """The conditions of the filter but for its states and words."""
    tests = ["requests." + test for test in _scope(wanted)]
    if wanted.ref is not None:
        tests.append("requests.ref = :ref")
    if wanted.commit is not None:
        tests.append("requests.[commit] = :commit")
    return tests


def _parameters(wanted: RequestFilter) -> dict[str, Any]:
    names = ("organization_id", "repository_id", "job_type", "ref", "commit", "q")
    return {name: getattr(wanted, name) for name in names} | {"match": search_words(wanted.q)}


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
