"""Who did what, written in the change that does it: nothing is done by a person without a trace, nor traced if it
failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from formicary.runner.core.records import DEFAULT_ORGANIZATION, Audit, JobRequest
from formicary.runner.store import Tx

Also = Callable[[Tx], None]
"""What is to be written in the same change."""


def audit(
    tx: Tx,
    action: str,
    *,
    by: str,
    token_id: int | None = None,
    organization_id: str = DEFAULT_ORGANIZATION,
    repository_id: int | None = None,
    request: JobRequest | None = None,
    subject: str = "",
    **detail: Any,
) -> None:
    """`request`: the one that it was done to; `detail`: plain data, of which what is empty is left out."""
    tx.add_audit(
        Audit(
            organization_id=request.organization_id if request else organization_id,
            repository_id=request.repository_id if request else repository_id,
            request_id=request.id if request else None,
            user_id=by,
            token_id=token_id,
            action=action,
            subject=subject or (f"{request.job_type} #{request.id}" if request else ""),
            detail={name: value for name, value in detail.items() if value not in ("", None, ())},
        )
    )


def nothing_else(tx: Tx) -> None:
    """Nothing is written besides."""
