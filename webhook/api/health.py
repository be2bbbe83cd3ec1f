"""Is it alive, is it ready (yes or no, nothing else: T17), which version is it, and its figures for Prometheus."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Final

from starlette.responses import PlainTextResponse, Response

from formicary.webhook.api import shared
from formicary.webhook.operations import Call, Operation


class VersionView(shared.View):
    version: str


async def live(_call: Call) -> Response:
    """Whoever gets this answer has seen the loop turn (D9)."""
    return PlainTextResponse("yes\n")


async def ready(call: Call) -> Response:
    """Whether every part answers (D9). Which one does not, only the log and /metrics say."""
    return PlainTextResponse("yes\n") if _is_ready(call) else PlainTextResponse("no\n", 503)


def _is_ready(call: Call) -> bool:
    if call.door.closing.is_set():
        return False
    try:
        call.door.store.read().counts()
        return not any(call.door.queen.health().values())
    except Exception:  # whatever a part raises means that it does not answer
        return False


async def show_version(_call: Call) -> VersionView:
    return VersionView(version=_version())


@cache
def _version() -> str:
    return version("formicary")


async def metrics(call: Call) -> Response:
    from formicary.webhook.metrics import Metrics

    found = call.request.app.state
    if not hasattr(found, "metrics"):
        found.metrics = Metrics(call.door)
    body, media = found.metrics.page()
    return Response(body, media_type=media)


_TAG: Final = "Operations"

OPERATIONS: Final = (
    Operation("GET", "/health/live", "Does the loop turn", live, tag=_TAG, role=None, media="text/plain"),
    Operation(
        "GET",
        "/health/ready",
        "Do the parts answer",
        ready,
        tag=_TAG,
        role=None,
        media="text/plain",
        also={503: "They do not"},
    ),
    Operation("GET", "/version", "Which version this is", show_version, tag=_TAG, answer=VersionView),
    Operation("GET", "/metrics", "Figures for Prometheus", metrics, tag=_TAG, everything=True, media="text/plain"),
)
