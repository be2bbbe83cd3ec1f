"""How an event is sent: in its order whoever comes first, within one origin, and never more read than is needed."""

import json
import socket
from datetime import UTC, datetime

import httpx
import pytest

from formicary.runner.core.definition import Hook
from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import OutboxEntry
from formicary.runner.publish.guard import Guard, Reach
from formicary.runner.publish.webhook import Ready, WebhookPublisher, key_of, seconds_until


class Owed:
    """The entries of one request that have not been settled."""

    def __init__(self, *seqs):
        self.entries = {key_of(1, seq): OutboxEntry(kind="webhook", key=key_of(1, seq), payload=event(seq))
                        for seq in seqs}  # fmt: skip

    def owed_before(self, organization_id, kind, first, key):
        assert (organization_id, kind) == ("default", "webhook")
        return [one for name, one in sorted(self.entries.items()) if first <= name < key][:2]


def event(seq):
    return {"event": {"organization_id": "default", "seq": seq, "text": "größer"}, "task": "", "to": "h"}


def publisher(hook, owed=None, secrets=(), **kwargs):
    owed = owed or Owed()
    guard = Guard(Reach.of(["127.0.0.0/8"]))
    return WebhookPublisher(lambda: owed, lambda payload: hook and Ready(hook, secrets), guard, **kwargs)


async def send(hook, seq=1, **kwargs):
    await publisher(hook, **kwargs).publish(key_of(1, seq), event(seq))


def seqs(receiver):
    return [json.loads(call.body)["seq"] for call in receiver.calls]


async def test_an_event_as_it_arrives(receive):
    receiver = receive()
    await send(Hook(url=receiver.url(path="/a?b=c"), headers={"X-Key": "k"}, query={"d": "e f&g", "b": "new"}))
    (call,) = receiver.calls
    assert (call.method, call.path) == ("POST", "/a?b=new&d=e+f%26g")
    assert call.headers["Content-Type"] == "application/json" and call.headers["X-Key"] == "k"
    assert call.headers["User-Agent"].startswith("formicary/") and "größer".encode() in call.body


async def test_what_comes_early_sends_what_is_before_it_first(receive):
    """And these are not sent again when their own turn comes; what was refused is refused then."""
    receiver = receive()
    receiver.answers.extend([(200, {}, b""), (410, {}, b"gone"), (200, {}, b"")])
    ours = publisher(Hook(url=receiver.url()), Owed(1, 2, 3))
    await ours.publish(key_of(1, 3), event(3))
    assert seqs(receiver) == [1, 2, 3]
    await ours.publish(key_of(1, 1), event(1))
    with pytest.raises(Undeliverable, match="410"):
        await ours.publish(key_of(1, 2), event(2))
    assert seqs(receiver) == [1, 2, 3]
    await ours.publish(key_of(1, 4), event(4))
    assert seqs(receiver) == [1, 2, 3, 4], "those before it may be owed for a moment yet"
    await ours.publish(key_of(1, 2), event(2))
    assert seqs(receiver)[-1] == 2, "a dead letter that is sent again is sent"


async def test_what_was_refused_in_its_turn_is_not_sent_early_too(receive):
    """It is owed until that is written; the answer to a second call would be told when it is resent."""
    receiver = receive()
    receiver.answers.extend([(404, {}, b""), (404, {}, b"")])
    ours = publisher(Hook(url=receiver.url()), Owed(1, 2))
    for seq in (1, 2):
        with pytest.raises(Undeliverable, match="404"):
            await ours.publish(key_of(1, seq), event(seq))
    assert seqs(receiver) == [1, 2]
    await ours.publish(key_of(1, 1), event(1))
    assert seqs(receiver) == [1, 2, 1]


async def test_many_may_be_before_it(receive):
    """More than the store gives at once."""
    receiver = receive()
    await publisher(Hook(url=receiver.url()), Owed(*range(1, 12))).publish(key_of(1, 11), event(11))
    assert seqs(receiver) == list(range(1, 12))


async def test_what_is_before_it_and_fails_holds_it_up(receive):
    receiver = receive()
    receiver.answers.append((500, {}, b""))
    ours = publisher(Hook(url=receiver.url()), Owed(1, 2))
    with pytest.raises(WorldError, match="500"):
        await ours.publish(key_of(1, 2), event(2))
    assert seqs(receiver) == [1]
    await ours.publish(key_of(1, 1), event(1))
    await ours.publish(key_of(1, 2), event(2))
    assert seqs(receiver) == [1, 1, 2], "the first one may not be settled yet, and is not sent a second time"


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_within_the_origin_is_followed(receive, status):
    receiver = receive()
    receiver.answers.append((status, {"location": "/there"}, b""))
    await send(Hook(url=receiver.url(path="/here"), headers={"X-Key": "k"}))
    assert [(call.method, call.path) for call in receiver.calls] == [("POST", "/here"), ("POST", "/there")]
    assert receiver.calls[1].body == receiver.calls[0].body != b""


async def test_any_other_redirect_is_a_refusal(receive):
    """Headers hold secrets: nobody else gets them; and an event that became a GET would be lost without a word."""
    receiver, other = receive(), receive()
    for status, target in [(302, "/there"), (303, "/there"), (307, other.url()), (308, other.url("127.0.0.2"))]:
        receiver.answers.append((status, {"location": target}, b""))
        with pytest.raises(Undeliverable, match=f"answers {status} and redirects to"):
            await send(Hook(url=receiver.url()))
    receiver.answers.extend([(307, {"location": "/again"}, b"")] * 10)
    with pytest.raises(Undeliverable, match="redirects without end"):
        await send(Hook(url=receiver.url()))
    assert other.calls == []


@pytest.mark.parametrize(
    ("status", "headers", "error", "wait"),
    [
        (429, {"retry-after": "7"}, ToldToWait, 7.0),
        (503, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, ToldToWait, 0.0),
        (503, {"retry-after": "soon"}, WorldError, None),
        (408, {}, WorldError, None),
        (425, {}, WorldError, None),
        (500, {}, WorldError, None),
        (400, {}, Undeliverable, None),
        (401, {"retry-after": "7"}, Undeliverable, None),
        (422, {}, Undeliverable, None),
    ],
)
async def test_answers(receive, status, headers, error, wait):
    receiver = receive()
    receiver.answers.append((status, headers, b"because\r\n of  it"))
    with pytest.raises(error, match=f"`127.0.0.1` answers {status} .*: because of it") as caught:
        await send(Hook(url=receiver.url()))
    assert getattr(caught.value, "retry_after", None) == wait and type(caught.value) is error


async def test_little_of_an_answer_is_read(receive):
    """Nor is it unpacked: a few bytes could be a gigabyte."""
    receiver = receive()
    receiver.answers.append((400, {"content-length": str(1 << 40)}, b"x" * (1 << 20)))
    with pytest.raises(Undeliverable) as caught:
        await send(Hook(url=receiver.url()))
    assert len(str(caught.value)) < 300
    receiver.answers.append((400, {"content-encoding": "gzip"}, b"\x1f\x8b" + b"x" * 100))
    with pytest.raises(Undeliverable, match=r"answers 400 Bad Request$"):
        await send(Hook(url=receiver.url()))


async def test_secrets_stay_out_of_errors(receive):
    """T8: whether the receiver repeats them or the URL holds them."""
    receiver = receive()
    receiver.answers.append((400, {}, b"no such token: s3cr3t-token (czNjcjN0LXRva2Vu)"))
    hook = Hook(url=receiver.url(path="/s3cr3t-token"), headers={"Authorization": "s3cr3t-token"})
    with pytest.raises(Undeliverable, match=r"no such token: \*\*\* \(\*\*\*\)"):
        await send(hook, secrets=("s3cr3t-token",))
    with pytest.raises((WorldError, Undeliverable)) as caught:
        await send(Hook(url="http://s3cr3t-token.invalid/"), secrets=("s3cr3t-token",))
    assert "s3cr3t-token" not in str(caught.value)


async def test_texts_of_the_event_are_masked(receive):
    receiver = receive()
    await send(Hook(url=receiver.url()), mask=lambda text: text.replace("größer", "***"))
    assert json.loads(receiver.calls[0].body)["text"] == "***"


@pytest.mark.parametrize("url", ["http://[::1", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "http:///x", "no url"])
async def test_what_is_no_url_is_a_dead_letter(url):
    with pytest.raises(Undeliverable):
        await send(Hook(url=url))


async def test_header_that_no_http_takes_is_a_dead_letter(receive):
    receiver = receive()
    with pytest.raises(Undeliverable, match="header"):
        await send(Hook(url=receiver.url(), headers={"X-Key": "a\nb"}))


async def test_nobody_there_is_tried_again():
    with pytest.raises(WorldError, match=r"`127\.0\.0\.1` could not be reached \(\w"):
        await send(Hook(url="http://127.0.0.1:1/"))


async def test_an_error_without_words_is_told_by_its_name(monkeypatch):
    async def break_off(*_):
        raise httpx.ReadError("")

    monkeypatch.setattr(WebhookPublisher, "_post_to", break_off)
    with pytest.raises(WorldError, match=r"`127\.0\.0\.1` could not be reached \(ReadError\)"):
        await send(Hook(url="http://127.0.0.1:1/"))


async def test_a_server_that_says_nothing_is_tried_again(monkeypatch):
    monkeypatch.setattr("formicary.runner.publish.webhook.SEND_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(WorldError, match=r"`127\.0\.0\.1` (did not answer|could not be reached)"):
            await send(Hook(url=f"http://127.0.0.1:{silent.getsockname()[1]}/"))


async def test_a_hook_that_is_gone_is_done_with():
    await send(None)


def test_retry_after_is_seconds_or_a_date():
    now = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
    said = ["3", " 0 ", "Tue, 24 Nov 2026 08:01:00 GMT", "Tue, 24 Nov 2026 07:00:00 GMT", "", "-1", "x"]
    assert [seconds_until(one, now) for one in said] == [3.0, 0.0, 60.0, 0.0, None, None, None]
