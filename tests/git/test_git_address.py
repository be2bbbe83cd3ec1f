"""Addresses of remotes: what is taken, what it is called, and that no password is repeated; complaints as sentences."""

import pytest

from formicary.runner.core.errors import SetupError
from formicary.runner.git import complaint
from formicary.runner.git.address import is_address, parse, redacted
from formicary.runner.git.remote import Credentials


@pytest.mark.parametrize(
    ("url", "scheme", "host", "name", "slug"),
    [
        ("https://github.com/hill/ants.git", "https", "github.com", "ants", "hill/ants"),
        ("https://example.org:8443/group/sub/ants/", "https", "example.org", "ants", "group/sub/ants"),
        ("git@github.com:hill/ants.git", "ssh", "github.com", "ants", "hill/ants"),
        ("git@[::1]:ants", "ssh", "::1", "ants", ""),
        ("ssh://git@example.org:2222/~/ants.git", "ssh", "example.org", "ants", ""),
        ("file:///srv/git/ants.git", "file", "", "ants", "srv/git/ants"),
        ("file:///srv/ants/.git", "file", "", "ants", "srv/ants"),
        ("http://[::1]:8080/a.git", "http", "::1", "a", ""),
    ],
)
def test_addresses(url, scheme, host, name, slug):
    found = parse(url)
    assert (found.scheme, found.host, found.name, found.slug) == (scheme, host, name, slug)
    assert is_address(url)


@pytest.mark.parametrize(
    ("url", "forge"),
    [
        ("https://github.com/a/b.git", "github"),
        ("git@GitLab.com:a/b/c.git", "gitlab"),
        ("https://codeberg.org/a/b", "gitea"),
        ("ssh://git@gitea.com/a/b", "gitea"),
        ("https://gitlab.example.org/a/b", ""),
        ("https://github.com.example/a/b", ""),
    ],
)
def test_forges_that_are_known_by_their_host(url, forge):
    assert parse(url).forge == forge


@pytest.mark.parametrize("text", [".", "/srv/git/a.git", "../a", "a:b", "C:/x", "name"])
def test_folders_are_no_addresses(text):
    assert not is_address(text)


def test_two_spellings_of_one_place():
    spellings = ("https://Example.org/a/b.git", "https://example.org/a/b/", "https://EXAMPLE.org/a/b")
    assert len({parse(one).identity for one in spellings}) == 1
    assert parse("https://example.org/a/b").identity != parse("https://example.org:8443/a/b").identity


@pytest.mark.parametrize(
    "url",
    [
        "https://ada:s3cret@example.org/a.git",
        "https://s3cret@example.org/a.git",
        "ssh://git:s3cret@example.org/a.git",
        "https://ada:s3cret@example.org:99999/a.git",
        "ftp://ada:s3cret@example.org/a.git",
        "https://s3cret@/a.git",
    ],
)
def test_a_password_is_refused_and_never_repeated(url):
    with pytest.raises(SetupError) as caught:
        parse(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c id", "fd::7", "https://", "https://example.org/", "git@-oProxyCommand=x:a", "git@-x:a",
        "ssh://-oProxyCommand=x/a", "git@example.org:-x", "https://example.org/a\nb", "file://other/srv/a.git",
        "https://example.org/a?token=x", "transport-helper::https://example.org/a", "https://example.org/" + "a" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_address(url):
    """Nothing that git would take for an option, another helper or a second line."""
    with pytest.raises(SetupError):
        parse(url)


def test_redacted():
    assert redacted("see https://ada:pw@h/a and ssh://git@h/b") == "see https://h/a and ssh://h/b"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("fatal: unable to access 'https://h/a/': The requested URL returned error: 403", complaint.OTHER, "its token"),
        ("fatal: unable to access 'https://h/a/': The requested URL returned error: 301", complaint.MOVED, "has moved"),
        ("fatal: remote error: upload-pack: not our ref 123", complaint.NO_REF, "any more"),
        ("error: object 12: hasDotgit: contains '.git'\nfatal: fsck error in packed object", complaint.CONTENT, "fsck"),
        ("fatal: not a git repository: '/data/mirrors/a.git'", complaint.OWN, "damaged"),
        ("fatal: bad object refs/heads/main", complaint.OWN, "damaged"),
        ("fatal: write error: No space left on device", complaint.OTHER, "disk"),
        ("ssh: Could not resolve hostname h: Name or service not known", complaint.OTHER, "resolved"),
        ("ssh: connect to host h port 22: Connection timed out", complaint.OTHER, "in time"),
        ("error: cannot run ssh: No such file or directory", complaint.OTHER, "openssh-client"),
        ("fatal: early EOF", complaint.OTHER, "broke"),
        ("fatal: never seen before", complaint.OTHER, "never seen before"),
        ("", complaint.OTHER, "git gave no reason"),
    ],
)
def test_complaints(said, kind, words):
    secret = Credentials(token="s3cret-token")
    found = complaint.explain(
        f"{said} s3cret-token {secret.basic}" if said else "",
        parse("https://h/a"),
        secrets=secret.secrets,
        authenticated=True,
        hosts="/known_hosts",
    )
    assert found.kind == kind
    assert words in found.sentence
    assert "s3cret" not in found.sentence
    assert secret.basic.removeprefix("Basic ") not in found.sentence


def test_a_host_key_is_looked_for_at_the_port_that_is_used():
    found = complaint.explain(
        "Host key verification failed.", parse("ssh://h:2222/a"), secrets=(), authenticated=False, hosts="/known_hosts"
    )
    assert found.sentence.endswith("add it (ssh-keyscan -p 2222 h).")
