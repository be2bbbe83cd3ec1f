"""The top of the HTTP executor: a task as the request it asks for, redirects, what an answer tells. It is pure.

Nothing is sent that the task does not name, but for `Host`, `Accept`, `Accept-Encoding: identity` (an answer is kept as
it comes), `User-Agent`, and what a body needs: `Content-Length` and `Content-Type`. A task's `headers` replace ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from formicary.runner.core.definition import HTTP_METHODS, TaskDefinition, Value
from formicary.runner.core.language.functions import text_of

MOST_REDIRECTS: Final = 5
MOST_JSON: Final = 1 << 19
"""Bytes of an answer that is looked into for outputs; all outputs of a task together may have 1 MiB."""
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|\Z)", re.I)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: What a redirect that turns into a GET leaves behind with its body.
_OF_THE_BODY: Final = frozenset({"content-type", "content-encoding", "content-language", "content-location"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the headers that we add, those of the task, and its body."""

    method: str
    url: httpx.URL
    ours: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    @property
    def shown(self) -> str:
        """For the log; secrets in it are masked by whoever writes the log."""
        return f"{self.method} {self.url}"

    def made(self) -> httpx.Request:
        """As it is sent."""
        named = {name.lower() for name, _ in self.headers}
        headers = [
            (name.encode("ascii"), value.encode("utf-8", "surrogateescape"))
            for name, value in (*(one for one in self.ours if one[0].lower() not in named), *self.headers)
        ]
        return httpx.Request(self.method, self.url, headers=headers, content=self.body)


def request_of(task: TaskDefinition, version: str) -> Request:
    """What this task sends. Raises ValueError, with a sentence for the log, where it cannot be sent."""
    if not task.url.strip():
        raise ValueError("There is no URL to call: what `url` is made of is empty.")
    try:
        url = httpx.URL(task.url.strip()).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError(f"The URL cannot be called ({error}): check it, and the values and secrets in it.") from error
    if task.query:
        url = url.copy_merge_params(dict(task.query))
    body, kind = _body(task)
    ours = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"formicary/{version}"}
    if kind:
        ours["Content-Type"] = kind
    named = tuple((name, _line(name, value)) for name, value in task.headers.items())
    return Request(HTTP_METHODS[task.method], url, tuple(ours.items()), named, body)


def _line(name: str, value: str) -> str:
    """A secret often ends with the newline of its file."""
    if _CONTROL.search(value := value.strip()):
        raise ValueError(f"The header {name} holds several lines or control characters: a header is one line.")
    return value


def _body(task: TaskDefinition) -> tuple[bytes | None, str]:
    """The body and its Content-Type; text goes as it is written."""
    body, form = task.body, task.method.endswith("_FORM")
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    if body is None:
        return (None, "") if task.method in ("HTTP_GET", "HTTP_DELETE") else (b"", "")
    if isinstance(body, str):
        return body.encode("utf-8", "surrogateescape"), "" if task.method == "HTTP_DELETE" else kind
    if form:
        return urlencode(list(_fields(body)), errors="surrogateescape").encode(), kind
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogateescape"), kind


def _fields(body: Value) -> Iterator[tuple[str, str]]:
    """A list is a field that comes several times."""
    if not isinstance(body, dict):
        raise ValueError("The body of a form is a mapping of names to texts, and this one is not.")
    for name, value in body.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, text_of(one)


# --- redirects


def redirected(request: Request, status: int, location: str) -> Request:
    """The request that follows (RFC 9110, 15.4). Raises ValueError, with a sentence, where none is made.

    Another origin gets nothing that the task named: neither its headers nor its body.
    """
    try:
        url = request.url.join(location).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError(f"The answer redirects to what is no URL ({error}).") from error
    if request.url.scheme == "https" and url.scheme != "https":
        raise ValueError(f"The answer redirects from https:// to {url.scheme}://, which is not followed.")
    following = replace(request, url=url)
    if request.method != "GET" and (status == 303 or (status in (301, 302) and request.method == "POST")):
        following = Request("GET", url, _without_body(request.ours), _without_body(request.headers))
    if _origin(url) == _origin(request.url):
        return following
    if following.body:
        where = f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
        raise ValueError(f"The answer redirects to {where}, and the body is not sent to another server: name that URL.")
    return replace(following, headers=())


def _without_body(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if name.lower() not in _OF_THE_BODY)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


# --- what an answer tells


def is_json(content_type: str) -> bool:
    return _JSON.match(content_type.strip()) is not None


def outputs_of(status: int, body: bytes) -> dict[str, str]:
    """`http_status`, and the fields of a JSON object that are text, a number, true or false, and whose name can be that
    of an output. Numbers are as they were written."""
    return {**dict(_scalars(body)), "http_status": str(status)}


def _scalars(body: bytes) -> Iterator[tuple[str, str]]:
    try:
        told: Any = json.loads(body, parse_int=str, parse_float=str, parse_constant=str) if body else None
    except (ValueError, RecursionError):
        return
    for name, value in told.items() if isinstance(told, dict) else ():
        if isinstance(value, str | bool) and _NAME.fullmatch(name):
            yield name, text_of(value)


def as_lines(outputs: Mapping[str, str], end: str) -> str:
    """As $FORMICARY_OUTPUT takes them. `end` is a word that nobody can have foreseen."""
    return "".join(f"{name}<<{end}\n{value}\n{end}\n" for name, value in outputs.items())
