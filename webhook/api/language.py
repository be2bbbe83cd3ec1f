"""The definition language, for tools that read definitions."""

from __future__ import annotations

import json
from typing import Final

from starlette.responses import Response

from formicary.webhook.operations import Call, Operation

MEDIA: Final = "application/schema+json"


async def schema(call: Call) -> Response:
    from formicary.runner.core.schema import schema as made

    return Response(json.dumps(made(), ensure_ascii=False).encode(), media_type=MEDIA)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/schema.json",
        "The definition language as a JSON Schema (draft 2020-12)",
        schema,
        tag="Documentation",
        media=MEDIA,
    ),
)
