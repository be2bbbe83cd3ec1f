"""The list of requests: filters, orders, pages, search, totals."""

import itertools

import anyio
import pytest

from formicary.runner.core.errors import UserError
from formicary.runner.core.states import State
from formicary.runner.store.lists import MAX_PAGE, begins_words
from formicary.runner.store.writer import INDEX_AT_ONCE


@pytest.fixture
async def mixed(world):
    """Twelve requests: two organizations, three jobs, four states."""
    made = []
    for n in range(12):
        given = {
            "organization_id": "default" if n % 2 else "other",
            "job_type": ("build", "test", "deploy")[n % 3],
            "repository_id": n % 2 + 1,
            "ref": f"refs/heads/b{n % 4}",
            "commit": f"{n:040x}",
            "description": f"number {n} Übung",
        }
        state = (State.COMPLETED, State.FAILED, State.PENDING, State.STARTED)[n // 3]
        if state is State.PENDING:
            made.append(await world.request(**given))
        elif state is State.STARTED:
            request = await world.request(**given)
            await world.execution(request.id)
            made.append(world.store.read().request(request.id))
        else:
            made.append(await world.run(state, **given))
    return made


FILTERS = [
    {},
    {"organization_id": "other"},
    {"repository_id": 1},
    {"job_type": "test"},
    {"job_type": "test", "repository_id": 2, "organization_id": "default"},
    {"ref": "refs/heads/b2"},
    {"commit": f"{5:040x}"},
    {"states": [State.FAILED]},
    {"states": [State.FAILED, State.PENDING, State.STARTED]},
    {"states": [State.FAILED, State.FAILED]},
    {"states": [State.COMPLETED, State.STARTED], "organization_id": "other", "job_type": "build"},
    {"states": [State.PENDING], "ref": "refs/heads/b3"},
    {"states": [State.PENDING, State.FAILED], "ref": "refs/heads/b3"},
    {"organization_id": "nobody"},
]


def fits(request, states=(), **given):
    same = all(getattr(request, name) == value for name, value in given.items())
    return same and (not states or request.state in states)


async def test_filters_find_what_a_walk_over_everything_finds(world, mixed):
    """D14: whatever index a filter starts from, pages and total are those of a plain walk."""
    reader = world.store.read()
    for wanted, order in itertools.product(FILTERS, ["-id", "id", "-created_at", "created_at"]):
        expected = [request for request in mixed if fits(request, **wanted)]
        if order.startswith("-"):
            expected.reverse()
        pages = [reader.requests(**wanted, order=order, page=page, page_size=3) for page in range(5)]
        assert [request for page in pages for request in page.records] == expected, (wanted, order)
        assert {page.total_records for page in pages} == {len(expected)}, (wanted, order)


async def test_a_page_is_limited(world):
    """D14: nobody gets everything at once."""
    page = world.store.read().requests(page=-1, page_size=10**9)
    assert (page.page, page.page_size) == (0, MAX_PAGE)


async def test_an_unknown_order_is_refused_with_the_known_ones(world):
    with pytest.raises(UserError, match="-created_at"):
        world.store.read().requests(order="id; DROP TABLE requests")


SEARCHES = [
    ("number 7", {7}),
    ("NUMBER", set(range(12))),
    ("numb 11", {11}),
    ("deploy b2", {2}),
    ("übung 3", {3}),
    ("umber", set()),
    (f"{9:040x}", {9}),
    ('"', set()),
    ("-- *", set()),
    ('number" OR "7', set()),
    ("heads/b1", {1, 5, 9}),
]


@pytest.mark.parametrize("optimized", [False, True], ids=["fresh", "indexed"])
async def test_search_finds_beginnings_of_words(world, mixed, optimized):
    """What was asked a moment ago is found as what is in the index is; whatever is typed is no syntax."""
    if optimized:
        await fill_index(world)
    for q, numbers in SEARCHES:
        page = world.store.read().requests(q=q)
        ours = {request.id for request in page.records if request.description.startswith("number")}
        assert ours == {mixed[n].id for n in numbers}, q
    page = world.store.read().requests(q="number", states=[State.FAILED], page_size=2)
    assert (len(page.records), page.total_records) == (2, 3)


async def fill_index(world):
    """So many requests that the index is filled."""
    async with anyio.create_task_group() as tasks:
        for _ in range(INDEX_AT_ONCE):
            tasks.start_soon(world.request)
    searched = await world.store._writer.maintain(lambda db: db.execute("SELECT searched FROM store").fetchone()[0])
    assert searched >= 12


async def test_deleted_requests_are_no_longer_found(world, mixed):
    """Retention takes indexed and fresh requests out of the search alike."""
    await fill_index(world)
    fresh = await world.run(description="number fresh")
    world.clock.now = 10_000.0
    await world.store.write(lambda tx: tx.expire(ended_before=9_000.0, deliveries_before=0))
    left = world.store.read().requests(q="number").records
    assert fresh not in left and {request.id for request in left} == {request.id for request in mixed[6:]}
    check = "INSERT INTO requests_fts (requests_fts) VALUES ('integrity-check')"
    await world.store._writer.maintain(lambda db: db.execute(check))


def test_words_begin():
    assert begins_words("refs/heads/main Fix_it", "MAI fix")
    assert begins_words("refs/heads/main Fix_it", "it")
    assert not begins_words("refs/heads/main", "ain")
    assert begins_words("anything", "")
