"""HTML forms as browsers send them: url-encoded, small, every field once."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

_MAX_FORM: Final = 64 << 10
_TYPE: Final = "application/x-www-form-urlencoded"


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; the last one wins where a name comes twice."""
    if not request.headers.get("content-type", "").startswith(_TYPE):
        raise HTTPException(415, f"Send this form as {_TYPE}.")
    body = await request.body()
    if len(body) > _MAX_FORM:
        raise HTTPException(413, f"The form is larger than {_MAX_FORM >> 10} KiB.")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200))
    except ValueError:
        raise HTTPException(400, "The form has too many fields.") from None
