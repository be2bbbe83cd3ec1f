"""The HTTP executor against real servers: what it sends and refuses, how it ends; slow, large and broken answers."""

import socket
import tracemalloc

import anyio
import pytest

from formicary.executors.contract import Limits
from formicary.executors.http import HttpExecutor
from formicary.executors.shapes import poll_until
from formicary.runner.core.errors import ERR_ADDRESS, ERR_ARTIFACT, ERR_DEFINITION, ERR_EXIT_CODE, ERR_HTTP

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nwords"


@pytest.fixture
def call(prepare, sink):
    """Call a URL on loopback, which the operator allows unless the test says otherwise."""

    async def calling(url, *, allow=("127.0.0.0/8",), method="HTTP_GET", limits=None, **task):
        prepared = prepare(url=url, method=method, allow_networks=allow, limits=limits, **task)
        async with HttpExecutor().open(prepared) as session:
            outcome = await session.run([], sink)
        calling.prepared = prepared
        return outcome

    return calling


def said(sink):
    return [text for kind, text in sink.records if kind == "sys"]


async def test_a_call_and_its_log(call, sink, receive):
    receiver = receive()
    receiver.answers.append((201, {"content-type": "application/json", "x-other": "1"}, b'{"id": 7, "name": "a\\nb"}'))
    outcome = await call(
        receiver.url(path="/builds"),
        method="HTTP_POST_JSON",
        query={"a": "1 2"},
        headers={"X-Team": "ants"},
        body={"state": "done"},
    )
    assert (outcome.exit_code, outcome.error_code, outcome.ok) == (201, "", True)
    assert (outcome.usage["sent_bytes"], outcome.usage["received_bytes"]) == (16, 25)
    (one,) = receiver.calls
    assert (one.method, one.path, one.body) == ("POST", "/builds?a=1+2", b'{"state":"done"}')
    assert {name.lower() for name in one.headers} == {
        "host", "accept", "accept-encoding", "user-agent", "content-type", "content-length", "x-team",
    }  # fmt: skip
    assert sink.commands == [f"POST {receiver.url(path='/builds')}?a=1+2"]
    assert said(sink)[:3] == ["201 Created", "content-type: application/json", "content-length: 25"]
    assert sink.output == b'{"id": 7, "name": "a\\nb"}' and not (call.prepared.workspace / "response").exists()
    text = (call.prepared.run_dir / "output").read_text()
    assert "id<<" in text and "\n7\n" in text and "a\nb\n" in text and "http_status<<" in text


@pytest.mark.parametrize("status", [204, 304, 400, 404, 500, 503])
async def test_the_status_is_the_exit_code(call, receive, status):
    receiver = receive()
    receiver.answers.append((status, {"content-length": "0"}, b""))
    outcome = await call(receiver.url())
    assert outcome.exit_code == status and outcome.ok is (status == 204)
    assert outcome.error_code == ("" if outcome.ok else ERR_EXIT_CODE)
    assert outcome.ok or f"answered {status}" in outcome.error_message


async def test_the_answer_is_kept_where_the_task_keeps_artifacts(call, receive):
    receiver = receive()
    receiver.answers.append((200, {}, b"\0binary\xff" * 50_000))
    assert (await call(receiver.url(), artifacts={"paths": ["response"]})).ok
    assert (call.prepared.workspace / "response").read_bytes() == b"\0binary\xff" * 50_000


async def test_a_link_in_its_place_is_not_followed(call, receive, prepare, tmp_path):
    (prepare().workspace / "response").symlink_to(tmp_path / "elsewhere")
    outcome = await call(receive().url(), artifacts={"paths": ["response"]})
    assert outcome.error_code == ERR_ARTIFACT and not (tmp_path / "elsewhere").exists()


async def test_the_limit_of_a_file_holds(call, answers, prepare):
    async def endless(stream, head):
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send(b"x" * 65536)

    async with answers(endless) as server:
        outcome = await call(server.url(), artifacts={"paths": ["response"]}, limits=Limits(file_size_bytes=1_000_000))
    assert outcome.error_code == ERR_ARTIFACT and "1000000 bytes" in outcome.error_message


@pytest.mark.parametrize("url, words", [
    ("http://127.0.0.1:{port}/", "loopback"), ("http://localhost:{port}/", "loopback"),
    ("http://2130706433:{port}/", "loopback"), ("http://[::ffff:127.0.0.1]:{port}/", "loopback"),
    ("http://169.254.169.254/latest", "metadata"), ("http://10.0.0.1/", "private"), ("ftp://a.example/", "only http"),
    ("http://user:pass@127.0.0.1:{port}/", "user or password"),
])  # fmt: skip
async def test_nobody_inside_is_called_without_the_operators_word(call, receive, url, words):
    """T14: refused before a byte is sent, with a code that no retry repeats."""
    receiver = receive()
    outcome = await call(url.format(port=receiver.port), allow=())
    assert outcome.error_code == ERR_ADDRESS and words in outcome.error_message and receiver.calls == []


async def test_a_redirect_is_judged_as_the_first_url_is(call, sink, receive):
    """T14: also after a redirect."""
    first = receive()
    first.answers.append((302, {"location": "http://169.254.169.254/latest/meta-data", "content-length": "0"}, b""))
    outcome = await call(first.url())
    assert outcome.error_code == ERR_ADDRESS and "metadata" in outcome.error_message
    assert sink.commands[-1] == "GET http://169.254.169.254/latest/meta-data"


async def test_redirects_are_followed_without_secrets_for_others(call, receive):
    first, second = receive(), receive()
    first.answers.append((301, {"location": "/again"}, b""))
    first.answers.append((302, {"location": second.url(path="/there"), "set-cookie": "a=b"}, b""))
    assert (await call(first.url(), headers={"X-Key": "secret"})).ok
    assert [one.headers.get("X-Key") for one in first.calls] == ["secret", "secret"]
    (one,) = second.calls
    assert one.path == "/there" and not {"x-key", "cookie"} & {name.lower() for name in one.headers}


async def test_redirects_have_an_end(call, receive):
    receiver = receive()
    receiver.answers.extend([(302, {"location": "/hook"}, b"")] * 10)
    outcome = await call(receiver.url())
    assert outcome.error_code == ERR_HTTP and "more than 5 times" in outcome.error_message
    assert len(receiver.calls) == 6


async def test_no_proxy_is_asked(call, receive, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await call(receive().url())).ok


async def test_nobody_there_is_said(call):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = await call(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert (outcome.exit_code, outcome.error_code) == (None, ERR_HTTP)
    assert "there is no connection" in outcome.error_message


async def test_a_name_that_nobody_has_is_said(call):
    outcome = await call("http://nobody.invalid/")
    assert outcome.error_code == ERR_HTTP and "`nobody.invalid` cannot be found" in outcome.error_message


async def test_a_certificate_of_a_stranger_is_said(call, receive, certificate):
    outcome = await call(
        receive(context=certificate("localhost").server).url("localhost", scheme="https"),
        allow=("127.0.0.0/8", "::1/128"),
    )
    assert outcome.error_code == ERR_HTTP and "certificate" in outcome.error_message.lower()


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", OK[:-2], b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz"]
)
async def test_an_answer_that_breaks_off_is_no_success(call, answers, answer):
    async def cut(stream, head):
        await stream.send(answer) if answer else None

    async with answers(cut) as server:
        outcome = await call(server.url())
    assert (outcome.exit_code, outcome.error_code) == (None, ERR_HTTP)


async def test_items_are_refused(prepare, sink):
    async with HttpExecutor().open(prepare(method="HTTP_GET", url="http://a.example/")) as session:
        outcome = await session.run(["echo"], sink, name="after_script")
    assert outcome.error_code == ERR_DEFINITION


async def _slowly(stream, head):
    """Slow loris: a byte now and then, for ever."""
    for byte in OK[:-1]:
        await stream.send(bytes([byte]))
        await anyio.sleep(0.001)
    await stream.receive()


async def _silent(stream, head):
    await stream.receive()


async def _endless(stream, head):
    await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send(b"x" * 1024)


@pytest.mark.parametrize("answer", [_slowly, _silent, _endless])
@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 0.3])
async def test_a_deadline_and_a_cancel_end_it_at_every_moment(call, answers, answer, seconds):
    """The connection is closed when the scope is left."""
    async with answers(answer) as server:
        with anyio.fail_after(10):
            with anyio.move_on_after(seconds) as scope:
                await call(server.url(), artifacts={"paths": ["response"]})
            assert scope.cancelled_caught

            async def closed():
                return None if server.open else True

            await poll_until(closed, 0.01)


async def test_a_large_answer_takes_little_memory(prepare, answers):
    """256 MiB come through in bounded memory; so would any length."""
    size, piece = 256 << 20, b"x" * (1 << 20)

    class Counting:
        length = 0

        def out(self, data):
            self.length += len(data)

        def cmd(self, text):
            pass

        sys = cmd

    async def large(stream, head):
        await stream.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            await stream.send(piece)

    async with answers(large) as server:
        prepared = prepare(method="HTTP_GET", url=server.url(), allow_networks=("127.0.0.0/8",))
        sink = Counting()
        async with HttpExecutor().open(prepared) as session:
            tracemalloc.start()
            outcome = await session.run([], sink)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert outcome.ok and sink.length == size
    assert peak < 16 << 20
