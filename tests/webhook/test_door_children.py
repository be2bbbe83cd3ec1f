"""Forked jobs over HTTP: what a request has forked, as far as the caller sees it."""

import pytest

from formicary.runner.core.records import Role
from formicary.webhook.pages.routes import page_routes


@pytest.fixture
def door(door):
    door.pages = page_routes(door)
    return door


async def forked(client, headers, request_id):
    answer = await client.get(f"/api/jobs/requests/{request_id}/children", headers=headers)
    return [one["id"] for one in answer.json()["children"]] if answer.status_code == 200 else answer.status_code


async def test_a_request_names_what_it_has_forked(client, as_, make_request):
    viewer = await as_(Role.VIEWER)
    parent, other = await make_request(), await make_request()
    first, second = [await make_request(parent_id=parent.id, parent_task=f"1-{n}") for n in (1, 2)]
    assert await forked(client, viewer, parent.id) == [first.id, second.id]
    assert await forked(client, viewer, other.id) == [] and await forked(client, viewer, 999) == 404
    shown = (await client.get(f"/api/jobs/requests/{second.id}", headers=viewer)).json()
    assert shown["parent_id"] == parent.id


async def test_children_of_a_repository_that_the_caller_does_not_see_are_not_shown(
    client, as_, make_request, repository, other_repository
):
    parent = await make_request()
    own = await make_request(parent_id=parent.id)
    theirs = await make_request(parent_id=parent.id, repository_id=other_repository.id)
    everything, only = await as_(Role.VIEWER), await as_(Role.VIEWER, repository_id=repository.id)
    assert await forked(client, everything, parent.id) == [own.id, theirs.id]
    assert await forked(client, only, parent.id) == [own.id]
    page = (await client.get(f"/requests/{parent.id}", headers=only)).text
    assert f"/requests/{own.id}" in page and f"/requests/{theirs.id}" not in page
    far = await as_(Role.VIEWER, organization_id="other")
    assert await forked(client, far, parent.id) == 404


async def test_the_page_leads_down_and_up(client, as_, make_request):
    viewer = await as_(Role.VIEWER)
    parent = await make_request()
    child = await make_request(parent_id=parent.id, reason="It waits <b>for its siblings</b>.")
    above = (await client.get(f"/requests/{parent.id}", headers=viewer)).text
    below = (await client.get(f"/requests/{child.id}", headers=viewer)).text
    assert "Forked jobs" in above and f'href="/requests/{child.id}"' in above
    assert "<b>for its siblings" not in above, "T15"
    assert "Forked by" in below and f'href="/requests/{parent.id}"' in below
