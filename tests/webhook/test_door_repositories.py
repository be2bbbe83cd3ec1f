"""Repositories that an admin adds and changes: checked, and no password ever stored."""

import pytest

PATH = "/api/repos"


async def test_a_remote_is_added_by_its_address(client, admin, door):
    response = await client.post(PATH, json={"url": "https://github.com/hill/ants.git"}, headers=admin)
    made = response.json()
    assert (response.status_code, response.headers["location"]) == (201, f"{PATH}/{made['id']}")
    wanted = {
        "name": "ants",
        "url": "https://github.com/hill/ants.git",
        "tracked_branch": "",
        "forge": "github",
        "slug": "hill/ants",
        "poll": None,
        "visibility": "private",
    }
    assert {name: made[name] for name in wanted} == wanted
    stored = door.store.read().repository(made["id"])
    assert (stored.url, stored.pinned) == (wanted["url"], False)


async def test_what_is_said_counts_and_what_is_left_out_stays(client, admin, door):
    body = {"url": "git@example.org:hill/ants.git", "name": "hill", "branch": "trunk", "poll": 60}
    made = (await client.post(PATH, json=body, headers=admin)).json()
    assert (made["forge"], made["slug"], made["poll"]) == ("", "", 60)
    assert door.store.read().repository(made["id"]).pinned
    place = f"{PATH}/{made['id']}"
    said = {"url": "ssh://git@example.org/hill/ants2.git", "visibility": "public"}
    changed = (await client.put(place, json=said, headers=admin)).json()
    assert (changed["url"], changed["visibility"], changed["tracked_branch"]) == (said["url"], "public", "trunk")
    assert changed["path"] == made["path"], "its mirror stays where it is"
    assert door.reconciler.woken == [made["id"]]
    unpinned = (await client.put(place, json={"branch": ""}, headers=admin)).json()
    assert (unpinned["tracked_branch"], door.store.read().repository(made["id"]).pinned) == ("", False)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "Give `url` or `path`"),
        ({"url": "https://a/b.git", "path": "/srv/a"}, 422, "Give `url` or `path`"),
        ({"url": "https://ada:s3cret@example.org/a/b.git"}, 422, "Take it out"),
        ({"url": "https://s3cret@example.org/a/b.git"}, 422, "Take it out"),
        ({"url": "ext::sh-c%20id"}, 422, "no address"),
        ({"url": "ssh://-oProxyCommand=id/a"}, 422, "may not begin with `-`"),
        ({"url": "git@-oProxyCommand=id:a"}, 422, "no address"),
        ({"url": "https://example.org"}, 422, "names no repository"),
        ({"url": "ftp://example.org/a.git"}, 422, "it takes https://"),
        ({"path": "srv/a"}, 422, "must be absolute"),
        ({"url": "https://example.org/a.git", "forge": "svn"}, 422, "forge"),
        ({"url": "https://example.org/a.git", "poll": 0}, 422, "poll"),
        ({"url": "https://example.org/a.git", "token": "x"}, 422, "token"),
    ],
)
async def test_what_is_refused(client, admin, body, status, said):
    response = await client.post(PATH, json=body, headers=admin)
    assert response.status_code == status
    assert said in response.text
    assert "s3cret" not in response.text


async def test_twice_is_a_conflict(client, admin, data):
    url = "https://example.org/hill/ants.git"
    assert (await client.post(PATH, json={"url": url}, headers=admin)).status_code == 201
    again = await client.post(PATH, json={"url": "https://EXAMPLE.org/hill/ants/"}, headers=admin)
    assert (again.status_code, "watched already" in again.text) == (409, True)
    other = await client.post(PATH, json={"url": "https://example.org/other/ants.git"}, headers=admin)
    assert (other.status_code, "choose another name" in other.text) == (409, True)
    inside = await client.post(PATH, json={"path": str(data / "mirrors" / "a.git")}, headers=admin)
    assert (inside.status_code, "data folder" in inside.text) == (422, True)


async def test_admins_only_and_not_with_a_token_of_one_repository(client, as_, repository):
    body = {"url": "https://example.org/a.git"}
    for role in ("viewer", "developer", "maintainer"):
        headers = await as_(role=role)
        assert (await client.post(PATH, json=body, headers=headers)).status_code == 403
        assert (await client.put(f"{PATH}/{repository.id}", json=body, headers=headers)).status_code == 403
    bound = await as_(role="admin", repository_id=repository.id)
    assert (await client.put(f"{PATH}/{repository.id}", json=body, headers=bound)).status_code == 403


async def test_a_local_one_stays_local(client, admin, repository):
    response = await client.put(f"{PATH}/{repository.id}", json={"url": "https://example.org/a.git"}, headers=admin)
    assert (response.status_code, "add that one" in response.text) == (422, True)
