"""Which of Apprise's schemes a definition may name: those of services whose host nobody can choose (T14).

A scheme is allowed if a person has looked at it (`REVIEWED`) and Apprise's own table says of the plugin that is
installed that all its addresses are written in it. So neither a new plugin nor one that has changed its mind is
trusted by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from formicary.runner.core.errors import Undeliverable

#: Left out on purpose, although their table looks fixed: bluesky (the host comes from the account), fcm and vapid (a
#: file of ours is read), aprs and nostr (no HTTP), github (it writes issues).
REVIEWED: Final = frozenset([
    "brevo", "clicksend", "discord", "dingtalk", "feishu", "flock", "gchat", "ifttt", "ilert", "incidentio",
    "join", "lark", "line", "mailersend", "msgbird", "nexmo", "onesignal", "pagertree", "pbul", "plivo",
    "postmark", "pover", "prowl", "pushed", "pushme", "pushplus", "pushy", "revolt", "resend", "schan",
    "sendgrid", "signl4", "simplepush", "slack", "spike", "splunk", "spush", "stackfield", "telnyx", "tgram",
    "threema", "twilio", "twist", "viber", "victorops", "vonage", "webex", "wecombot", "wxteams", "zoom",
])  # fmt: skip
#: What a definition may say behind the `?`; everything else could name a file or an address.
QUERY: Final = frozenset({"format", "overflow", "priority", "silent"})
_FREE: Final = ("{host}", "{hostname}", "{port}", "{url}", "{domain}", "{server}", "{fullpath}", "?")
_NOT_CALLED: Final = frozenset({"service_url", "setup_url"})


def allowed(plugins: Any) -> frozenset[str]:
    """The schemes that definitions may name, of Apprise's plugins (its `NotificationManager`)."""
    return frozenset(scheme for plugin in plugins for scheme in schemes_of(plugin) if fixed(plugin)) & REVIEWED


def schemes_of(plugin: Any) -> Iterator[str]:
    """The schemes that a plugin answers to."""
    for names in (plugin.protocol, plugin.secure_protocol):
        yield from ([names] if isinstance(names, str) else names or ())


def fixed(plugin: Any) -> bool:
    """Whether every address in the plugin's table has a host that is written there, and its URLs name none."""
    called = list(addresses(plugin))
    literal = all(urlsplit(url).scheme == "https" and "{" not in urlsplit(url).netloc for url in called)
    return bool(called) and literal and not any(word in form for form in plugin.templates for word in _FREE)


def addresses(plugin: Any) -> Iterator[str]:
    """The addresses that the plugin's class holds."""
    for kind in plugin.__mro__:
        if kind.__name__ == "NotifyBase":
            return
        for name, value in vars(kind).items():
            if isinstance(value, str) and "://" in value and name not in _NOT_CALLED and not name.startswith("__"):
                yield value


def check(url: str, schemes: frozenset[str]) -> None:
    """Raises Undeliverable where a definition may not name this URL. No message repeats more than its scheme."""
    scheme, there, rest = url.partition("://")
    if not there:
        raise Undeliverable("this recipient is no URL such as `discord://…`")
    if scheme.lower() not in schemes:
        raise Undeliverable(
            f"`{scheme[:40]}://` cannot be named in a definition: the service may be anywhere. The operator can name "
            "it in `notify_urls`, and the definition then says `operator://NAME`"
        )
    for name, _ in parse_qsl(rest.partition("?")[2], keep_blank_values=True):
        if name.lower() not in QUERY:
            raise Undeliverable(f"`{name[:40]}` cannot be said behind `{scheme}://…?`; {', '.join(sorted(QUERY))} can")
