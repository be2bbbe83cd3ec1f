"""Who may approve a MANUAL task, how many have to, when it is decided without them; votes, and the events of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

TimeoutAction = Literal["AUTO_APPROVE", "AUTO_REJECT", "ESCALATE"]
TIMEOUT_ACTIONS: Final[tuple[str, ...]] = get_args(TimeoutAction)
#: From the least to the most; each may do what those before it may.
ROLES: Final = ("viewer", "developer", "maintainer", "admin")
USUAL_ROLE: Final = "developer"


class ApprovalPolicy(BaseModel):
    """Users and roles restrict, each of them; with neither, any developer may. Seconds count from when it is asked:
    after `sla_deadline` people are told, once; after `timeout` its action follows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_approvals: int = 1
    require_unanimous: bool = False
    allowed_users: tuple[str, ...] = ()
    allowed_roles: tuple[str, ...] = ()
    timeout: float | None = None
    timeout_action: TimeoutAction = "AUTO_REJECT"
    sla_deadline: float | None = None
    escalation_recipients: tuple[str, ...] = ()
    escalation_message: str = ""

    @property
    def needed(self) -> int:
        """How many have to approve; unanimous are all who are named."""
        return max(self.min_approvals, len(self.allowed_users) if self.require_unanimous else 0)

    def lets(self, by: str, role: str) -> bool:
        """Whether this person, who acts with this role, may vote."""
        if self.allowed_users and by not in self.allowed_users:
            return False
        if self.allowed_roles:
            return any(_rank(role) >= _rank(one) for one in self.allowed_roles if one in ROLES)
        return bool(self.allowed_users) or _rank(role) >= _rank(USUAL_ROLE)

    def who(self) -> str:
        """Who may vote, in words."""
        roles = " or ".join(f"{'an' if one[:1] in 'aeiou' else 'a'} {one}" for one in self.allowed_roles)
        if not self.allowed_users:
            return roles or f"a {USUAL_ROLE}"
        users = ", ".join(self.allowed_users)
        return f"{users} (as {roles})" if roles else users


def _rank(role: str) -> int:
    return ROLES.index(role) if role in ROLES else -1


class Vote(BaseModel):
    """What a person says of a MANUAL task. `role` is the one that he voted with."""

    model_config = ConfigDict(frozen=True)

    by: str
    role: str = ""
    approved: bool
    at: float
    comment: str = ""


Due = Literal["sla", "timeout"]
"""What of an approval is overdue: its sla_deadline, or its timeout."""
Answer = Literal["", "APPROVED", "REJECTED"]


@dataclass(frozen=True, slots=True)
class Approved:
    """A person approves what waits for that. Whether he may is decided with it."""

    task_execution_id: str
    by: str
    role: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A person rejects what waits for an approval."""

    task_execution_id: str
    by: str
    role: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Overdue:
    """People have been waited for so long."""

    task_execution_id: str
    what: Due
