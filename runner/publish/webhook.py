"""Lifecycle webhooks: each event is POSTed where the definition says, those of a request in their order.

The outbox may hand over a later event first. Then the ones before it are sent first, and what became of them is told
when their own turn comes. An event may arrive twice (after a crash); its `id` is the same then.
"""

from __future__ import annotations

import json
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread
import httpx

from formicary.runner.core.definition import Hook
from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import OutboxEntry
from formicary.runner.core.secrets.masking import Masker
from formicary.runner.publish.guard import MOST_REDIRECTS, AddressRefused, Guard, guarded_client

SEND_SECONDS: Final = 15.0
MOST_READ: Final = 2048
"""Bytes of an answer that are looked at, for the reason of a refusal."""
SHOWN: Final = 200
REMEMBERED: Final = 1024
_LATER: Final = frozenset({408, 425, 429})
_KEPT_METHOD: Final = frozenset({307, 308})


def key_of(request_id: int, seq: int) -> str:
    """The key of an event's entry; those of one request sort as the events do."""
    return f"request:{request_id}:{seq:015d}"


class Owed(Protocol):
    """A reader of the store, as far as the order of events needs it."""

    def owed_before(self, organization_id: str, kind: str, first: str, key: str) -> list[OutboxEntry]: ...


@dataclass(frozen=True, slots=True)
class Ready:
    """A hook with its secrets filled in; and these secrets, so that no error shows them."""

    hook: Hook
    secrets: tuple[str, ...] = ()


Prepare = Callable[[Mapping[str, Any]], Ready | None]
"""An entry's payload → where to send it, None where that is gone. Reads the store; raises Undeliverable."""


@dataclass(slots=True)
class _Line:
    """The events of one request. `early`: those sent before their own turn, and how that went; `done`: those whose
    turn is over, which may still be owed for a moment."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    early: dict[str, Undeliverable | None] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    users: int = 0


class WebhookPublisher:
    """The `Publisher` of kind `webhook`. `owed` gives a reader; `mask` takes the secrets out of texts (T8)."""

    kind = "webhook"

    def __init__(
        self,
        owed: Callable[[], Owed],
        prepare: Prepare,
        guard: Guard,
        mask: Callable[[str], str] = lambda text: text,
        *,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._owed = owed
        self._prepare = prepare
        self._guard = guard
        self._mask = mask
        self._verify = verify
        self._client: httpx.AsyncClient | None = None
        self._lines: OrderedDict[str, _Line] = OrderedDict()

    def lane(self, entry: OutboxEntry) -> str:
        return str(entry.payload["to"])

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        name = key.rpartition(":")[0]
        line = self._lines.setdefault(name, _Line())
        self._lines.move_to_end(name)
        line.users += 1
        try:
            async with line.lock:
                await self._in_order(line, f"{name}:", key, payload)
        finally:
            line.users -= 1
            self._forget()

    async def _in_order(self, line: _Line, first: str, key: str, payload: Mapping[str, Any]) -> None:
        if key in line.early:
            line.done.add(key)
            refused = line.early.pop(key)
            if refused is not None:
                raise refused
            return
        before = list(self._before(payload["event"]["organization_id"], first, key))
        owed = {entry.key for entry in before}
        line.done = {one for one in line.done if one > key or one in owed}
        for entry in before:
            if entry.key not in line.done and entry.key not in line.early:
                line.early[entry.key] = await self._early(entry)
        try:
            await self._send(payload)
        except Undeliverable:
            line.done.add(key)  # else a later event sends it early, and that answer is given when it is resent
            raise
        line.done.add(key)

    def _before(self, organization_id: str, first: str, key: str) -> Iterator[OutboxEntry]:
        """What is owed from the key `first` to below `key`, page by page."""
        reader = self._owed()
        while page := reader.owed_before(organization_id, self.kind, first, key):
            yield from page
            first = f"{page[-1].key}!"  # behind it, and before any other key

    async def _early(self, entry: OutboxEntry) -> Undeliverable | None:
        try:
            await self._send(entry.payload)
        except Undeliverable as error:
            return error
        return None

    def _forget(self) -> None:
        while len(self._lines) > REMEMBERED:
            name = next((name for name, line in self._lines.items() if not line.users and not line.early), None)
            if name is None:
                return
            del self._lines[name]

    async def _send(self, payload: Mapping[str, Any]) -> None:
        ready = await anyio.to_thread.run_sync(self._prepare, payload)
        if ready is None:
            return  # the request is gone, and nobody asks for its events any more
        masker = Masker(ready.secrets)
        try:
            await self._post(ready.hook, masked(payload["event"], self._mask))
        except ToldToWait as error:
            raise ToldToWait(self._mask(masker.text(str(error))), retry_after=error.retry_after) from None
        except (Undeliverable, WorldError) as error:
            raise type(error)(self._mask(masker.text(str(error)))) from None

    async def _post(self, hook: Hook, event: Mapping[str, Any]) -> None:
        try:
            url = httpx.URL(hook.url).copy_merge_params(dict(hook.query))
            with anyio.fail_after(SEND_SECONDS):
                await self._post_to(url, hook, json.dumps(event, ensure_ascii=False).encode())
        except TimeoutError as error:
            raise WorldError(f"`{url.host}` did not answer within {SEND_SECONDS:g} s") from error
        except httpx.InvalidURL as error:
            raise Undeliverable(f"the webhook's URL is none ({error}); correct it in the definition") from error
        except AddressRefused as error:
            raise Undeliverable(str(error)) from error
        except httpx.LocalProtocolError as error:
            raise Undeliverable("a header of the webhook is none that HTTP takes; it must be one line") from error
        except (httpx.HTTPError, UnicodeError, ValueError) as error:
            raise WorldError(f"`{url.host}` could not be reached ({str(error) or type(error).__name__})") from error

    async def _post_to(self, url: httpx.URL, hook: Hook, body: bytes) -> None:
        if self._client is None:
            self._client = guarded_client(self._guard, timeout=SEND_SECONDS, verify=self._verify)
        headers = httpx.Headers({"Content-Type": "application/json", "User-Agent": f"formicary/{version('formicary')}"})
        headers.update(hook.headers)
        for _ in range(MOST_REDIRECTS + 1):
            async with self._client.stream("POST", url, headers=headers, content=body) as answer:
                if not answer.is_redirect:
                    return await _judge(answer, url.host)
                url = _next(answer, url)
        raise Undeliverable(f"`{url.host}` redirects without end")


def _next(answer: httpx.Response, url: httpx.URL) -> httpx.URL:
    """Where a redirect leads, within the same origin: headers and query hold secrets that are nobody else's."""
    target = url.join(answer.headers["location"])
    same = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    if same and answer.status_code in _KEPT_METHOD:
        return target
    raise Undeliverable(
        f"`{url.host}` answers {answer.status_code} and redirects to `{target.scheme}://{target.netloc.decode()}`; "
        "name the address that takes the event itself in the definition"
    )


async def _judge(answer: httpx.Response, host: str) -> None:
    """Return if the event has arrived. Raises Undeliverable, ToldToWait, WorldError."""
    if answer.is_success:
        return
    said = await _beginning(answer)
    message = f"`{host}` answers {answer.status_code} {answer.reason_phrase}".rstrip() + (f": {said}" if said else "")
    wait = seconds_until(answer.headers.get("retry-after", ""), datetime.now(UTC))
    if answer.status_code in _LATER or answer.status_code >= 500:
        raise WorldError(message) if wait is None else ToldToWait(message, retry_after=wait)
    raise Undeliverable(message)


async def _beginning(answer: httpx.Response) -> str:
    """The first words of an answer, on one line."""
    read = bytearray()
    try:
        async for chunk in answer.aiter_raw():
            read += chunk
            if len(read) >= MOST_READ:
                break
    except httpx.HTTPError:
        pass  # the status says enough
    text = bytes(read[:MOST_READ]).decode("utf-8", "replace") if "content-encoding" not in answer.headers else ""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:SHOWN]


def seconds_until(retry_after: str, now: datetime) -> float | None:
    """What a Retry-After header says (RFC 9110, 10.2.3), in seconds from `now`; None where it says nothing."""
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max((at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds(), 0.0)


def masked(value: Any, mask: Callable[[str], str]) -> Any:
    """The texts within plain data, masked; names of mappings are left as they are."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {name: masked(inner, mask) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(inner, mask) for inner in value]
    return value
