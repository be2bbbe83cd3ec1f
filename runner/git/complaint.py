"""What git, ssh or curl complains of, as one sentence with the remedy; nothing secret is repeated. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from formicary.runner.git.address import Address, redacted

LONGEST: Final = 400

# Kinds of complaints that callers tell apart.
NO_REF: Final = "no ref"
CONTENT: Final = "content"
MOVED: Final = "moved"
NO_SHALLOW: Final = "no shallow"
OWN: Final = "own"
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Complaint:
    """`kind` is one of the constants above."""

    kind: str
    sentence: str


#: (what is looked for, kind, sentence). The first that fits counts; `{url}`, `{host}` and others are filled in.
_KNOWN: Final[Sequence[tuple[str, str, str]]] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        OTHER,
        "The ssh host key of {host} is another one than before. If that is right, take its old line out of {hosts}; "
        "until then nothing is fetched.",
    ),
    (
        r"Host key verification failed|No .* host key is known for",
        OTHER,
        "The ssh host key of {host} is not in {hosts}; check its fingerprint and add it (ssh-keyscan {port}{host}).",
    ),
    (
        r"Load key .*(invalid format|error in libcrypto|incorrect passphrase)|bad permissions|UNPROTECTED PRIVATE KEY",
        OTHER,
        "The deploy key cannot be used by ssh: it must be an unencrypted private key in a file of mode 0600 ({last}).",
    ),
    (
        r"Permission denied \(|Too many authentication failures",
        OTHER,
        "{host} does not accept the ssh key for {url}; add the deploy key there, or name another one (`deploy_key`).",
    ),
    (
        r"Authentication failed|HTTP Basic: Access denied|returned error: 40[13]|could not read Username"
        r"|could not read Password|terminal prompts disabled|returned error: 407",
        OTHER,
        "{host} does not let us read {url}: {why}.",
    ),
    (r"returned error: 30\d", MOVED, "{url} has moved; put its new address into `url`."),
    (
        r"couldn't find remote ref|not our ref|no such remote ref|unadvertised object",
        NO_REF,
        "What was asked for is not in {url} (any more): {last}",
    ),
    (
        r"repository '.*' not found|[Rr]epository not found|does not appear to be a git repository|returned error: 404"
        r"|not valid: is this a git repository|does not exist|project you were looking for could not be found",
        OTHER,
        "There is no repository at {url}, or our token or key may not see it; check `url`.",
    ),
    (r"dumb http transport does not support shallow|does not support shallow", NO_SHALLOW, "{last}"),
    (
        r"[Cc]ould not resolve|Name or service not known|Temporary failure in name resolution|nodename nor servname",
        OTHER,
        "The name {host} cannot be resolved; check the address, or this machine's DNS.",
    ),
    (
        r"SSL certificate|certificate verif|SSL_ERROR|SSL routines|SSLError|handshake|issuer|self.signed|CAfile",
        OTHER,
        "The TLS certificate of {host} is not accepted ({last}); install its authority on this machine, or set "
        "GIT_SSL_CAINFO to its file.",
    ),
    (
        r"cannot run ssh|ssh: (command )?not found|No such file or directory: '?ssh",
        OTHER,
        "There is no ssh on this machine, and {url} is reached by it; install openssh-client, or use an https address.",
    ),
    (
        r"Connection refused|[Ff]ailed to connect|[Cc]ouldn't connect|No route to host|Network is unreachable"
        r"|Host is down",
        OTHER,
        "{host} does not answer ({last}); it is tried again.",
    ),
    (
        r"timed out|too slow|Operation too slow|Timeout",
        OTHER,
        "{host} did not answer in time ({last}); it is tried again.",
    ),
    (
        r"File too large",
        OTHER,
        "{url} was not fetched: its mirror would need more bytes than it may have; raise `limit_mirror`.",
    ),
    (
        r"No space left on device|[Dd]isk quota exceeded",
        OTHER,
        "The disk with the data folder is full: the mirror of {url} cannot be brought up to date.",
    ),
    (
        r"fsck error|error in packed object|error in object|did not pass fsck|nullSha1|hasDot|gitmodules",
        CONTENT,
        "{url} sends an object that git refuses ({last}); run `git fsck` on it.",
    ),
    (
        r"returned error: (5\d\d|429)|remote error|internal server error",
        OTHER,
        "{host} has trouble of its own ({last}); it is tried again.",
    ),
    (
        r"not a git repository|bad object|is corrupt|object file .* is empty|unable to read tree|bad config"
        r"|invalid index-pack|cannot be read|did not send all necessary objects|missing (blob|tree|commit)"
        r"|packed-refs|unexpected line in|pack has bad object|garbage at end of loose|failed to read object"
        r"|remote did not send all|index file .* is too small|packfile .* (does not match|is far too short)"
        r"|unresolved delta|bad shallow|bad tree|invalid object|shallow file has changed",
        OWN,
        "The mirror of {url} is damaged ({last}).",
    ),
    (
        r"hung up unexpectedly|early EOF|RPC failed|[Cc]onnection (reset|closed)|unexpected disconnect|curl \d+"
        r"|expected flush|TLS connection was|TLS recv error|SSL_read"
        r"|protocol error|bad line length|invalid response|Empty reply",
        OTHER,
        "The connection to {host} broke ({last}); it is tried again.",
    ),
)
_COMPILED: Final = tuple((re.compile(pattern), kind, text) for pattern, kind, text in _KNOWN)


def explain(said: str, address: Address, *, secrets: Sequence[str], authenticated: bool, hosts: str) -> Complaint:
    """The complaint in what a failed git wrote. `hosts` names the known_hosts file that was used."""
    clean = without_secrets(said, secrets)
    why = (
        "its token is wrong, has expired, or may not read this repository"
        if authenticated
        else "it wants a token: `token_env` or `token_file`, or store one with `formicary secrets set --credential`"
    )
    words = {"url": address.url, "host": address.host or "this machine", "hosts": hosts, "why": why}
    words["port"] = f"-p {address.port} " if address.port else ""
    for pattern, kind, text in _COMPILED:
        if pattern.search(clean):
            return Complaint(kind, text.format(last=last_words(clean), **words))
    return Complaint(OTHER, f"{address.url} cannot be fetched: {last_words(clean)}")


def last_words(said: str) -> str:
    """The line in which git says what is wrong."""
    lines = [line.strip().removeprefix("remote: ") for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "ssh:", "error:", "curl:"))]
    chosen = (fatal or lines[-1:] or ["git gave no reason"])[0]
    return chosen.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")[:LONGEST]


def without_secrets(said: str, secrets: Sequence[str]) -> str:
    """The text with passwords in addresses and the given secrets taken out (T8)."""
    for secret in secrets:
        if secret:
            said = said.replace(secret, "***")
    return redacted(said)
