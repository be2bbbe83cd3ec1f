"""The client: finds its server, sends the token there and nowhere else, and says what is wrong in a sentence."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from formicary.cli.client import Api, Connection, checked, find
from formicary.runner.core.errors import Conflict, NotFound, SetupError, UserError, WorldError


@pytest.fixture
def stranger():
    """A server that notes what it is asked and answers as it is told."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(server.status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.headers, server.seen = 200, {}, seen
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def data(tmp_path):
    """A data folder as a server of this very process would have left it."""

    def make(url, pid=None, token="fmy_secret"):
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        (folder / "server.json").write_text(json.dumps({"url": url, "pid": pid or os.getpid()}))
        (folder / "admin.token").write_text(token + "\n")
        return folder

    return make


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def response(status, document=None, **headers):
    return httpx.Response(status, json=document or {}, headers=headers)


def test_it_finds_address_and_token_by_itself(data, stranger):
    folder = data(stranger.url)
    connection = find(data=folder)
    assert connection == Connection(stranger.url, "fmy_secret", str(folder))
    api = Api(connection)
    api.get("/api/repos")
    api.close()
    assert stranger.seen == [("/api/repos", "Bearer fmy_secret")]


def test_what_broke_without_words_is_told_by_its_name():
    with pytest.raises(WorldError, match=r"^the connection to http://ci\.example broke \(ReadError\)$"):
        Connection("http://ci.example", "fmy_x").unreachable(httpx.ReadError(""))


def test_an_own_token_wins(data, monkeypatch):
    monkeypatch.setenv("FORMICARY_TOKEN", "fmy_mine")
    assert find(data=data("http://127.0.0.1:1")).token == "fmy_mine"


def test_the_admin_token_is_for_its_server_alone(data):
    """`--server` elsewhere needs a token of its own."""
    with pytest.raises(SetupError, match=r"set FORMICARY_TOKEN to a token of https://ci.example.org"):
        find("https://ci.example.org", data("http://127.0.0.1:1"))


def test_the_same_server_by_its_address_keeps_the_token(data):
    assert find("http://127.0.0.1:1/", data("http://127.0.0.1:1")).token == "fmy_secret"


def test_a_stranger_on_a_dead_servers_port_gets_no_token(data, stranger):
    """Anybody may listen on a port that a server has left behind."""
    with pytest.raises(SetupError, match="no server runs for"):
        find(data=data(stranger.url, pid=dead_pid()))
    assert stranger.seen == []


def test_no_token_goes_through_a_redirect(data, stranger):
    stranger.status, stranger.headers = 302, {"Location": "http://localhost:9/steal"}
    api = Api(find(data=data(stranger.url)))
    with pytest.raises(SetupError, match="call that address with --server if you trust it"):
        api.get("/api/repos")
    api.close()
    assert len(stranger.seen) == 1


def test_no_token_goes_through_a_proxy(data, stranger, monkeypatch):
    """Loopback is this machine: a proxy of the environment has no business there."""
    monkeypatch.setenv("HTTP_PROXY", stranger.url)
    monkeypatch.setenv("ALL_PROXY", stranger.url)
    api = Api(find(data=data("http://127.0.0.1:1")))
    with pytest.raises(SetupError, match="no server runs"):
        api.get("/api/repos")
    api.close()
    assert stranger.seen == []


@pytest.mark.parametrize("url", ["ftp://x", "localhost:7777", "http://"])
def test_what_is_no_address_is_said(url, data, monkeypatch):
    monkeypatch.setenv("FORMICARY_TOKEN", "t")
    with pytest.raises(SetupError, match="is no address of a server"):
        find(url, data("http://127.0.0.1:1"))


def test_no_server_says_how_to_start_one(formicary, tmp_path):
    said = formicary("status", "--data", tmp_path / "none")
    expected = f"error: no server runs for {tmp_path / 'none'}; start one with: formicary serve --repo .\n"
    assert (said.code, said.err) == (1, expected)


def test_connection_refused_says_the_same(formicary, data):
    folder = data("http://127.0.0.1:1")
    said = formicary("status", "--data", folder)
    assert said.err == f"error: no server runs for {folder}; start one with: formicary serve --repo .\n"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, UserError), (401, SetupError), (403, UserError), (404, NotFound), (409, Conflict), (500, WorldError)],
)
def test_problem_documents_are_errors_of_their_kind(status, kind):
    with pytest.raises(kind) as caught:
        checked(response(status, {"title": "Title", "status": status, "detail": "What is wrong."}))
    assert status == 401 or str(caught.value) == "What is wrong."


def test_a_problem_names_its_fields():
    errors = [{"field": "params.Env", "reason": "may be a or b"}]
    with pytest.raises(UserError, match=r"^may be a or b \(field `params.Env`\)$"):
        checked(response(422, {"detail": "may be a or b", "errors": errors}))
    two = [*errors, {"field": "ref", "reason": "is too long"}]
    with pytest.raises(UserError, match=r"^Not valid \[params.Env: may be a or b; ref: is too long\]$"):
        checked(response(422, {"detail": "Not valid", "errors": two}))
    which = {"detail": "say which", "errors": [{"field": "repository", "reason": "say which"}]}
    with pytest.raises(UserError, match=r"^say which with --repo$"):
        checked(response(422, which))
    named = {"detail": "ref: is too long", "errors": [{"field": "ref", "reason": "is too long"}]}
    with pytest.raises(UserError, match=r"^ref: is too long$"):
        checked(response(422, named))


def test_what_is_no_document_is_told_too():
    with pytest.raises(WorldError, match="the server answered 502"):
        checked(httpx.Response(502, text="<html>bad gateway</html>"))
