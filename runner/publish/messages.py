"""Sends notices to people by Apprise: mail through the operator's SMTP server, his Slack, and services by URL.

One entry of the outbox is one recipient, so what has arrived at one is not sent again because another was away (D10).
Apprise blocks: each sending has a thread, and its sockets give up by themselves. It is imported by the first one.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio
import anyio.to_thread

from formicary.runner.core.errors import SetupError, Undeliverable, WorldError
from formicary.runner.core.records import OutboxEntry
from formicary.runner.core.secrets.masking import Masker
from formicary.runner.publish import schemes
from formicary.runner.publish.notice import Notice, as_html, as_markdown, as_text, one_line, one_line_of_chat

AT_ONCE: Final = 4
OPERATOR: Final = "operator"
SOCKET_SECONDS: Final = 15
MOST_SAID: Final = 300
SHORTEST_KEY: Final = 6
_MODES: Final = {"smtp": ("insecure", 25), "smtp+starttls": ("starttls", 587), "smtps": ("ssl", 465)}
_SLACK_HOOK: Final = re.compile(r"https://hooks\.slack\.com/services/(?P<a>[^/\s]+)/(?P<b>[^/\s]+)/(?P<c>[^/\s]+)/?\Z")
#: What an SMTP server answers when there is no such mailbox (RFC 5321, 4.2.3).
_NO_MAILBOX: Final = re.compile(r"\(55[013], b")


@dataclass(frozen=True, slots=True)
class Mail:
    """The operator's SMTP server. `mode` is Apprise's word: insecure, starttls, ssl."""

    host: str
    port: int
    mode: str
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)


def mail_at(url: str, sender: str, password: str = "") -> Mail:
    """From `smtp://host:25`, `smtp+starttls://user@host:587` or `smtps://user:password@host`. Raises SetupError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SetupError(f"`smtp` is no address of a mail server: {error}") from error
    if parts.scheme not in _MODES or not host:
        raise SetupError(f"`smtp` must look like smtp+starttls://user@host:587; the schemes are {', '.join(_MODES)}")
    if "@" not in parseaddr(sender)[1]:
        raise SetupError("`smtp` needs `smtp_from`, such as `Formicary <ci@example.org>`")
    mode, usual = _MODES[parts.scheme]
    user, inline = unquote(parts.username or ""), unquote(parts.password or "")
    return Mail(host, port or usual, mode, sender, user, password or inline)


@dataclass(frozen=True, slots=True)
class Ways:
    """How the operator lets people be told. `slack`: a webhook's URL or a token; `urls`: name → an Apprise URL."""

    mail: Mail | None = None
    slack: str = field(default="", repr=False)
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A notice for one recipient, with his secrets filled in; and these, so that no error shows them."""

    notice: Notice
    channel: str
    recipient: str
    secrets: tuple[str, ...] = ()


Compose = Callable[[Mapping[str, Any]], Message | None]
"""An entry's payload → what to send, None where that is gone. Reads store and logs; raises Undeliverable."""


class MessagePublisher:
    """The `Publisher` of kind `message`."""

    kind = "message"

    def __init__(self, ways: Ways, compose: Compose, mask: Callable[[str], str] = lambda text: text) -> None:
        self._ways = ways
        self._compose = compose
        self._mask = mask
        self._hands = anyio.CapacityLimiter(AT_ONCE)
        own = [ways.mail.password if ways.mail else "", ways.slack, *ways.urls.values()]
        own += [part for url in (ways.slack, *ways.urls.values()) for part in _keys_in(url)]
        self._own = tuple(filter(None, own))

    def lane(self, entry: OutboxEntry) -> str:
        """One for the mail server, one for Slack, one a service."""
        channel, recipient = str(entry.payload["channel"]), str(entry.payload["recipient"])
        scheme, there, rest = recipient.partition("://")
        if not there:
            return channel
        return f"{OPERATOR} {rest}" if scheme == OPERATOR else scheme

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        message = await anyio.to_thread.run_sync(self._compose, payload)
        if message is not None:
            await self.send(message)

    async def send(self, message: Message) -> None:
        """Raises WorldError, Undeliverable."""
        masker = Masker((*message.secrets, *self._own, *_keys_in(message.recipient)))
        try:
            await anyio.to_thread.run_sync(self._send, message, limiter=self._hands, abandon_on_cancel=True)
        except (Undeliverable, WorldError) as error:
            raise type(error)(self._mask(masker.text(str(error)))) from None

    def _send(self, message: Message) -> None:
        apprise = _apprise()
        asset = apprise.AppriseAsset(
            app_id="Formicary", app_desc="Formicary", app_url="", async_mode=False, http_redirects=False,
            image_url_mask="", image_url_logo="", pgp_autogen=False, pem_autogen=False, service_timeout=0,
            default_service_retry=0,
        )  # fmt: skip
        with _Heard() as heard:
            plugin = apprise.Apprise.instantiate(self._where(message, apprise), asset=asset)
            if plugin is None:
                raise Undeliverable(f"`{_whose(message)}` is no address that can be told ({heard.said()})")
            if not _notify(apprise, plugin, message.notice, asset):
                _complain(message, heard)

    def _where(self, message: Message, apprise: Any) -> Any:
        """What Apprise makes a plugin of. Raises Undeliverable."""
        if message.channel == "email":
            return self._mail_to(message.recipient)
        scheme, there, name = message.recipient.partition("://")
        if not there and message.channel == "slack":
            return self._slack_to(message.recipient)
        if scheme == OPERATOR:
            if name not in self._ways.urls:
                raise Undeliverable(f"the operator has named no `{name[:40]}` in `notify_urls`")
            return self._ways.urls[name]
        schemes.check(message.recipient, schemes.allowed(apprise.NotificationManager().plugins()))
        return message.recipient

    def _mail_to(self, recipient: str) -> Mapping[str, Any]:
        mail = self._ways.mail
        if mail is None:
            raise Undeliverable("this server sends no mail: its operator has to set `smtp` and `smtp_from`")
        return {
            "schema": "mailto" if mail.mode == "insecure" else "mailtos",
            "host": mail.host,
            "smtp_host": mail.host,
            "port": mail.port,
            "secure_mode": mail.mode,
            "user": mail.user or None,
            "password": mail.password or None,
            "from_addr": mail.sender,
            "targets": [recipient],
            "cto": SOCKET_SECONDS,
        }

    def _slack_to(self, recipient: str) -> Mapping[str, Any]:
        slack = self._ways.slack
        if not slack:
            raise Undeliverable("this server has no Slack: its operator has to set `slack`")
        found = _SLACK_HOOK.match(slack)
        tokens = {f"token_{name}": found[name] for name in "abc"} if found else {"access_token": slack}
        return {"schema": "slack", **tokens, "targets": [recipient], "include_image": False, "include_footer": False}


def _keys_in(url: str) -> list[str]:
    """What may be a key in a URL: all but its scheme, its host and short words."""
    _, there, rest = url.partition("://")
    if not there or url.startswith(f"{OPERATOR}://"):
        return []
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    where, _, query = rest.partition("?")
    parts = [*map(unquote, re.split(r"[/@:#]", where)), *(value for _, value in parse_qsl(query))]
    return [part for part in parts if len(part) >= SHORTEST_KEY and part.lower() != host]


def _notify(apprise: Any, plugin: Any, notice: Notice, asset: Any) -> bool:
    formats = apprise.NotifyFormat
    shape = plugin.resolve_format()
    written = {formats.HTML: as_html, formats.MARKDOWN: as_markdown}.get(shape, as_text)
    kinds = {True: apprise.NotifyType.SUCCESS, False: apprise.NotifyType.FAILURE, None: apprise.NotifyType.INFO}
    title = one_line(notice.subject) if written is as_html else one_line_of_chat(notice.subject)
    if plugin.overflow_mode == apprise.OverflowMode.UPSTREAM:
        plugin.overflow_mode = apprise.OverflowMode.SPLIT  # a service that takes less gets it in pieces
    everyone = apprise.Apprise(asset=asset)
    everyone.add(plugin)
    return bool(everyone.notify(title=title, body=written(notice), body_format=shape, notify_type=kinds[notice.good]))


def _complain(message: Message, heard: _Heard) -> None:
    told = f"{_whose(message)} could not be told ({heard.said()})"
    raise Undeliverable(told) if heard.matches(_NO_MAILBOX) else WorldError(told)


def _whose(message: Message) -> str:
    """The recipient, as far as it can be shown: of a URL its scheme, since the rest is a key."""
    scheme, there, _ = message.recipient.partition("://")
    return message.recipient if message.channel == "email" or not there or scheme == OPERATOR else f"{scheme}://…"


def _apprise() -> Any:
    """Apprise, whose own log is ours to read and nobody else's: it knows too much."""
    import apprise

    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    return apprise


class _Heard(logging.Handler):
    """What Apprise complains about on this thread, while the context is open."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._thread = threading.get_ident()
        self._lines: list[str] = []

    def __enter__(self) -> _Heard:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.thread == self._thread and (record.levelno >= logging.WARNING or text.startswith("Socket Exception")):
            self._lines.append(text)

    def matches(self, pattern: re.Pattern[str]) -> bool:
        return any(pattern.search(line) for line in self._lines)

    def said(self) -> str:
        return one_line("; ".join(self._lines) or "no reason was given", MOST_SAID)
