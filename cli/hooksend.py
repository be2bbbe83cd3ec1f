"""What a git hook leaves running in the background: tells the server that refs have moved, signed, and is gone.

It is started as `python -m formicary.cli.hooksend HOOK` by the hook's script, so it imports little. It says nothing and
fails silently: the reconciler's own look finds whatever a hook did not tell. FORMICARY_DEBUG=1 shows what went wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import ssl
import subprocess
import sys
import time
import uuid
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

CONFIG: Final = "formicary.json"
TIMEOUT: Final = 3.0
_ID: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_REFS: Final = 10_000

Move = dict[str, str]


def git_folder() -> Path:
    """Of the repository whose hook we are; hooks run at the top of the work tree, or in the bare repository."""
    said = os.environ.get("GIT_DIR")
    folder = Path(said) if said else (Path(".git") if Path(".git").exists() else Path())
    if folder.is_file():
        folder = folder.parent / folder.read_text().partition("gitdir:")[2].strip()
    return folder.resolve()


def common_folder(folder: Path) -> Path:
    """What all work trees of the repository share."""
    try:
        return (folder / (folder / "commondir").read_text().strip()).resolve()
    except FileNotFoundError:
        return folder


def received(text: str) -> list[Move]:
    """The lines that git gives to post-receive: before, after, ref."""
    found = [line.split(" ", 2) for line in text.splitlines()[:_MOST_REFS]]
    return [{"ref": ref, "before": before, "after": after} for before, after, ref in (f for f in found if len(f) == 3)]


def committed(folder: Path) -> list[Move]:
    """HEAD's branch, where it is now and where it was before."""
    head = (folder / "HEAD").read_text().strip()
    done = subprocess.run(
        ["git", "rev-parse", "HEAD", "HEAD@{1}"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
    )
    ids = [line for line in done.stdout.split() if _ID.fullmatch(line)]
    ref = head.removeprefix("ref: ") if head.startswith("ref: ") else "HEAD"
    return [{"ref": ref, "before": ids[1] if len(ids) > 1 else "", "after": ids[0]}] if ids else []


def address(config: dict[str, Any]) -> tuple[str, str]:
    """Where the server says that it is, else where it was when the hook was made; and its certificate's file."""
    try:
        found = json.loads((Path(config["data"]) / "server.json").read_text())
        return str(found["url"]), str(found.get("cert") or "")
    except (OSError, ValueError, KeyError, TypeError):
        return str(config.get("url") or ""), ""


def pinned(cert: str) -> ssl.SSLContext:
    """Trusts this certificate alone, by whatever name it is called: we read it from a file of the server's own."""
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(url: str, secret: str, body: bytes, cert: str = "") -> int:
    """Deliver; returns the status."""
    parts = urlsplit(url)
    connection: HTTPConnection
    if parts.scheme == "https":
        context = pinned(cert) if cert else None
        connection = HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT, context=context)
    else:
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    headers = {
        "Content-Type": "application/json",
        "X-Formicary-Signature-256": signature(secret, body),
        "X-Formicary-Delivery": uuid.uuid4().hex,
    }
    try:
        connection.request("POST", parts.path.rstrip("/") + "/hooks/commit", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def send(hook: str, stdin: str) -> int:
    """Tell the server; returns its answer's status, 0 where this repository has no server to tell."""
    folder = git_folder()
    try:
        config = json.loads((common_folder(folder) / "hooks" / CONFIG).read_text())
    except FileNotFoundError:
        return 0  # the hooks folder is shared with repositories that nobody watches
    url, cert = address(config)
    if not url:
        return 0
    refs = received(stdin) if hook == "post-receive" else committed(folder)
    body = {"repository": config["repository"], "refs": refs, "at": time.time()}
    return post(url, config["secret"], json.dumps(body).encode(), cert)


def main() -> None:
    os.closerange(3, 256)  # whoever called git may wait for the end of a pipe that we inherited
    hook = sys.argv[1] if len(sys.argv) > 1 else "post-commit"
    try:
        status = send(hook, sys.stdin.read() if hook == "post-receive" else "")
    except Exception:  # nobody is there to be told, and git must not be disturbed
        if os.environ.get("FORMICARY_DEBUG"):
            raise
        return
    if os.environ.get("FORMICARY_DEBUG"):
        sys.stderr.write(f"formicary hook: the server answered {status}\n")


if __name__ == "__main__":
    main()
