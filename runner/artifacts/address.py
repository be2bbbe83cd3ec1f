"""Where a bucket is and with whose keys it is opened, as the operator wrote it. Keys never stand in an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from formicary.runner.core.errors import SetupError

SCHEME: Final = "s3://"
FORM: Final = "s3://bucket/prefix?endpoint=host:port&region=…&secure=true"
AWS: Final = "s3.amazonaws.com"
REGION: Final = "us-east-1"
VARIABLES: Final = "FORMICARY_S3_ACCESS_KEY and FORMICARY_S3_SECRET_KEY"
_KNOWN: Final = ("endpoint", "region", "secure")
_BUCKET: Final = re.compile(r"(?!\d+(\.\d+){3}$)(?!.*(\.\.|\.-|-\.))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENDPOINT: Final = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?")
_TRUTH: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Address:
    """A bucket, and the beginning of all keys in it: empty, or ending in `/`. `region` None: the server is asked."""

    bucket: str
    prefix: str = ""
    endpoint: str = AWS
    region: str | None = None
    secure: bool = True

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix} at {self.endpoint}"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who opens the bucket. `session` is the token of keys that were lent for a time."""

    access: str
    secret: str = field(repr=False)
    session: str | None = field(default=None, repr=False)


def address_of(text: str) -> Address:
    """Read `s3://bucket/prefix?endpoint=host:port&region=…&secure=false`. Raises SetupError with the form to write."""
    parts = urlsplit(text)
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    _refuse_keys(parts, asked)
    if unknown := sorted(asked.keys() - set(_KNOWN)):
        raise SetupError(f"`{unknown[0]}` is not known in the address of a bucket; there is {', '.join(_KNOWN)}")
    if parts.scheme != "s3" or not parts.netloc or parts.fragment:
        raise SetupError(f"this is not the address of a bucket; write {FORM}")
    if not _BUCKET.fullmatch(parts.netloc):
        raise SetupError(
            f"no bucket can be called `{parts.netloc}`; a name has 3 to 63 small letters, digits, dots and dashes"
        )
    endpoint = asked.get("endpoint") or AWS
    if not _ENDPOINT.fullmatch(endpoint):
        raise SetupError(f"`endpoint` is a host with or without a port, such as minio.example.org:9000, not {endpoint}")
    secure = asked.get("secure", "true").lower()
    if secure not in _TRUTH:
        raise SetupError(f"`secure` is true (https) or false (http), not {secure}")
    prefix = parts.path.strip("/")
    if ".." in prefix.split("/") or "//" in prefix:
        raise SetupError("the prefix of a bucket's address has an empty part or `..` in it; leave them out")
    region = asked.get("region") or (None if endpoint == AWS else REGION)
    return Address(parts.netloc, f"{prefix}/" if prefix else "", endpoint, region, _TRUTH[secure])


def keys_of(access: str, secret: str, environment: Mapping[str, str]) -> Keys:
    """The operator's own keys, else the usual AWS variables. Raises SetupError where there are none, or half."""
    if access and secret:
        return Keys(access, secret)
    if access or secret:
        raise SetupError(f"only one of the keys of the bucket is set; set both {VARIABLES}")
    access, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    if not access or not secret:
        raise SetupError(f"there are no keys for the bucket; set {VARIABLES}")
    return Keys(access, secret, environment.get("AWS_SESSION_TOKEN") or None)


def _refuse_keys(parts: SplitResult, asked: Mapping[str, str]) -> None:
    """Without repeating what was written: it is a secret."""
    if "@" in parts.netloc or any("key" in name.lower() or "secret" in name.lower() for name in asked):
        raise SetupError(
            f"keys do not belong into the address of a bucket, where every process list shows them; set {VARIABLES}"
        )
