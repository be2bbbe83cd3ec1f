"""What the parts of a definition have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Frozen, and deaf to keys that it does not know: the loader has refused those with their place already."""

    model_config = ConfigDict(frozen=True, extra="forbid")
