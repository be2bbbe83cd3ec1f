"""T14: no scheme that a definition may name leads to a host that the definition chooses. Every plugin of the installed
Apprise is looked at, and those that are allowed are made to call, with hostile values in every place of their URLs."""

import re
import socket

import apprise
import pytest

from formicary.runner.core.errors import Undeliverable
from formicary.runner.publish import schemes

PLUGINS = list(dict.fromkeys(apprise.NotificationManager().plugins()))
ALLOWED = schemes.allowed(PLUGINS)
BY_SCHEME = {scheme: plugin for plugin in PLUGINS for scheme in schemes.schemes_of(plugin)}

#: Schemes whose host the URL names, or that are no web service: one of them in the list would be the end of T14.
NAMED = """
json jsons xml xmls form forms mailto mailtos ntfy ntfys gotify gotifys matrix matrixs rocket rockets mmost mmosts
hassio hassios jellyfin emby kodi kodis apprise apprises nctalk ncloud synology synologys signal signals bark barks
mqtt mqtts rsyslog smpp smpps workflows zulip bluesky bsky nostr vapid fcm aprs syslog sns ses msteams
xmpp irc ircs lametric lametrics pushdeer pushdeers homeassistant growl prowler github mailgun
"""
FREE = frozenset(NAMED.split())
#: Values that fit the patterns of tokens here and there; the first that fits is taken.
FITTING = [
    "T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ", "123456789:" + "a" * 35, "12345678", "1234567890",
    "15551234567", "+15551234567", "a" * 8, "a" * 16, "a" * 20, "a" * 24, "a" * 30,
    "a" * 32, "a" * 34, "a" * 40, "a" * 64, "a" * 80,
    "A" * 32, "AC" + "a" * 32, "8b799edf-6f98-4d3a-9be7-2862fb4e5752", "int_" + "a" * 12, "*" + "A" * 7,
    "ann@example.com", "SCT" + "a" * 30, "xoxb-1234-1234-4ddbc191d40ee098cbaae6f3523ada2d",
]  # fmt: skip
HOSTILE = ["evil.example", "evil.example/x", "169.254.169.254", "a@evil.example", "x:y@evil.example", "#evil.example"]


def hosts_of(plugin):
    return {part for url in schemes.addresses(plugin) for part in [re.match(r"https://([^/:?]+)", url)[1]]}


@pytest.fixture
def called(monkeypatch):
    """Names that are looked up; nobody is found."""
    names = []

    def look(host, *_args, **_kwargs):
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "nobody is here")

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(apprise.plugins.NotifyBase, "request_rate_per_sec", 0)
    return names


def asset():
    return apprise.AppriseAsset(async_mode=False, http_redirects=False, service_timeout=0)


def send(url):
    """Whether Apprise takes this URL; if it does, it is made to call."""
    made = apprise.Apprise.instantiate(url, asset=asset(), suppress_exceptions=True)
    if made is None:
        return False
    made.request_rate_per_sec = 0
    made.notify(title="t", body="b")
    return True


def token(plugin, name, value=None):
    """A value for one place of a template."""
    if value is not None:
        return value
    regex = plugin.template_tokens.get(name, {}).get("regex")
    if not regex:
        return "ann@example.com" if "email" in name or name.startswith("from_addr") else FITTING[0]
    pattern = re.compile(regex[0], re.I if len(regex) > 1 and regex[1] and "i" in str(regex[1]) else 0)
    return next((one for one in FITTING if pattern.match(one)), FITTING[0])


def urls(scheme, plugin, hostile=None):
    """URLs of every form of the plugin; with `hostile` in each place in turn."""
    for form in plugin.templates:
        places = [name for name in re.findall(r"{(\w+)}", form) if name != "schema"]
        for chosen in places if hostile else [""]:
            values = {name: token(plugin, name, hostile if name == chosen else None) for name in places}
            yield form.format(schema=scheme, **values)


def test_the_list_is_neither_empty_nor_all():
    assert 40 < len(ALLOWED) < len(BY_SCHEME) / 2
    assert {"slack", "discord", "tgram", "pover"} <= ALLOWED
    assert set(BY_SCHEME) >= schemes.REVIEWED, "a scheme that Apprise has no more"


@pytest.mark.parametrize("scheme", sorted(BY_SCHEME))
def test_every_scheme_of_the_installed_apprise(scheme):
    """In the list are those alone whose table has no free host; each was looked at by a person."""
    plugin = BY_SCHEME[scheme]
    if scheme in FREE or any(word in form for form in plugin.templates for word in ("{host}", "{hostname}", "{port}")):
        assert scheme not in ALLOWED
    if scheme in ALLOWED:
        assert hosts_of(plugin) and all(re.fullmatch(r"[a-z0-9.-]+\.[a-z]{2,}", host) for host in hosts_of(plugin))


def test_nobody_who_chooses_a_host_is_in_the_list():
    assert not ALLOWED & FREE


def test_the_allowed_call_their_own_hosts_and_no_others(called):
    """As meant, and with a hostile value in each place of the URL."""
    reached = {}
    for scheme in sorted(ALLOWED):
        plugin = BY_SCHEME[scheme]
        for url in [*urls(scheme, plugin), *(one for value in HOSTILE for one in urls(scheme, plugin, value))]:
            called.clear()
            if send(url) and called:
                reached.setdefault(scheme, set()).update(called)
    for scheme, hosts in reached.items():
        assert hosts <= hosts_of(BY_SCHEME[scheme]), scheme
    assert len(reached) > 0.8 * len(ALLOWED), f"too few could be made to call: {sorted(ALLOWED - set(reached))}"


def test_a_plugin_that_changes_its_mind_is_dropped():
    """The table of the installed plugin counts, and not only the list."""

    class Free(BY_SCHEME["discord"]):
        notify_url = "https://{host}/api/webhooks"

    class Local(BY_SCHEME["discord"]):
        notify_url = "http://localhost/"

    class Named(BY_SCHEME["discord"]):
        templates = ("{schema}://{host}/{webhook_token}",)

    assert schemes.fixed(BY_SCHEME["discord"])
    assert not any(schemes.fixed(one) for one in (Free, Local, Named))


@pytest.mark.parametrize(
    "url", ["slack://T1/B1/C1?redirect=yes", "slack://T1/B1/C1/?+Host=x", "discord://a/b?template=/x"]
)
def test_what_stands_behind_the_question_mark_is_listed(url):
    with pytest.raises(Undeliverable, match="cannot be said behind"):
        schemes.check(url, ALLOWED)
    schemes.check("discord://a/b?format=text&overflow=split", ALLOWED)
