"""How people log in, and what a session may do."""

import httpx
import pytest
from starlette.routing import WebSocketRoute

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

LIST = "/api/jobs/requests"
OPEN = {"/health/live", "/health/ready", "/login", "/hooks/commit"}


def cookie_of(response) -> str:
    return response.headers["set-cookie"].partition(";")[0].partition("=")[2]


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
