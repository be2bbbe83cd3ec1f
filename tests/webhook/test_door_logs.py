"""Logs: raw bytes with ranges, records, and live events that end when they should."""

import json
import socket
import time

import anyio
import httpx
import pytest
import uvicorn

from formicary.runner.core.logframes import Frame, frame
from formicary.runner.core.records import Role
from formicary.runner.core.states import State
from formicary.runner.queen.changes import Change
from formicary.webhook.logview import batches
from formicary.webhook.rawlog import RawLogs


class Log:
    """The log of one attempt, as an ant writes it."""

    def __init__(self, logs, task_execution_id):
        self.logs, self.id, self.size = logs, task_execution_id, 0

    def write(self, stream, data, at=1.0):
        self.size = self.logs.append(self.id, self.size, frame(at, stream, data))
        return self


@pytest.fixture
async def running(queen, make_request, make_execution):
    """(the execution, its log, the log's path)"""
    execution = await make_execution(await make_request())
    log = Log(queen.logs, f"{execution.id}-1")
    return execution, log, f"/api/tasks/{log.id}/log"


async def end(store, queen, execution, state=State.COMPLETED):
    run = execution.tasks["build"]
    attempt = run.last.model_copy(update={"state": state, "ended_at": time.time(), "exit_code": 0})
    done = run.model_copy(update={"state": state, "attempts": (attempt,)})
    ended = execution.model_copy(update={"tasks": {"build": done}})
    await store.write(lambda tx: tx.save_execution(ended))
    queen.changes.publish(Change("request", request_id=execution.request_id, state=state))


async def test_the_raw_log_is_what_the_commands_wrote(client, admin, running):
    _, log, path = running
    log.write("cmd", b"make").write("out", b"one\n").write("sys", b"hm").write("out", b"\xff\x00two")
    response = await client.get(path, headers=admin)
    assert response.content == b"one\n\xff\x00two"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["accept-ranges"] == "bytes"


async def test_a_part_of_the_raw_log(client, admin, running):
    _, log, path = running
    log.write("out", b"01234").write("cmd", b"between").write("out", b"56789")
    for wanted, body in (("0-3", b"0123"), ("3-6", b"3456"), ("5-", b"56789"), ("-2", b"89"), ("9-100", b"9")):
        response = await client.get(path, headers={**admin, "range": f"bytes={wanted}"})
        assert (response.status_code, response.content) == (206, body)
        assert response.headers["content-range"].endswith("/10")
    log.write("out", b"AB")
    response = await client.get(path, headers={**admin, "range": "bytes=10-"})
    assert (response.content, response.headers["content-range"]) == (b"AB", "bytes 10-11/12")
    assert (await client.get(path, headers={**admin, "range": "bytes=12-"})).status_code == 416


async def test_an_empty_log_is_empty(client, admin, running):
    response = await client.get(running[2], headers=admin)
    assert (response.status_code, response.content) == (200, b"")


def test_the_index_of_a_large_log_reads_only_what_is_asked_for(queen, monkeypatch):
    log = Log(queen.logs, "1-1")
    for number in range(50):
        log.write("out", b"%05d" % number * 20_000)
    raw = RawLogs(queen.logs)
    assert raw.size("1-1") == 5_000_000
    read = []
    frames = queen.logs.frames
    monkeypatch.setattr(queen.logs, "frames", lambda id_, offset=0: read.append(offset) or frames(id_, offset))
    assert b"".join(raw.read("1-1", 4_900_000, 4_900_010)) == b"0004900049"
    assert max(read[-1:]) > 3_000_000
    assert b"".join(raw.read("1-1")) == b"".join(b"%05d" % number * 20_000 for number in range(50))


async def test_records_are_json_lines(client, admin, running):
    _, log, path = running
    log.write("cmd", b"make", 5.25).write("out", "é\n".encode()).write("sys", b"done")
    response = await client.get(path, params={"format": "records"}, headers=admin)
    assert [json.loads(line) for line in response.text.splitlines()] == [
        {"t": 5.25, "s": "cmd", "text": "make"},
        {"t": 1.0, "s": "out", "text": "é\n"},
        {"t": 1.0, "s": "sys", "text": "done"},
    ]


def test_records_never_break_a_character():
    euro = "€".encode()
    frames = [
        Frame(1.0, "out", b"a" + euro[:1], 10),
        Frame(1.0, "sys", b"!", 20),
        Frame(1.0, "out", euro[1:], 30),
        Frame(1.0, "out", euro[:2], 40),
    ]
    (batch,) = batches(frames, whole=False)
    assert batch.end == 30
    assert [record.text for record in batch.records] == ["a", "!", "€"]
    (batch,) = batches(frames, whole=True)
    assert batch.end == 40
    assert [record.text for record in batch.records] == ["a", "!", "€", "", "�"]


def test_batches_are_bounded_and_go_on_where_they_ended():
    frames = [Frame(1.0, "out", b"x" * 1000, number + 1) for number in range(2000)]
    found = list(batches(frames, whole=True))
    assert len(found) > 3
    assert [batch.end for batch in found] == sorted({batch.end for batch in found})
    assert sum(len(batch.records) for batch in found) == 2000


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fadmin.token",
        "1-1%2f..",
        "1-1%00",
        "%2e%2e",
        "1",
        "1-1-1",
        "-1-1",
        "1-1.log",
        "%EF%BC%91-1",
        "9" * 400 + "-1",
    ],
)
async def test_tricks_with_the_id_are_404(client, admin, running, name):
    """The id becomes a path."""
    response = await client.get(f"/api/tasks/{name}/log", headers=admin)
    assert response.status_code == 404


async def test_the_log_of_no_attempt_is_404(client, admin, running):
    execution = running[0]
    for name in (f"{execution.id}-2", f"{execution.id + 1}-1", "0-0"):
        assert (await client.get(f"/api/tasks/{name}/log", headers=admin)).status_code == 404


async def test_the_log_of_another_repository_is_404(client, as_, running, other_repository):
    running[1].write("out", b"secret")
    for fields in ({"repository_id": other_repository.id}, {"organization_id": "elsewhere"}):
        headers = await as_(Role.ADMIN, **fields)
        for query in ("", "?follow=1", "?format=records"):
            response = await client.get(running[2] + query, headers=headers)
            assert response.status_code == 404
            assert "secret" not in response.text


async def test_a_head_of_a_live_log_ends_at_once(client, admin, running):
    response = await client.head(running[2] + "?follow=1", headers=admin)
    assert (response.status_code, response.content) == (200, b"")


async def test_a_wrong_offset_is_named(client, admin, running):
    _, log, path = running
    log.write("out", b"x" * 200)
    for query in ("format=records&offset=3", "follow=1&offset=3", "follow=1&offset=9999", "offset=-1", "format=xml"):
        assert (await client.get(f"{path}?{query}", headers=admin)).status_code == 422


# Live


class Listener:
    """Reads the events of one call while it goes on."""

    def __init__(self):
        self.status = None
        self.left = anyio.Event()
        self.done = anyio.Event()
        self._send, self._receive = anyio.create_memory_object_stream(1000)
        self._text = ""

    async def listen(self, app, path, headers):
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [
                (b"host", b"127.0.0.1:7777"),
                *((name.lower().encode(), value.encode()) for name, value in headers.items()),
            ],
        }
        try:
            await app(scope, self._next, self._got)
        finally:
            self._send.close()
            self.done.set()

    async def _next(self):
        if self.status is None and not self._text:
            self._text = " "
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _got(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message.get("body"):
            await self._send.send(message["body"].decode())

    async def event(self):
        """(event, id, data); comments are passed over."""
        with anyio.fail_after(5):
            while True:
                text = await self._receive.receive()
                if not text.startswith(":"):
                    break
        fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
        return fields["event"], fields.get("id"), json.loads(fields["data"])

    def close(self):
        self._receive.close()


@pytest.fixture
async def listen(app, admin):
    """Start to listen; everything is ended with the test, and must have ended by itself until then."""
    listeners = []
    async with anyio.create_task_group() as group:

        async def start(path, headers=None):
            listener = Listener()
            listeners.append(listener)
            group.start_soon(listener.listen, app, path, {**admin, **(headers or {})})
            return listener

        yield start
        with anyio.fail_after(5):
            for listener in listeners:
                await listener.done.wait()
                listener.close()


async def test_a_log_is_followed_to_its_end(listen, running, store, queen):
    """D13: the final state follows the last log byte."""
    execution, log, path = running
    log.write("cmd", b"make").write("out", b"one\n")
    listener = await listen(path + "?follow=1")
    name, offset, data = await listener.event()
    assert (name, offset) == ("log", str(log.size))
    assert data["v"] == 1 and data["event_type"] == "LogEvent" and data["organization_id"] == "default"
    assert data["task_execution_id"] == log.id and data["offset"] == log.size
    assert data["records"] == [{"t": 1.0, "s": "cmd", "text": "make"}, {"t": 1.0, "s": "out", "text": "one\n"}]
    log.write("out", b"two\n")
    queen.changes.publish(Change("log", task_execution_id=log.id))
    assert (await listener.event())[2]["records"] == [{"t": 1.0, "s": "out", "text": "two\n"}]
    log.write("out", b"last\n")
    await end(store, queen, execution)
    assert (await listener.event())[2]["records"][0]["text"] == "last\n"
    name, _, data = await listener.event()
    assert (name, data["state"], data["exit_code"]) == ("end", "COMPLETED", 0)
    await listener.done.wait()


async def test_a_log_that_has_ended_is_given_and_ended(listen, running, store, queen):
    execution, log, path = running
    log.write("out", b"cut \xe2\x82")
    await end(store, queen, execution, State.FAILED)
    listener = await listen(path + "?follow=1")
    assert [record["text"] for record in (await listener.event())[2]["records"]] == ["cut ", "�"]
    assert (await listener.event())[2]["state"] == "FAILED"


@pytest.mark.parametrize("how", ["offset", "last-event-id"])
async def test_a_reader_goes_on_where_it_was(listen, running, store, queen, how):
    execution, log, path = running
    offset = log.write("out", b"one\n").size
    log.write("out", b"two\n")
    await end(store, queen, execution)
    if how == "offset":
        listener = await listen(f"{path}?follow=1&offset={offset}")
    else:
        listener = await listen(f"{path}?follow=1&offset=0", {"Last-Event-ID": str(offset)})
    assert [record["text"] for record in (await listener.event())[2]["records"]] == ["two\n"]
    assert (await listener.event())[0] == "end"


async def test_a_slow_reader_looks_again(listen, running, store, queen):
    execution, log, path = running
    log.write("out", b"one\n")
    listener = await listen(path + "?follow=1")
    await listener.event()
    for _ in range(3000):
        queen.changes.publish(Change("log", task_execution_id="9-9"))
    log.write("out", b"two\n")
    await end(store, queen, execution)
    assert (await listener.event())[2]["records"][0]["text"] == "two\n"
    assert (await listener.event())[0] == "end"


async def test_nothing_is_left_when_the_reader_leaves(listen, running, queen):
    running[1].write("out", b"one\n")
    listener = await listen(running[2] + "?follow=1")
    await listener.event()
    assert len(queen.changes._subscribers) == 1
    listener.left.set()
    with anyio.fail_after(5):
        await listener.done.wait()
    assert queen.changes._subscribers == {}


async def test_the_door_closes_on_open_streams(listen, running, queen, door):
    running[1].write("out", b"one\n")
    listeners = [await listen(running[2] + "?follow=1") for _ in range(3)]
    for listener in listeners:
        await listener.event()
    door.close()
    with anyio.fail_after(5):
        for listener in listeners:
            await listener.done.wait()
    assert queen.changes._subscribers == {}


async def test_a_stream_says_that_it_is_still_there(listen, running, monkeypatch):
    from formicary.webhook.api import tasks

    monkeypatch.setattr(tasks, "KEEP_ALIVE_EVERY", 0.01)
    running[1].write("out", b"one\n")
    listener = await listen(running[2] + "?follow=1")
    await listener.event()
    with anyio.fail_after(5):
        assert (await listener._receive.receive()).startswith(":")
    listener.left.set()


async def test_a_real_server_stops_with_a_stream_open(app, door, admin, running):
    """A server that waits for an open log for ever cannot be restarted."""
    running[1].write("out", b"one\n")
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with anyio.fail_after(20):  # leaving the group waits for the server
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listening])
            async with httpx.AsyncClient(base_url=base, headers=admin) as client:
                async with client.stream("GET", running[2] + "?follow=1") as response:
                    lines = response.aiter_lines()
                    assert await anext(lines) == "event: log"
                    door.close()
                    server.should_exit = True
                    with anyio.fail_after(5):
                        rest = [line async for line in lines]
                    assert not any("end" in line for line in rest if line.startswith("event"))
