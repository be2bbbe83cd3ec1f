"""Notices reach people: by a real mail server, by Slack's door and by operators' URLs; and no error says too much."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser

import anyio
import pytest

from formicary.runner.core.errors import SetupError, Undeliverable, WorldError
from formicary.runner.publish.messages import Mail, Message, MessagePublisher, Ways, mail_at
from formicary.runner.publish.notice import Notice
from formicary.runner.publish.outbox import Outbox
from formicary.runner.store.sqlite import open_store

SENDER = "Formicary <ci@ants.example>"
HOSTILE = "<script>alert(1)</script> \x1b[31m <img src=http://evil.example/x> & ``` @everyone <!channel>"
NOTICE = Notice(
    subject="[app] ci failed on <!here>: task `test` exit code 1 ✗ Ünï\r\nBcc: evil@example.com",
    good=False,
    facts=[("Commit", "0123456789 Größe <b>fett</b>"), ("Branch", "main")],
    more=[("Commits since it passed", ["aaaa one <script>", "bbbb two"])],
    excerpt_of="Log of test",
    excerpt=f"E   AssertionError: 1 != 2\n{HOSTILE}\n雪",
    link="http://127.0.0.1:7777/requests/12",
)


def publisher(ways, message=None, **kwargs):
    return MessagePublisher(ways, lambda payload: message, **kwargs)


def mail(port, mode="insecure", **kwargs):
    return Ways(mail=Mail("127.0.0.1", port, mode, SENDER, **kwargs))


def to(recipient, channel="email", notice=NOTICE, secrets=()):
    return Message(notice, channel, recipient, secrets)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


async def test_a_mail_as_it_arrives(mail_server):
    """Headers, both parts, umlauts and snow; what outsiders wrote is text and adds no header."""
    async with mail_server() as server:
        await publisher(mail(server.port)).send(to("ann@team.example"))
    (letter,) = server.mails
    assert server.envelopes == [("ci@ants.example", ("ann@team.example",))]
    assert letter["From"] == SENDER and letter["To"] == "ann@team.example"
    assert letter["Subject"] == "[app] ci failed on <!here>: task `test` exit code 1 ✗ Ünï Bcc: evil@example.com"
    assert letter["Bcc"] is None and letter["Message-ID"] and letter["Date"]
    assert letter.get_content_type() == "multipart/alternative"
    plain, rich = letter.get_body(("plain",)).get_content(), letter.get_body(("html",)).get_content()
    for part in (plain, rich):
        assert "AssertionError: 1 != 2" in part and "雪" in part and "Größe" in part
        assert "http://127.0.0.1:7777/requests/12" in part
    assert "<script>alert(1)</script>" in plain
    read = Tags()
    read.feed(rich)
    allowed = {"html", "head", "title", "body", "p", "b", "ul", "li", "pre", "a", "br"}
    assert {tag for tag, _ in read.tags} <= allowed
    assert [values["href"] for tag, values in read.tags if tag == "a"] == ["http://127.0.0.1:7777/requests/12"]
    assert "<script>alert(1)</script>" in "".join(read.texts) and "aaaa one <script>" in read.texts


UNPROTECTED = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


@UNPROTECTED
@pytest.mark.parametrize("mode", ["starttls", "ssl"])
async def test_mail_over_tls_with_a_login(mail_server, certificate, monkeypatch, mode):
    """The certificate is checked: against the operator's own authority it holds, without it nothing is sent."""
    ours = certificate("127.0.0.1")
    ways_to = lambda port: mail(port, mode, user="ci", password="pass word")  # noqa: E731
    async with mail_server(context=ours.server, starttls=mode == "starttls", login=True) as server:
        with pytest.raises(WorldError, match="CERTIFICATE_VERIFY_FAILED"):
            await publisher(ways_to(server.port)).send(to("ann@team.example"))
        assert server.logins == [] and server.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.file))
        await publisher(ways_to(server.port)).send(to("ann@team.example"))
        assert server.logins == [("ci", "pass word")] and len(server.mails) == 1


@UNPROTECTED
async def test_a_wrong_password_is_said_without_it(mail_server):
    async with mail_server(login=True) as server:
        with pytest.raises(WorldError, match=r"535") as caught:
            await publisher(mail(server.port, user="ci", password="wrong-p4ss")).send(to("ann@team.example"))
    assert "wrong-p4ss" not in str(caught.value)


async def test_a_mailbox_that_is_not_there_is_a_dead_letter(mail_server):
    async with mail_server() as server:
        server.refuse = "550 no such user"
        with pytest.raises(Undeliverable, match=r"ann@team\.example could not be told .*550.*no such user"):
            await publisher(mail(server.port)).send(to("ann@team.example"))
        server.refuse = "451 later"
        with pytest.raises(WorldError, match="451"):
            await publisher(mail(server.port)).send(to("ann@team.example"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_the_server_is_away_and_back_and_the_mail_comes_once(mail_server, tmp_path):
    """D10, through the real outbox: each recipient once, whoever else was away."""
    port, store = free_port(), open_store(tmp_path)
    sender = MessagePublisher(mail(port), lambda payload: to(payload["recipient"]))
    outbox = Outbox(store, [sender], time.time)
    store.when_owed(outbox.wake)
    names = ["ann@team.example", "bob@team.example"]
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(outbox.run)
            for name in names:
                payload = {"channel": "email", "recipient": name}
                await store.write(lambda tx, name=name, payload=payload: tx.owe("message", name, payload))
            with anyio.fail_after(10):
                while not any(one.attempts for one in store.read().outbox().records):
                    await anyio.sleep(0.01)
            async with mail_server(port=port) as server:
                with anyio.fail_after(15):
                    while store.read().outbox_counts().living:
                        await anyio.sleep(0.02)
            group.cancel_scope.cancel()
    finally:
        store.close()
    assert sorted(letter["To"] for letter in server.mails) == names


SLACK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


async def test_slack_mentions_nobody_and_links_nowhere_but_to_us(receive, monkeypatch):
    """Slack's own door, at another address: mrkdwn, with the outsiders' text as text."""
    import apprise

    double = receive()
    double.answers.append((200, {}, b"ok"))
    slack = apprise.NotificationManager()["slack"]
    monkeypatch.setattr(slack, "webhook_url", double.url(path="/services"))
    await publisher(Ways(slack=SLACK)).send(to("#builds", "slack"))
    (call,) = double.calls
    assert call.path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    said = json.loads(call.body)
    assert said["channel"] == "#builds"
    text = json.dumps(said, ensure_ascii=False)
    assert "AssertionError: 1 != 2" in text and "http://127.0.0.1:7777/requests/12" in text
    assert "<!channel>" not in text and "@everyone" not in text and "<script>" not in text and "<!here>" not in text


async def test_a_service_that_takes_less_gets_it_in_pieces(receive, monkeypatch):
    """Discord takes 2,000 characters, and would ping everybody."""
    import apprise

    double = receive()
    discord = apprise.NotificationManager()["discord"]
    monkeypatch.setattr(discord, "notify_url", double.url(path="/api/webhooks"))
    monkeypatch.setattr(discord, "request_rate_per_sec", 0)
    monkeypatch.setattr("formicary.runner.publish.schemes.fixed", lambda plugin: True)
    long = replace(NOTICE, excerpt="\n".join(f"{number} @everyone {'x' * 60}" for number in range(30)))
    key = "discord://123456789012345678/" + "t" * 68
    await publisher(Ways()).send(to(key, "urls", long))
    said = [json.loads(call.body)["content"] for call in double.calls]
    assert len(said) > 1 and all(len(one) <= 2000 for one in said)
    assert NOTICE.link in said[-1] and "@everyone" not in "".join(said)


async def test_the_operators_url_is_told_by_its_name(receive):
    """json:// has a free host: definitions say its name alone."""
    double = receive()
    ways = Ways(urls={"ops": f"json://127.0.0.1:{double.port}/alerts"})
    await publisher(ways).send(to("operator://ops", "urls"))
    (call,) = double.calls
    said = json.loads(call.body)
    assert (call.path, said["type"]) == ("/alerts", "failure")
    assert said["title"].startswith("[app] ci failed") and "Log of test:\n  | E   AssertionError" in said["message"]
    double.answers.append((500, {}, b"no"))
    with pytest.raises(WorldError, match=r"operator://ops could not be told .*500"):
        await publisher(ways).send(to("operator://ops", "urls"))
    double.answers.append((302, {"location": double.url(path="/elsewhere")}, b""))
    with pytest.raises(WorldError):
        await publisher(ways).send(to("operator://ops", "urls"))
    assert len(double.calls) == 3, "a redirect is not followed"


@pytest.mark.parametrize(
    ("recipient", "channel", "told"),
    [
        ("json://10.0.0.1/x", "urls", r"`json://` cannot be named in a definition"),
        ("mailto://user:pass@mail.example", "urls", r"`mailto://` cannot be named"),
        ("https://discord.com/api/webhooks/1/2", "urls", r"`https://` cannot be named"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?template=/etc/passwd", "slack", "`template` cannot be"),
        ("discord://id/token?avatar_url=http://10.0.0.1/", "urls", "`avatar_url` cannot be said"),
        ("operator://nobody", "urls", r"named no `nobody` in `notify_urls`"),
        ("slack://nonsense", "slack", r"`slack://…` is no address that can be told"),
        ("no-address", "urls", "this recipient is no URL"),
        ("#builds", "slack", "its operator has to set `slack`"),
        ("ann@team.example", "email", "its operator has to set `smtp`"),
    ],
)
async def test_what_cannot_be_told_says_why_and_shows_no_key(recipient, channel, told):
    """T14, T8."""
    with pytest.raises(Undeliverable, match=told) as caught:
        await publisher(Ways()).send(to(recipient, channel))
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in str(caught.value)


async def test_keys_in_urls_are_masked_in_errors(receive):
    """T8: what a library says of a failure may hold the URL, or a part of it."""
    double = receive()
    double.answers.append((500, {}, b""))
    for port in (double.port, free_port()):
        ways = Ways(urls={"ops": f"json://user:very-secret-word@127.0.0.1:{port}/very-secret-path"})
        with pytest.raises(WorldError, match=r"operator://\*\*\* could not be told .*(500|127\.0\.0\.1)") as caught:
            await publisher(ways, mask=lambda text: text.replace("ops", "***")).send(to("operator://ops", "urls"))
        assert "very-secret" not in str(caught.value)


def test_addresses_of_mail_servers():
    assert mail_at("smtp://localhost", SENDER) == Mail("localhost", 25, "insecure", SENDER)
    found = mail_at("smtp+starttls://ci%40x:p%20w@mail.example", SENDER)
    assert (found.port, found.mode, found.user, found.password) == (587, "starttls", "ci@x", "p w")
    assert mail_at("smtps://ci@mail.example:4650", SENDER, "word").password == "word"
    assert "word" not in repr(mail_at("smtps://ci@mail.example", SENDER, "word"))
    for url, sender in [
        ("mail.example:25", SENDER),
        ("http://x", SENDER),
        ("smtp://x", "nobody"),
        ("smtp://x:y", SENDER),
    ]:
        with pytest.raises(SetupError):
            mail_at(url, sender)


def test_apprise_is_imported_by_the_first_message():
    """Neither `serve` nor its notifications need it before."""
    code = "import sys, formicary.cli.serve, formicary.cli.outside; print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.stdout.strip() == "False", done.stderr
