"""What callers get to see of git: plain text and numbers, decoded so that nothing later can stumble over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_TIME: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit. `time` is the committer's, in seconds since 1970; `parents` as written, even where history ends."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: str
    author_email: str
    message: str
    time: int


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of a commit. Where it cannot be used, `text` is None and `problem` says why and what to do."""

    path: str
    sha: str
    size: int
    text: str | None
    problem: str | None = None


def decode(raw: bytes, encoding: str = "utf-8") -> str:
    """Text that any database, page or environment takes: no lone surrogates, no NUL."""
    try:
        text = raw.decode(encoding, "replace")
    except (LookupError, ValueError):
        text = raw.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


def decode_path(raw: bytes) -> str:
    return decode(raw)


def split_identity(raw: bytes, encoding: str) -> tuple[str, str]:
    """`Name <mail>` as (name, mail); what does not look like that is all name."""
    name, found, rest = raw.partition(b"<")
    mail = rest.rpartition(b">")[0] if found else b""
    return decode(name, encoding).strip(), decode(mail, encoding).strip()


def parse_commit(sha: str, raw: bytes) -> Commit:
    """Read a commit's own bytes. A field that is missing or absurd becomes empty or 0 instead of an error."""
    head, _, body = raw.partition(b"\n\n")
    fields: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        fields.setdefault(key, []).append(value)
    encoding = decode(fields.get(b"encoding", [b"utf-8"])[0]) or "utf-8"
    author, email = split_identity(fields.get(b"author", [b""])[0], encoding)
    return Commit(
        sha=sha,
        tree=decode(fields.get(b"tree", [b""])[0]),
        parents=tuple(decode(parent) for parent in fields.get(b"parent", [])),
        author=author,
        author_email=email,
        message=decode(body, encoding),
        time=_time(fields.get(b"committer", [b""])[0]),
    )


def _time(identity: bytes) -> int:
    words = identity.rpartition(b">")[2].split()
    if not words or not words[0].isdigit() or len(words[0]) > 15:
        return 0
    return min(int(words[0]), MAX_TIME)
