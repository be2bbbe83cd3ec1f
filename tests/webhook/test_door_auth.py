"""Who gets in, and who does not."""

import logging
import re
import time

import httpx
import pytest
from starlette.routing import Route, WebSocketRoute

from formicary.runner.core.records import Role, Token
from formicary.webhook.app import build_app
from formicary.webhook.caller import SESSION, digest_of, is_token, new_token
from formicary.webhook.codes import LoginCodes
from formicary.webhook.datafolder import (
    first_start,
    read_admin_token,
    read_server_json,
    remove_server_json,
    write_server_json,
)
from formicary.webhook.login import local_path
from formicary.webhook.pages.routes import page_routes

LIST = "/api/jobs/requests"
OPEN = {"/health/live", "/health/ready", "/login", "/hooks/commit"}


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
                assert response.status_code != 401 or path == "/hooks/commit"
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


async def test_the_login_link_works_once(client, door):
    link = door.login_link()
    assert link.startswith("http://127.0.0.1:7777/login?code=")
    first = await client.get(link)
    assert first.status_code == 303
    assert first.headers["location"] == "/"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
    assert is_token(cookie_of(first), SESSION)
    client.cookies.clear()
    second = await client.get(link)
    assert second.status_code == 401
    assert "set-cookie" not in second.headers


async def test_a_login_code_is_good_for_ten_minutes():
    now = 0.0
    codes = LoginCodes(lambda: now)
    early, late = codes.new(), codes.new()
    now = 599.0
    assert codes.take(early)
    now = 601.0
    assert not codes.take(late)
    assert not codes.take("")


async def test_off_loopback_the_cookie_is_secure(door):
    door.settings = type(door.settings)(url="https://ci.example.com", host="127.0.0.1")
    transport = httpx.ASGITransport(build_app(door))
    async with httpx.AsyncClient(transport=transport, base_url="https://ci.example.com") as client:
        response = await client.get(f"/login?code={door.codes.new()}")
    assert "Secure" in response.headers["set-cookie"]


async def test_a_pasted_token_begins_a_session_that_may_no_more(client, make_token, store):
    token = await make_token(Role.VIEWER, name="mine")
    response = await client.post("/login", data={"token": token, "next": "/api/docs"})
    assert (response.status_code, response.headers["location"]) == (303, "/api/docs")
    session = store.read().token_by_digest(digest_of(cookie_of(response)))
    assert session.role == Role.VIEWER
    assert token not in response.headers["set-cookie"]


async def test_sessions_that_have_ended_are_swept_with_the_next_login(client, door, store):
    await client.get(f"/login?code={door.codes.new()}")
    (session,) = store.read().tokens()
    door.clock = lambda: session.expires_at + 1
    await client.get(f"/login?code={door.codes.new()}")
    (newer,) = store.read().tokens()
    assert newer.id != session.id


async def test_a_wrong_pasted_token_begins_nothing(client, store):
    for wrong in ("", "fmy_x", new_token()):
        response = await client.post("/login", data={"token": wrong})
        assert response.status_code == 401
        assert "set-cookie" not in response.headers
    assert store.read().tokens() == []


async def test_revoking_a_token_ends_the_sessions_begun_with_it(client, make_token, admin, store):
    token = await make_token(Role.DEVELOPER, name="mine")
    session = cookie_of(await client.post("/login", data={"token": token}))
    client.cookies.clear()
    row = store.read().token_by_digest(digest_of(token))
    await client.delete(f"/api/users/admin/tokens/{row.id}", headers=admin)
    cookie = {"cookie": f"formicary_session_7777={session}"}
    assert (await client.get(LIST, headers=cookie)).status_code == 401


@pytest.mark.parametrize(
    "target", ["//evil.com", "https://evil.com/", "\\\\evil.com", "/\\evil.com", "x", "/a\r\nb: c"]
)
def test_login_leads_to_no_other_place(target):
    assert local_path(target) == "/"


async def test_a_browser_is_led_to_the_login_from_pages_but_not_from_the_api(client):
    html = {"accept": "text/html,*/*"}
    page = await client.get("/requests/1?x=secret", headers=html)
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/requests/1")
    assert (await client.get(LIST, headers=html)).status_code == 401
    assert (await client.post("/requests/1", headers=html)).status_code == 401


# CSRF


@pytest.fixture
async def session(client, door):
    """(cookie header, csrf token) of a logged-in admin."""
    from formicary.webhook.caller import caller_from

    secret = cookie_of(await client.get(f"/login?code={door.codes.new()}"))
    client.cookies.clear()
    csrf = caller_from(Token(name="", digest=""), secret).csrf
    return {"cookie": f"formicary_session_7777={secret}"}, csrf


async def test_a_session_changes_nothing_without_its_csrf_token(client, session, definition):
    cookie, csrf = session
    for extra in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": "é".encode("latin-1")}):
        response = await client.post(LIST, json={"job_type": "ci"}, headers={**cookie, **extra})
        assert response.status_code == 403
    good = await client.post(LIST, json={"job_type": "ci"}, headers={**cookie, "X-CSRF-Token": csrf})
    assert good.status_code == 201


async def test_a_csrf_token_is_of_one_session_only(client, session, door, definition):
    other = cookie_of(await client.get(f"/login?code={door.codes.new()}"))
    client.cookies.clear()
    headers = {"cookie": f"formicary_session_7777={other}", "X-CSRF-Token": session[1]}
    assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 403


async def test_logging_out_wants_the_form_token_and_ends_the_session(client, session):
    cookie, csrf = session
    assert (await client.post("/logout", data={}, headers=cookie)).status_code == 403
    response = await client.post("/logout", data={"csrf_token": csrf}, headers=cookie)
    assert response.status_code == 303
    assert (await client.get(LIST, headers=cookie)).status_code == 401


async def test_a_websocket_wants_a_token_as_well(door, client, make_token):
    """T18: WebSocket included."""

    async def welcome(websocket):
        await websocket.accept()

    door.pages = [WebSocketRoute("/ws/x", welcome)]
    app = build_app(door)
    bearer = (b"authorization", b"Bearer " + (await make_token()).encode())
    session = cookie_of(await client.get(f"/login?code={door.codes.new()}"))
    cookie = (b"cookie", b"formicary_session_7777=" + session.encode())
    ours, foreign = (b"origin", b"http://127.0.0.1:7777"), (b"origin", b"http://evil.com")
    refused, accepted = ["websocket.close"], ["websocket.accept"]
    for headers, expected in (
        ([], refused),
        ([foreign], refused),
        ([bearer, foreign], refused),
        ([cookie, foreign], refused),
        ([cookie], refused),
        ([cookie, ours], accepted),
        ([bearer], accepted),
    ):
        sent = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message, sent=sent):
            sent.append(message)

        scope = {
            "type": "websocket",
            "path": "/ws/x",
            "scheme": "ws",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:7777"), *headers],
        }
        await app(scope, receive, send)
        assert [message["type"] for message in sent] == expected


# The data folder


async def test_the_first_start_writes_an_admin_token_that_works(client, data, store):
    await first_start(data, store)
    path = data / "admin.token"
    assert path.stat().st_mode & 0o777 == 0o600
    headers = {"Authorization": f"Bearer {read_admin_token(data)}"}
    assert (await client.get("/api/users/admin/tokens", headers=headers)).status_code == 200
    await first_start(data, store)
    assert len(store.read().tokens()) == 1


async def test_a_new_admin_token_ends_the_old_one(client, data, store):
    await first_start(data, store)
    old = read_admin_token(data)
    (data / "admin.token").unlink()
    await first_start(data, store)
    assert read_admin_token(data) != old
    assert (await client.get(LIST, headers={"Authorization": f"Bearer {old}"})).status_code == 401


def test_server_json_says_where_the_server_is_while_it_is_there(data):
    write_server_json(data, "http://127.0.0.1:7777")
    assert read_server_json(data)["url"] == "http://127.0.0.1:7777"
    assert (data / "server.json").stat().st_mode & 0o777 == 0o600
    remove_server_json(data)
    assert read_server_json(data) is None
    write_server_json(data, "http://127.0.0.1:8888", pid=1)
    remove_server_json(data)
    assert read_server_json(data)["pid"] == 1
