"""Who gets in, and who does not."""

import logging
import re
import time

import httpx
import pytest
from starlette.routing import Route

from formicary.runner.core.records import Role
from formicary.webhook.app import build_app
from formicary.webhook.caller import new_token
from formicary.webhook.pages.routes import page_routes

LIST = "/api/jobs/requests"
HOOKS = {
    *(f"/hooks/{name}" for name in ("commit", "github", "gitlab", "gitea", "trigger/1/1", "trigger/1/1/1")),
    "/auth/github/webhook",
}
OPEN = {"/health/live", "/health/ready", "/login", *HOOKS}


def cookie_of(response) -> str:
    return response.headers["set-cookie"].partition(";")[0].partition("=")[2]


async def test_every_route_but_the_open_ones_wants_a_token(app, client):
    """T17, T18: loopback is no authentication; a task that calls without a token gets nothing."""
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) > 25
    for route in routes:
        path = re.sub(r"\{\w+(:\w+)?\}", "1", route.path)
        for method in route.methods:
            response = await client.request(method, path)
            if path in OPEN:
                assert response.status_code != 401 or path in HOOKS
            else:
                assert response.status_code == 401, (method, path)
                assert response.headers["content-type"] == "application/problem+json"
                assert response.headers["www-authenticate"].startswith("Bearer")


async def test_every_page_wants_a_session(door):
    """T17: static files are open, badges are of public repositories only; everything else is not."""
    door.pages = page_routes(door)
    transport = httpx.ASGITransport(build_app(door))
    async with httpx.AsyncClient(transport=transport, base_url=door.settings.url) as client:
        for route in door.pages:
            path = re.sub(r"\{\w+(:\w+)?\}", "1", route.path)
            for method in route.methods:
                status = (await client.request(method, path)).status_code
                assert status == (404 if path.startswith(("/static/", "/badges/")) else 401), (method, path)


async def test_paths_that_are_not_there_want_a_token_too(client):
    """What exists is nobody's business who has no token."""
    assert (await client.get("/api/no-such-thing")).status_code == 401
    assert (await client.get("/no/such/page")).status_code == 401


async def test_a_good_token_gets_in(client, admin):
    response = await client.get(LIST, headers=admin)
    assert response.status_code == 200
    assert response.json() == {"records": [], "total_records": 0, "page": 0, "page_size": 200, "total_pages": 0}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer fmy_short",
        "Bearer " + new_token(),
        "Basic YWRtaW46YWRtaW4=",
        "Bearer fmy_" + "é" * 43,
        "Bearer fmy_' OR 1=1 --",
    ],
)
async def test_a_bad_token_does_not(client, value):
    response = await client.get(LIST, headers={"Authorization": value.encode("latin-1")})
    assert response.status_code == 401


async def test_an_expired_token_does_not(client, as_):
    headers = await as_(Role.ADMIN, expires_at=time.time() - 1)
    assert (await client.get(LIST, headers=headers)).status_code == 401


async def test_a_revoked_token_is_no_good_at_once(client, admin, as_, store):
    headers = await as_(Role.VIEWER, name="other")
    assert (await client.get(LIST, headers=headers)).status_code == 200
    token = next(token for token in store.read().tokens() if token.name == "other")
    assert (await client.delete(f"/api/users/admin/tokens/{token.id}", headers=admin)).status_code == 204
    assert (await client.get(LIST, headers=headers)).status_code == 401


async def test_a_token_in_the_query_is_ignored_and_not_logged(client, make_token, caplog):
    """T9: secrets only in headers, access logs without query strings."""
    secret = await make_token()
    with caplog.at_level(logging.DEBUG):
        for name in ("token", "access_token", "authorization"):
            response = await client.get(LIST, params={name: secret})
            assert response.status_code == 401
    formicary = [record.getMessage() for record in caplog.records if record.name.startswith("formicary")]
    assert len(formicary) == 3
    assert not any(secret in line or "?" in line for line in formicary)


async def test_a_line_break_in_the_path_makes_no_line_in_the_log(client, caplog):
    with caplog.at_level(logging.INFO, "formicary.access"):
        await client.get("/a%0aGET%20/forged%20200")
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()


async def test_a_cookie_does_not_make_a_bad_token_good(client, door):
    login = await client.get(f"/login?code={door.codes.new()}")
    session = {"cookie": f"formicary_session_7777={cookie_of(login)}"}
    assert (await client.get(LIST, headers=session)).status_code == 200
    assert (await client.get(LIST, headers={**session, "Authorization": "Bearer x"})).status_code == 401


async def test_a_token_is_no_session_and_a_session_is_no_token(client, door, make_token):
    token = await make_token()
    session = cookie_of(await client.get(f"/login?code={door.codes.new()}"))
    client.cookies.clear()
    assert (await client.get(LIST, headers={"cookie": f"formicary_session_7777={token}"})).status_code == 401
    assert (await client.get(LIST, headers={"Authorization": f"Bearer {session}"})).status_code == 401


async def test_the_use_of_a_token_is_noted_once_a_minute(client, admin, store, door):
    now = time.time()
    door.clock = lambda: now
    for _ in range(3):
        await client.get(LIST, headers=admin)
    (token,) = store.read().tokens()
    assert token.used_at == pytest.approx(now)
    commits = store.commits
    await client.get(LIST, headers=admin)
    assert store.commits == commits
    door.clock = lambda: now + 61
    await client.get(LIST, headers=admin)
    assert store.read().tokens()[0].used_at == pytest.approx(now + 61)


# Roles and scopes


async def test_a_viewer_reads_and_changes_nothing(client, as_, make_request):
    request = await make_request()
    viewer = await as_(Role.VIEWER)
    assert (await client.get(f"{LIST}/{request.id}", headers=viewer)).status_code == 200
    for path, body in (
        (LIST, {"job_type": "ci"}),
        (f"{LIST}/{request.id}/cancel", {}),
        (f"{LIST}/{request.id}/restart", {}),
    ):
        response = await client.post(path, headers=viewer, json=body)
        assert response.status_code == 403
        assert "developer" in response.json()["detail"]


async def test_only_an_admin_makes_tokens(client, as_):
    for role in (Role.VIEWER, Role.DEVELOPER, Role.MAINTAINER):
        headers = await as_(role)
        response = await client.post("/api/users/admin/tokens", headers=headers, json={"name": "x", "role": "admin"})
        assert response.status_code == 403
        assert (await client.get("/api/users/admin/tokens", headers=headers)).status_code == 403


async def test_a_token_of_one_repository_sees_no_other(client, as_, make_request, repository, other_repository):
    """What is out of its scope is not there: 404, not 403."""
    mine, theirs = await make_request(), await make_request(repository_id=other_repository.id)
    headers = await as_(Role.ADMIN, repository_id=repository.id)
    listed = (await client.get(LIST, headers=headers)).json()
    assert [record["id"] for record in listed["records"]] == [mine.id]
    for path in (f"{LIST}/{theirs.id}", f"{LIST}/{theirs.id}/tasks", f"{LIST}/{theirs.id}/why"):
        assert (await client.get(path, headers=headers)).status_code == 404
    assert (await client.post(f"{LIST}/{theirs.id}/cancel", headers=headers)).status_code == 404
    assert (await client.get(f"/api/repos/{other_repository.id}", headers=headers)).status_code == 404
    assert (await client.get(LIST, params={"repository": "other"}, headers=headers)).status_code == 404
    submit = await client.post(LIST, headers=headers, json={"job_type": "ci", "repository": "other"})
    assert submit.status_code == 404
    assert [repo["name"] for repo in (await client.get("/api/repos", headers=headers)).json()["records"]] == ["demo"]


async def test_a_token_of_one_repository_asks_for_its_jobs_where_it_names_none(
    client, as_, queen, definition, other_repository
):
    headers = await as_(Role.DEVELOPER, repository_id=other_repository.id)
    await client.post(LIST, headers=headers, json={"job_type": "ci"})
    assert queen.asks[0].repository == "other"


async def test_a_token_of_one_repository_has_no_say_in_the_whole(client, as_, repository):
    headers = await as_(Role.ADMIN, repository_id=repository.id)
    for path in ("/api/users/admin/tokens", "/api/ants", "/metrics"):
        assert (await client.get(path, headers=headers)).status_code == 403


async def test_another_organizations_things_are_not_there(client, as_, make_request, repository, definition):
    request = await make_request()
    stranger = await as_(Role.ADMIN, organization_id="elsewhere")
    for path in (
        f"{LIST}/{request.id}",
        f"/api/repos/{repository.id}",
        f"/api/repos/{repository.id}/sync",
        f"/api/jobs/definitions/{definition.id}",
        "/api/jobs/definitions/ci/yaml",
    ):
        assert (await client.get(path, headers=stranger)).status_code == 404, path
    for path in (LIST, "/api/repos", "/api/jobs/definitions", "/api/artifacts", "/api/deliveries"):
        assert (await client.get(path, headers=stranger)).json()["total_records"] == 0, path
    tokens = (await client.get("/api/users/admin/tokens", headers=stranger)).json()
    assert tokens["total_records"] == 1


# Logging in
