"""Approving and rejecting on a page: whose form it is, what it says of what was seen, and who is refused (T1, T2)."""

import re

import pytest

from formicary.runner.core.errors import Conflict, NotAllowed
from formicary.runner.core.records import Role
from formicary.runner.core.states import State
from formicary.webhook.pages.routes import page_routes


@pytest.fixture
def door(door):
    door.pages = page_routes(door)
    return door


@pytest.fixture
async def session(client, door):
    """The admin's browser, logged in."""
    assert (await client.get(door.login_link())).status_code == 303
    return client


def form(page):
    """The fields of the ballot, and where its buttons lead."""
    (found,) = re.findall(r'<form method="post" class="ballot">.*?</form>', page.text, re.S)
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', found))
    return hidden, re.findall(r'formaction="([^"]+)"', found)


@pytest.mark.parametrize("word", ["approve", "reject"])
async def test_the_form_names_what_was_seen(session, ask_people, queen, word):
    """T2: task and commit; who votes, and as what, is what the session says (T1)."""
    request = await ask_people(allowed_users=())
    hidden, buttons = form(await session.get(f"/requests/{request.id}"))
    assert (hidden["task"], hidden["commit"]) == ("ok", "c" * 40)
    assert buttons == [f"/requests/{request.id}/approve", f"/requests/{request.id}/reject"]
    said = {**hidden, "comment": f"  well{'l' * 2000}", "by": "eve", "role": "admin"}
    answer = await session.post(f"/requests/{request.id}/{word}", data=said)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/requests/{request.id}")
    ((_, number, ballot),) = queen.calls
    assert (number, ballot.approved, ballot.task, ballot.commit) == (request.id, word == "approve", "ok", "c" * 40)
    assert (ballot.by, ballot.role) == ("admin", Role.ADMIN)
    assert ballot.comment == ("well" + "l" * 2000)[:1000]


@pytest.mark.parametrize("word", ["approve", "reject"])
@pytest.mark.parametrize("said", [{}, {"csrf_token": ""}, {"csrf_token": "0" * 64}])
async def test_no_vote_without_the_pages_own_token(session, ask_people, queen, word, said):
    """Another site's form carries the cookie, and not this."""
    request = await ask_people(allowed_users=())
    answer = await session.post(f"/requests/{request.id}/{word}", data={"task": "ok", **said})
    assert answer.status_code == 403 and queen.calls == []


async def test_whoever_may_not_decide_has_no_form(client, door, asked, as_, session):
    """Not even an admin whom the task does not name; nor a viewer."""
    viewer = await as_(Role.VIEWER, user_id="eve")
    for headers in ({}, viewer):
        page = await session.get(f"/requests/{asked.id}", headers=headers)
        assert "Waits for an approval: ok" in page.text and "It is not yours to decide." in page.text
        assert "ballot" not in page.text and "formaction" not in page.text
    page = await client.get(f"/requests/{asked.id}", headers=await as_(Role.DEVELOPER, user_id="ada"))
    assert form(page)[0]["task"] == "ok"


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (Conflict("`ok` was decided just before"), 409, "Not now"),
        (NotAllowed("`ok` is for ada to decide"), 403, "Not yours to do"),
    ],
)
async def test_a_vote_that_does_not_count_says_why(session, ask_people, queen, error, status, title):
    request = await ask_people(allowed_users=())
    hidden, _ = form(await session.get(f"/requests/{request.id}"))
    queen.refuse = error
    answer = await session.post(f"/requests/{request.id}/approve", data=hidden)
    assert answer.status_code == status and title in answer.text and str(error).split("` ")[1] in answer.text


async def test_what_is_decided_asks_nobody(session, ask_people):
    """Who decided is told."""
    request = await ask_people(State.COMPLETED, allowed_users=())
    page = await session.get(f"/requests/{request.id}")
    assert page.status_code == 200
    assert "Waits for an approval" not in page.text and "ballot" not in page.text


async def test_a_request_of_another_repository_is_not_there(client, door, asked, as_, queen, other_repository):
    stranger = await as_(Role.ADMIN, user_id="ada", repository_id=other_repository.id)
    answer = await client.post(f"/requests/{asked.id}/approve", headers=stranger, data={"task": "ok"})
    assert answer.status_code == 404 and queen.calls == []
