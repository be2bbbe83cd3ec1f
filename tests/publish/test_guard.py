"""T14: nobody inside is called, however his address is written, hidden, moved or reached by a redirect."""

import socket

import httpx
import pytest

from formicary.runner.core.errors import SetupError, WorldError
from formicary.runner.publish.guard import AddressRefused, Guard, Reach, guarded_client

PORT = 8080
WORLD = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
INSIDE = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"],
    "link-local": ["169.254.1.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.1.1"],
    "metadata": ["169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "::ffff:a9fe:a9fe"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1"],
    "special": ["255.255.255.255", "240.0.0.1", "192.0.0.8", "198.18.0.1", "2001::1", "2001:db8::1", "::127.0.0.1"],
    "special ": ["64:ff9b:1::a00:1", "fec0::1", "100::1", "3fff::1", "5f00::1"],
}


class Names:
    """A resolver of the test's own: name → its answers, one a question, the last one for ever."""

    def __init__(self, **names):
        self.answers = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append(host)
        if host not in self.answers:
            return [host]
        answers = self.answers[host]
        return answers[0] if len(answers) == 1 else answers.pop(0)


def client(names=None, allow=(), **kwargs):
    return guarded_client(Guard(Reach.of(allow), names or Names()), timeout=5, **kwargs)


@pytest.mark.parametrize("address", WORLD)
def test_the_world_may_be_called(address):
    assert Reach().objection(address) == ""


@pytest.mark.parametrize(("kind", "address"), [(kind, one) for kind, many in INSIDE.items() for one in many])
def test_what_is_inside_may_not(kind, address):
    assert Reach().objection(address) == kind.strip()


def test_no_network_at_the_edges_is_forgotten():
    """The neighbours of each private network are the world's."""
    for address in ["9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"]:
        assert Reach().objection(address) == "", address
    for address in ["100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "223.255.255.255"]:
        assert Reach().objection(address) == "", address


def test_the_operator_allows_networks_and_metadata_by_its_address_alone():
    reach = Reach.of(["10.1.0.0/16", "fd12::/48", "0.0.0.0/1", "::/0"])
    assert [reach.objection(one) for one in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1", "127.0.0.1")] == [""] * 4
    assert reach.objection("192.168.0.1") == "private"
    assert Reach.of(["0.0.0.0/0", "::/0"]).objection("169.254.169.254") == "metadata"
    assert Reach.of(["0.0.0.0/0", "::/0"]).objection("fd00:ec2::254") == "metadata"
    assert Reach.of(["169.254.169.254/32"]).objection("169.254.169.254") == ""
    with pytest.raises(SetupError, match=r"allow_networks.*10\.0\.0\.1/8"):
        Reach.of(["10.0.0.1/8"])


LOOPBACKS = """localhost LOCALHOST 2130706433 0x7f000001 0x7f.1 127.1 0 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1]
[0:0:0:0:0:ffff:7f00:1]"""
NEVER = """http://0177.0.0.1/ http://[fe80::1%25eth0]/ http://[fe80::1%eth0]/ http:///path http://user@8.8.8.8/
http://user:word@8.8.8.8/ http://:word@8.8.8.8/ ftp://8.8.8.8/ file:///etc/passwd gopher://8.8.8.8/ http://[::1
http://\N{CIRCLED LATIN SMALL LETTER L}ocalhost/ http://\N{FULLWIDTH DIGIT ONE}27.0.0.1/"""


@pytest.mark.parametrize("host", LOOPBACKS.split())
async def test_every_spelling_of_loopback_is_found_out_by_the_systems_resolver(host, receive):
    """Decimal, hexadecimal, short and mapped addresses, to a server that would answer."""
    server = receive()
    async with guarded_client(Guard(), timeout=5) as caller:
        with pytest.raises(AddressRefused, match="is not called: the address is"):
            await caller.get(f"http://{host}:{server.port}/")
    assert server.calls == []


@pytest.mark.parametrize("url", [*NEVER.split(), "http://a b/"])
async def test_urls_that_are_not_called_at_all(url):
    """Octal, full-width digits, zones, userinfo and other schemes: refused before a name is looked up."""
    names = Names()
    async with client(names) as caller:
        with pytest.raises((AddressRefused, httpx.InvalidURL)):
            await caller.get(url)
    assert names.asked == []


async def test_punycode_is_what_is_resolved(receive):
    """A name beyond ASCII is asked for, and said to the server, as its A-label."""
    server = receive()
    names = Names(**{"xn--bcher-kva.example": [["127.0.0.1"]]})
    async with client(names, ["127.0.0.1/32"]) as caller:
        answer = await caller.get(f"http://bücher.example:{server.port}/")
    assert (answer.status_code, names.asked) == (200, ["xn--bcher-kva.example"])
    assert server.calls[0].headers["Host"] == f"xn--bcher-kva.example:{server.port}"


async def test_one_address_inside_is_enough_to_refuse(receive):
    server = receive()
    names = Names(two_example=[["8.8.8.8", "127.0.0.1"]])
    async with client(names) as caller:
        with pytest.raises(AddressRefused, match=r"`two\.example` \(127\.0\.0\.1\).* loopback"):
            await caller.get(server.url("two.example"))
    assert server.calls == []


async def test_a_name_that_changes_its_mind_is_called_where_it_was_checked(receive):
    """DNS rebinding: each request asks once, and goes to what that answer was; the next one is judged anew."""
    server = receive()
    names = Names(rebind_invalid=[["127.0.0.1"], ["127.0.0.2"]])
    async with client(names, ["127.0.0.1/32"]) as caller:
        answer = await caller.post(server.url("rebind.invalid"), content=b"x")
        assert (answer.status_code, names.asked) == (200, ["rebind.invalid"])
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.2"):
            await caller.post(server.url("rebind.invalid"), content=b"x")
    assert [call.headers["Host"] for call in server.calls] == [f"rebind.invalid:{server.port}"]


async def test_a_redirect_is_judged_like_the_first_url(receive):
    server, inner = receive(), receive()
    names = Names(open_example=[["127.0.0.1"]], inner_example=[["127.0.0.2"]], localhost=[["::1", "127.0.0.1"]])
    for target in (inner.url("inner.example"), inner.url("127.0.0.3"), inner.url("localhost"), "file:///etc/passwd"):
        server.answers.append((302, {"location": target}, b""))
        async with client(names, ["127.0.0.1/32"], follow=True) as caller:
            with pytest.raises((AddressRefused, httpx.UnsupportedProtocol)):
                await caller.get(server.url("open.example"))
    assert len(server.calls) == 4 and inner.calls == []


async def test_redirects_end(receive):
    server = receive()
    server.answers.extend([(302, {"location": "/again"}, b"")] * 20)
    async with client(Names(), ["127.0.0.1/32"], follow=True) as caller:
        with pytest.raises(httpx.TooManyRedirects):
            await caller.get(server.url())
    assert len(server.calls) == 6


async def test_tls_sees_the_name(receive, certificate):
    """The certificate is checked against the name and not the address, and SNI says the name."""
    ours, theirs = certificate("hook.example"), certificate("other.example")
    good, bad = receive(context=ours.server), receive(context=theirs.server)
    names = Names(hook_example=[["127.0.0.1"]])
    async with client(names, ["127.0.0.1/32"], verify=ours.client) as caller:
        assert (await caller.get(good.url("hook.example", scheme="https"))).status_code == 200
    assert good.names == ["hook.example"]
    async with client(names, ["127.0.0.1/32"], verify=theirs.client) as caller:
        with pytest.raises(httpx.ConnectError, match=r"mismatch|hostname"):
            await caller.get(bad.url("hook.example", scheme="https"))
    assert bad.calls == []


async def test_the_next_address_is_tried_and_proxies_are_not_asked(receive, monkeypatch):
    """What listens on the second address alone is reached; the environment's proxy would have been somebody inside."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server = receive(host="127.0.0.2")
    names = Names(two_example=[["127.0.0.1", "127.0.0.2"]])
    async with client(names, ["127.0.0.0/8"]) as caller:
        assert (await caller.post(server.url("two.example"), content=b"body")).status_code == 200
    assert server.calls[0].body == b"body"


async def test_an_ipv6_address_is_called(receive):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    async with client(Names(six_example=[["::1"]]), ["::1/128"]) as caller:
        with pytest.raises(httpx.ConnectError):  # nobody listens there: it was tried
            await caller.get("http://six.example:9/")


async def test_a_name_that_nobody_knows_is_the_worlds_trouble():
    async with guarded_client(Guard(), timeout=5) as caller:
        with pytest.raises(WorldError, match=r"the host `nobody\.invalid` cannot be found"):
            await caller.get("http://nobody.invalid/")
