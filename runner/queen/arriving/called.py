"""A call of a `webhook` trigger as the door and the queen speak of it. Shapes only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from formicary.runner.core.definition import Dialect, JobDefinition
from formicary.runner.core.records import Definition, Repository
from formicary.runner.core.webhooks import WebhookTrigger

JSON, FORM = "json", "form"
"""What a call's body may be."""
BODY: Final = "body"
"""The field that a refusal names where the body cannot be read."""


@dataclass(frozen=True, slots=True)
class Called:
    """A trigger that an address means. `secret` None: nobody may call it, `why` says the reason."""

    repository: Repository
    definition: Definition
    job: JobDefinition
    trigger: WebhookTrigger
    dialect: Dialect
    secret: bytes | None = None
    why: str = ""
