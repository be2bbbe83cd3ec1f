"""What a definition says about the world outside, and how each value must look: webhook, notify, status, secrets.

Only the look is decided here. Whether an address may be reached is for whoever reaches it, when he does. A secret is a
token here, so what a secret holds cannot be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, NoReturn

from formicary.runner.core.definition import MAX_NAME, Hook, Notify, Retention, Status
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar
from formicary.runner.core.loading.reader import Reader, Unread, When
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.names import SECRET_TOKEN

MAX_CONTEXT: Final = 255
"""Characters that GitHub takes for the context of a commit status."""
MAX_ADDRESS: Final = 254
"""Characters of a mail address (RFC 5321, 4.5.3.1.3)."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_IN_URL: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff\\]")
_HTTP: Final = re.compile(r"https?://(?P<host>[^/?#]*)(?:[/?#].*)?\Z", re.I)
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\[\]:@]+)(?::[0-9]{1,5})?\Z")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_MAIL: Final = re.compile(r"(?!-)[^\s@<>()\[\],;:\"\\]+@(?![.-])[^\s@<>()\[\],;:\"\\/]+(?<![.-])\Z")
_SLACK: Final = re.compile(r"[#@][^\s#@/,:<>?&]{1,80}\Z")
_APPRISE: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://[^\s/?#]\S*\Z")

#: Headers that belong to the connection, and not to what is said on it (RFC 9110, 7.6.1; RFC 9112).
OF_THE_CONNECTION: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def opaque(text: str) -> str:
    """The text with a plain letter for each secret."""
    return SECRET_TOKEN.sub("x", text)


def _needs(reader: Reader, node: Node, before: int, name: str, message: str, expected: str) -> NoReturn:
    """Tell that a key is missing, unless it is there or something else within the mapping is told already."""
    said = isinstance(node, MappingNode) and any(key.text == name for key, _ in node.pairs)
    if not said and len(reader.faults) == before:
        reader.tell(node, message, expected)
    raise Unread


def _tell(reader: Reader, node: Node, message: str, expected: str) -> None:
    """Tell it, but of a value that the attempt renders again: then it is the task that fails, and not the job."""
    if not (reader.when is When.PLAN and reader.late and isinstance(node, Scalar) and node.token):
        reader.tell(node, message, expected)


# --- webhook


def hook(reader: Reader, node: Node) -> Hook:
    before = len(reader.faults)
    fields = HOOK.read(reader, node)
    if "url" not in fields:
        expected = "say where to send it: `url: https://ci.example/hook`"
        _needs(reader, node, before, "url", "A webhook needs `url`", expected)
    return Hook(**fields)


def url(reader: Reader, node: Node) -> str:
    scalar = reader.scalar(node, "a URL")
    if not reader.settled(scalar):
        raise Unread
    text = reader.address(scalar).strip()
    if not text and reader.go and scalar.token:
        raise Unread  # nobody has said where to send it; the original runs the job all the same
    if wrong := _wrong_url(text):
        _tell(reader, node, wrong, "write `https://`, a host and a path; values go into `query`")
        raise Unread
    return text


def _wrong_url(text: str) -> str:
    if not text:
        return "What is called needs a URL"
    if _NOT_IN_URL.search(opaque(text)):
        return "A URL may not hold spaces, backslashes and control characters"
    if SECRET_TOKEN.match(text):
        return ""  # the secret may hold the scheme and the host
    found = _HTTP.match(opaque(text))
    if found is None:
        return f"`{opaque(text)[:60]}` is not an `http://` or `https://` URL"
    if "@" in found["host"]:
        return "A URL may not hold a user or password; use a header such as `Authorization`"
    return "" if _HOST.match(found["host"]) else f"`{found['host'][:60]}` is not a host, or a host and a port"


def headers(reader: Reader, node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, name, value, text in _pairs(reader, node, "headers"):
        if not _HEADER.match(opaque(name)) or SECRET_TOKEN.search(name):
            reader.tell(key, f"`{opaque(name)[:60]}` is not the name of a header", "write letters, digits and `-`")
        elif name.lower() in OF_THE_CONNECTION:
            reader.tell(key, f"The header `{name}` is set by who sends", "remove it")
        elif any(name.lower() == other.lower() for other in found):
            reader.tell(key, f"The header `{name}` is there twice", "remove one of the two")
        elif _CONTROL.search(text):
            _tell(reader, value, "A header is one line, and this value is not", "put it into `query`")
        else:
            found[name] = text.strip()
    return found


def query(reader: Reader, node: Node) -> dict[str, str]:
    return {name: text for _, name, _, text in _pairs(reader, node, "query")}


def _pairs(reader: Reader, node: Node, what: str) -> Iterator[tuple[Scalar, str, Node, str]]:
    if reader.empty(node):
        return
    outer = reader.tainted
    reader.tainted = False
    for name, key, value in reader.pairs(reader.mapping(node, what)):
        if reader.tainted:
            reader.tell(key, f"What outsiders can write may not name one of the {what}", "put it into a value")
        try:
            text = reader.string(value)
        except Unread:
            text = None
        reader.tainted = False
        if text is not None:
            yield key, name, value, text
    reader.tainted = outer


HOOK: Final = Table(
    "a webhook",
    {
        "url": Key(url, "text", instead="name the host in the file, and put what outsiders can write into `query`"),
        "headers": Key(headers, "headers"),
        "query": Key(query, "query"),
    },
)


# --- notify


def notify(reader: Reader, node: Node) -> tuple[Notify, ...]:
    found = CHANNELS.read(reader, node)
    return tuple(channel for channel in found.values() if channel.recipients)


def _channel(name: str, reader: Reader, node: Node) -> Notify:
    if not isinstance(node, MappingNode):
        reader.fail(
            node,
            f"`{name}` takes a mapping, and this is {reader.kind(node)}",
            "write `{recipients: […], when: onFailure}`",
        )
    before = len(reader.faults)
    fields = CHANNEL.read(reader, node)
    if "recipients" not in fields:
        expected = f"say whom to tell, such as {_LOOKS[name][1]}"
        _needs(reader, node, before, "recipients", f"`{name}` needs `recipients`", expected)
    listed: tuple[tuple[Node, str], ...] = fields.pop("recipients")
    return Notify(channel=name, recipients=tuple(_looked_at(reader, name, listed)), **fields)


def _looked_at(reader: Reader, channel: str, listed: tuple[tuple[Node, str], ...]) -> Iterator[str]:
    looks, example = _LOOKS[channel]
    for node, text in listed:
        if isinstance(node, Scalar) and not reader.settled(node):
            continue
        if reader.go and channel == "slack" and _BARE_CHANNEL.match(text):
            text = f"#{text}"  # as the original names them
        if not SECRET_TOKEN.match(text) and not looks(opaque(text)):
            told = f"`{opaque(text)[:60]}` is no recipient for `{channel}`"
            _tell(reader, node, told, f"write it as {example}")
            continue
        yield text


def recipients(reader: Reader, node: Node) -> tuple[tuple[Node, str], ...]:
    """Each with its place. Those that a template leaves empty are left out."""
    found: list[tuple[Node, str]] = []
    nothing: tuple[str, ...] = ()
    items = list(reader.flat(node))
    if not items:
        reader.fail(
            node, "There is nobody here to be told", 'name somebody; what begins with `#` needs quotes: `"#ci"`'
        )
    for item in items:
        texts = reader.attempt(partial(reader.strings, item), nothing)
        found.extend((item, text.strip()) for text in texts if text.strip())
    return tuple(found)


def _when(reader: Reader, node: Node) -> str:
    """When to tell. The original tells nothing where it does not know the word."""
    word = reader.attempt(partial(reader.choice, node, *WHEN), "")
    if not word and not reader.go:
        raise Unread
    return word or "never"


def _is_mail(text: str) -> bool:
    return len(text) <= MAX_ADDRESS and _MAIL.match(text) is not None and _CONTROL.search(text) is None


def _is_slack(text: str) -> bool:
    found = _APPRISE.match(text)
    return _SLACK.match(text) is not None or (found is not None and found["scheme"].lower() == "slack")


def _is_url(text: str) -> bool:
    return _APPRISE.match(text) is not None


WHEN: Final = ("always", "onSuccess", "onFailure", "onChange", "never")
_BARE_CHANNEL: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}\Z")
_LOOKS: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "email": (_is_mail, "`ann@team.example`"),
    "slack": (_is_slack, '`"#channel"`, `"@user"` or `slack://…`'),
    "urls": (_is_url, "`scheme://…`, as Apprise does"),
}
CHANNEL: Final = Table(
    "a channel of notify",
    {
        "recipients": Key(recipients, "texts", code=True, instead="name in the file who is to be told"),
        "when": Key(_when, "notify_when"),
    },
)
CHANNELS: Final = Table("notify", {name: Key(partial(_channel, name), "notify_channel") for name in _LOOKS})


# --- status, retention, secrets


def context(reader: Reader, node: Node) -> str:
    scalar = reader.scalar(node)
    if not reader.settled(scalar):
        raise Unread
    text = reader.string(node).strip()
    if _CONTROL.search(text) or SECRET_TOKEN.search(text):
        reader.fail(node, "A context is one line without secrets", "write a name such as `ci/test`")
    if len(text) > MAX_CONTEXT:
        reader.fail(node, f"This context has {len(text)} characters", f"use at most {MAX_CONTEXT}")
    return text


def status(reader: Reader, node: Node) -> Status:
    return Status(**STATUS.read(reader, node))


def retention(reader: Reader, node: Node) -> Retention:
    return Retention(**RETENTION.read(reader, node))


STATUS: Final = Table(
    "status",
    {
        "context": Key(context, "text"),
        "per_task": Key(Reader.boolean, "flag"),
        "enabled": Key(Reader.boolean, "flag"),
    },
)
RETENTION: Final = Table(
    "retention", {name: Key(Reader.duration, "duration") for name in ("completed", "failed", "cancelled")}
)


def secrets(reader: Reader, node: Node) -> tuple[str, ...]:
    """Names of secrets. When an attempt is rendered each of them must be there."""
    found: list[str] = []
    nothing: tuple[str, ...] = ()
    outer = reader.tainted
    for item in reader.flat(node):
        reader.tainted = False
        for name in filter(None, reader.attempt(partial(reader.strings, item), nothing)):
            if _is_known(reader, item, name) and name not in found:
                found.append(name)
    reader.tainted = outer
    return tuple(found)


def _is_known(reader: Reader, node: Node, name: str) -> bool:
    if reader.tainted:
        reader.tell(node, "What outsiders can write may not name a secret", "name it in the file")
    elif len(name) > MAX_NAME:
        reader.tell(node, f"This name has {len(name)} characters", f"use at most {MAX_NAME}")
    elif reader.lenient or name in reader.secrets:
        return True
    else:
        told = f"There is no secret `{name}` for this run"
        reader.tell(node, told, "check the name, or store it; what outsiders have sent in gets no secrets")
    return False
