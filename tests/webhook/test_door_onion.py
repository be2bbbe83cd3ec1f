"""The layers around everything: hosts, origins, body limit, headers, problems."""

import contextlib
import json
import subprocess
import sys

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from formicary.runner.core.errors import DefinitionError, LostError, NotSupported, Problem, WorldError
from formicary.webhook.app import build_app
from formicary.webhook.onion import MAX_BODY
from formicary.webhook.origins import Allowed, parse
from formicary.webhook.parts import Settings

LIST = "/api/jobs/requests"


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:7777", "127.0.0.1.evil.com", "localhost@evil.com", "", "[::1", "a b"]
)
async def test_a_foreign_host_is_refused(client, admin, host):
    """T18: a name that an attacker points at us (DNS rebinding) is not ours, token or not."""
    for path in (LIST, "/login", "/health/live"):
        response = await client.get(path, headers={**admin, "host": host})
        assert response.status_code == 400
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["127.0.0.1:7777", "localhost:7777", "LOCALHOST:8080", "[::1]:7777", "localhost."])
async def test_our_own_hosts_are_taken(client, admin, host):
    assert (await client.get(LIST, headers={**admin, "host": host})).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.com",
        "http://127.0.0.1:3000",
        "https://127.0.0.1:7777",
        "http://localhost",
        "file://",
        "http://127.0.0.1:7777.evil.com",
        "http://127.0.0.1:7777@evil.com",
        "",
    ],
)
async def test_a_foreign_origin_changes_nothing(client, admin, queen, definition, origin):
    """T18: not even with a good token, nor on the login form."""
    headers = {**admin, "origin": origin}
    assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 403
    assert (await client.post("/login", data={"token": "x"}, headers=headers)).status_code == 403
    assert (await client.post("/hooks/commit", content=b"{}", headers=headers)).status_code == 403
    assert queen.asks == []


@pytest.mark.parametrize("origin", ["http://127.0.0.1:7777", "http://localhost:7777", "http://[::1]:7777"])
async def test_our_own_origin_is_taken(client, admin, definition, origin):
    response = await client.post(LIST, json={"job_type": "ci"}, headers={**admin, "origin": origin})
    assert response.status_code == 201


async def test_an_origin_through_a_tunnel_is_that_of_its_host(client, admin, definition):
    headers = {**admin, "host": "localhost:9999", "origin": "http://localhost:9999"}
    assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 201


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_without_an_origin_changes_nothing(client, admin, definition, site):
    headers = {**admin, "sec-fetch-site": site}
    assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 403
    assert (await client.get(LIST, headers=headers)).status_code == 200


async def test_no_answer_invites_other_origins(client, admin):
    response = await client.options(LIST, headers={**admin, "origin": "http://127.0.0.1:7777"})
    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_a_door_that_listens_everywhere_takes_addresses_but_no_names():
    allowed = Allowed(Settings(url="https://ci.example.com", host="0.0.0.0", allowed_hosts=("proxy.internal",)))
    for ours in ("10.0.0.7:7777", "ci.example.com", "proxy.internal", "localhost:7777", "[fe80::1]:7777"):
        assert allowed.host(ours), ours
    for foreign in ("evil.com", "0.0.0.0.evil.com", ""):
        assert not allowed.host(foreign), foreign
    assert allowed.origin("https://ci.example.com", scheme="http", host="ci.example.com")
    assert not allowed.origin("https://evil.com", scheme="http", host="ci.example.com")


def test_a_door_on_one_address_takes_that_one():
    allowed = Allowed(Settings(url="http://10.0.0.7:7777", host="10.0.0.7"))
    assert allowed.host("10.0.0.7:7777")
    assert not allowed.host("localhost:7777")
    assert not allowed.host("10.0.0.8:7777")


def test_an_origin_has_its_default_port():
    assert parse("https://a.b") == ("https", "a.b", 443)
    assert parse("http://a.b:99999") is None


# Bodies


async def test_a_body_that_says_it_is_too_large_is_refused_unread(client, admin):
    async def never():
        raise AssertionError("the body was read")
        yield b""

    headers = {**admin, "content-length": str(MAX_BODY + 1), "content-type": "application/json"}
    response = await client.post(LIST, content=never(), headers=headers)
    assert response.status_code == 413


@pytest.mark.parametrize("extra", [{}, {"Idempotency-Key": "k"}])
@pytest.mark.parametrize("path", [LIST, "/hooks/commit"])
async def test_a_chunked_body_over_the_limit_is_refused(client, admin, path, extra):
    taken = 0

    async def chunks():
        nonlocal taken
        while taken < 100 << 20:
            taken += 1 << 20
            yield b" " * (1 << 20)

    headers = {**admin, "content-type": "application/json", **extra}
    response = await client.post(path, content=chunks(), headers=headers)
    assert response.status_code == 413
    assert "25 MiB" in response.json()["detail"]
    assert taken <= MAX_BODY + (2 << 20)


async def test_a_body_at_the_limit_is_read(client, admin):
    body = b'{"job_type":"ci"' + b" " * (MAX_BODY - 17) + b"}"
    assert len(body) == MAX_BODY
    response = await client.post(LIST, content=body, headers={**admin, "content-type": "application/json"})
    assert response.status_code != 413


@pytest.mark.parametrize("extra", [[], [(b"idempotency-key", b"k")]])
async def test_half_a_body_is_no_body(app, admin, queen, definition, extra, caplog):
    """The connection ended before the body did, though what came can be read as JSON."""
    messages = [{"type": "http.request", "body": b'{"job_type":"ci"}', "more_body": True}]
    sent = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": LIST,
        "query_string": b"",
        "scheme": "http",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"authorization", admin["Authorization"].encode()),
            *extra,
        ],
    }
    await app(scope, receive, send)
    assert queen.asks == []
    assert "lost" not in caplog.text


# Headers


async def test_every_answer_has_the_security_headers(client, admin):
    for path, headers in ((LIST, admin), (LIST, {}), ("/login", {}), ("/no", admin), (LIST, {"host": "evil.com"})):
        answer = (await client.get(path, headers=headers)).headers
        assert answer["x-content-type-options"] == "nosniff"
        assert answer["x-frame-options"] == "DENY"
        assert answer["cache-control"] == "no-store"
        assert answer["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in answer["content-security-policy"]
        assert len(answer["x-request-id"]) == 16


async def test_the_referrer_policy_lets_our_forms_have_an_origin(client):
    """With `no-referrer` a browser sends `Origin: null` from our own pages, which we refuse."""
    assert (await client.get("/login")).headers["referrer-policy"] == "same-origin"


# Problems


async def test_a_problem_names_the_field_and_the_reason(client, admin):
    response = await client.post(LIST, json={"job_type": "", "jobtype": "x"}, headers=admin)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "about:blank"
    assert problem["status"] == 422
    assert {error["field"] for error in problem["errors"]} == {"job_type", "jobtype"}
    assert all(error["reason"] for error in problem["errors"])


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[]", "application/json", 422),
        (b"", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"job_type=ci", "application/x-www-form-urlencoded", 415),
    ],
)
async def test_what_is_no_json_object_is_refused(client, admin, body, content_type, status):
    response = await client.post(LIST, content=body, headers={**admin, "content-type": content_type})
    assert response.status_code == status, response.text


async def test_an_unknown_job_is_named_with_its_field(client, admin):
    response = await client.post(LIST, json={"job_type": "unknown"}, headers=admin)
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "job_type", "reason": "There is no job `unknown`."}]


async def test_each_kind_of_error_has_its_status(client, admin, queen):
    problem = Problem(".formicary/ci.yml", 3, 5, "`tsks` is not known", "did you mean `tasks`?")
    for error, status in (
        (DefinitionError((problem,)), 422),
        (NotSupported("Not yet."), 422),
        (WorldError("The disk is full."), 503),
    ):
        queen.refuse = error
        response = await client.post(LIST, json={"job_type": "ci"}, headers=admin)
        assert response.status_code == status
        if isinstance(error, DefinitionError):
            assert response.json()["errors"][0]["field"] == ".formicary/ci.yml:3:5"
        if isinstance(error, WorldError):
            assert response.headers["retry-after"]


@pytest.mark.parametrize("error", [LostError("inner secret"), RuntimeError("inner secret")])
async def test_our_own_fault_is_logged_with_a_reference_and_not_told(client, admin, queen, caplog, error):
    queen.refuse = error
    response = await client.post(LIST, json={"job_type": "ci"}, headers=admin)
    assert response.status_code == 500
    assert "inner secret" not in response.text
    assert response.json()["reference"] in caplog.text
    assert "inner secret" in caplog.text


async def test_secrets_are_masked_in_problems(door, admin, queen):
    """T8: an API error is an exit too."""
    door.mask = lambda text: text.replace("hunter2", "***")
    queen.refuse = WorldError("The forge refused hunter2.")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(door)), base_url="http://localhost") as client:
        response = await client.post(LIST, json={"job_type": "ci"}, headers=admin)
    assert "hunter2" not in response.text and "***" in response.text


async def test_a_wrong_method_is_a_problem_with_the_right_ones(client, admin):
    response = await client.delete(LIST, headers={**admin, "Idempotency-Key": "k"})
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_failure_after_the_answer_began_is_only_logged(door, admin, caplog):
    class Broken(PlainTextResponse):
        async def __call__(self, scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RuntimeError("half way")

    async def broken(request):
        return Broken("")

    door.pages = [Route("/broken", broken)]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(door)), base_url="http://localhost") as client:
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            await client.get("/broken", headers=admin)
    assert "half way" in caplog.text


# The import


def test_the_door_is_light_to_import():
    """What only some calls need is not loaded before."""
    code = (
        "import sys, json, formicary.webhook.app; "
        "print(json.dumps([m for m in ('prometheus_client','yaml','dulwich','jinja2','uvicorn','httpx','sqlite_utils')"
        " if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
