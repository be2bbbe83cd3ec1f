"""`Idempotency-Key`: the same call asked twice is done once and answered twice, for a day, over a restart too.

That it was done is written in the change that does it; its answer is kept afterwards, one small file a key. Who asks
again after a crash between the two is told that it was done. The key is the caller's own: its text is not kept, and
what was asked is kept as a digest that the key itself keys. Answers that hold a secret are not kept, nor are those of
calls that changed nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import time
from pathlib import Path
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from formicary.runner.store.along import along
from formicary.webhook.onion import MUTATING, read_whole
from formicary.webhook.parts import Door
from formicary.webhook.problems import answer, field_problem

HEADER: Final = "Idempotency-Key"
KEPT_SECONDS: Final = 86400.0
_MOST: Final = 10_000
_SWEEP_EVERY: Final = 500
_MAX_ANSWER: Final = 1 << 20
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_LOST: Final = (
    "This was done, but the server stopped before its answer was kept. Look at what is there; to ask once more, take a "
    "new key."
)
_KEPT_HEADERS: Final = ("content-type", "location")


class Idempotency:
    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app = app
        self._door = door
        self._answers = Answers(door.data / "idempotency")
        self._running: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope)
        if key is None:
            return await self.app(scope, receive, send)
        if not _KEY.fullmatch(key):
            return await _refuse(400, "It must be 1 to 200 visible characters.")(scope, receive, send)
        name = hashlib.sha256(f"{scope['state']['caller'].token_id}\0{key}".encode()).hexdigest()
        if name in self._running:
            return await _refuse(409, "The first call with this key is still being worked on.")(scope, receive, send)
        self._running.add(name)
        try:
            await self._once(name, key, scope, receive, send)
        finally:
            self._running.discard(name)

    async def _once(self, name: str, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body, receive = await read_whole(receive)
        asked = _fingerprint(key, scope, body)
        kept = self._answers.get(name)
        if kept is None:
            kept = self._done(name)
        if kept is None:
            return await self._do(name, asked, scope, receive, send)
        if not hmac.compare_digest(kept["asked"], asked):
            await _refuse(422, "This key was used for another call. Take a new one.")(scope, receive, send)
        elif kept.get("lost"):
            await _refuse(409, _LOST)(scope, receive, send)
        elif kept["body"] is None:
            await _refuse(409, "This was done; its answer held a secret, which is shown once.")(scope, receive, send)
        else:
            headers = {**kept["headers"], "Idempotency-Replayed": "true"}
            await Response(kept["body"].encode("latin-1"), kept["status"], headers)(scope, receive, send)

    def _done(self, name: str) -> dict[str, Any] | None:
        """What a call has done whose answer nobody has kept."""
        asked = self._door.store.read().call_done(name, time.time() - KEPT_SECONDS)
        return None if asked is None else {"asked": asked, "lost": True}

    async def _do(self, name: str, asked: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Do it, with its name in what it changes; where it was refused it may be asked again."""
        with along(lambda tx: tx.note_call(name, asked, KEPT_SECONDS)) as row:
            status = await self._answered(name, asked, scope, receive, send)
        if row.written and 400 <= status < 500:
            await self._door.store.write(lambda tx: tx.forget_call(name))

    async def _answered(self, name: str, asked: str, scope: Scope, receive: Receive, send: Send) -> int:
        """Keep the answer before it is sent: a caller who got it may rely on it. Returns its status."""
        start: Message = {}
        body = bytearray()

        async def keeping(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            elif len(body) <= _MAX_ANSWER:
                body.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._keep(name, asked, scope, start, bytes(body))
            await send(message)

        await self.app(scope, receive, keeping)
        return int(start.get("status", 500))

    def _keep(self, name: str, asked: str, scope: Scope, start: Message, body: bytes) -> None:
        if not 200 <= start["status"] < 300 or len(body) > _MAX_ANSWER:
            return
        headers = Headers(raw=start["headers"])
        kept = {
            "asked": asked,
            "status": start["status"],
            "headers": {header: headers[header] for header in _KEPT_HEADERS if header in headers},
            "body": None if scope["state"].get("secret_answer") else body.decode("latin-1"),
        }
        self._answers.put(name, kept)


class Answers:
    """The files: one a key, the oldest go first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._puts = 0

    def get(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        try:
            if path.stat().st_mtime < time.time() - KEPT_SECONDS:
                return None
            kept: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return kept

    def put(self, name: str, kept: dict[str, Any]) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        temporary = self.folder / f"{name}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kept, file)
        temporary.replace(self.folder / name)
        self._puts += 1
        if self._puts % _SWEEP_EVERY == 0:
            self.sweep()

    def sweep(self, most: int = _MOST) -> None:
        """Drop what is older than a day, and the oldest above `most`."""
        limit = time.time() - KEPT_SECONDS
        newest_first = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for at, path in enumerate(newest_first):
            if at >= most or path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)


def _key(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] not in MUTATING or "caller" not in scope.get("state", {}):
        return None
    return Headers(scope=scope).get(HEADER)


def _fingerprint(key: str, scope: Scope, body: bytes) -> str:
    asked = b"\0".join((scope["method"].encode(), scope["path"].encode(), scope["query_string"], body))
    return hmac.new(key.encode(), asked, hashlib.sha256).hexdigest()


def _refuse(status: int, reason: str) -> Response:
    return answer(field_problem(status, HEADER, reason))
