"""What a definition says about who approves a MANUAL task, and which of its other keys make no sense there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from formicary.runner.core.definition import MANUAL, Target
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node
from formicary.runner.core.loading.reader import Reader
from formicary.runner.core.loading.shapes import fits, one_of
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.names import SECRET_TOKEN
from formicary.runner.core.policy import ROLES, TIMEOUT_ACTIONS, ApprovalPolicy

MOST: Final = 100
ANSWERS: Final = frozenset({"APPROVED", "REJECTED"})
_ASKED_ONCE: Final = frozenset({"EXECUTING", "RESTART_TASK"})
#: Keys of a task that say what an ant does; of a MANUAL one nothing runs.
_OF_ANTS: Final = ("script", "before_script", "after_script", "artifacts", "resources")


def approval_policy(reader: Reader, node: Node) -> ApprovalPolicy:
    fields = APPROVAL.read(reader, node)
    if "timeout" not in fields and fields.get("timeout_action", "ESCALATE") != "ESCALATE":
        if "sla_deadline" in fields:
            fields["timeout"] = fields["sla_deadline"]  # as the Go original has it
        else:
            reader.tell(node, "`timeout_action` needs a time", "say when: `timeout: 4h`")
    policy = ApprovalPolicy(**fields)
    if policy.allowed_users and policy.min_approvals > len(policy.allowed_users):
        many = f"{len(policy.allowed_users)} of the users may approve, and {policy.min_approvals} have to"
        reader.tell(node, f"Nobody could ever approve this: {many}", "lower `min_approvals`, or allow more users")
    if policy.timeout_action == "ESCALATE" and "timeout_action" in fields and not policy.escalation_recipients:
        reader.question(node, "Nobody would be told", "name somebody: `escalation_recipients: [ops@example.org]`")
    return policy


def _listed(reader: Reader, node: Node) -> tuple[str, ...]:
    """A list; or a text with commas, as the Go original has it."""
    found = [part.strip() for text in reader.strings(node) for part in text.split(",")]
    kept = tuple(dict.fromkeys(filter(None, found)))
    if len(kept) > MOST:
        reader.fail(node, f"There are {len(kept)} of them here", f"use at most {MOST}")
    return kept


def _named(reader: Reader, node: Node) -> tuple[str, ...]:
    """Whom outsiders name may not approve what outsiders have sent (T1)."""
    before, reader.tainted = reader.tainted, False
    try:
        found = _listed(reader, node)
        if reader.tainted:
            reader.fail(node, "What outsiders can write may not say who approves", "write the names themselves")
    finally:
        reader.tainted = reader.tainted or before
    if any(SECRET_TOKEN.search(text) for text in found):
        reader.fail(node, "Who may approve is shown to everybody and may not be a secret", "write the names")
    return found


def _roles(reader: Reader, node: Node) -> tuple[str, ...]:
    found = _named(reader, node)
    for name in found:
        if name not in ROLES:
            reader.question(node, f"There is no role `{name[:60]}`", f"the roles are {', '.join(ROLES)}")
    return found


APPROVAL: Final = Table(
    "approval_policy",
    {
        "min_approvals": Key(fits(1, MOST), "count"),
        "require_unanimous": Key(Reader.boolean, "flag"),
        "allowed_users": Key(_named, "texts"),
        "allowed_roles": Key(_roles, "texts"),
        "timeout": Key(Reader.duration, "duration"),
        "timeout_action": Key(one_of(*TIMEOUT_ACTIONS), "timeout_action"),
        "sla_deadline": Key(Reader.duration, "duration"),
        "escalation_recipients": Key(_listed, "texts", code=True),
        "escalation_message": Key(Reader.string, "text"),
    },
)


def fitting(reader: Reader, node: Node, fields: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task, with what of them and MANUAL does not go together told. `written`: those of its own."""
    if fields.get("method") == MANUAL:
        for key, what, remedy in _senseless(fields, written):
            (reader.question if key in _OF_ANTS else reader.tell)(_place(node, key), what, remedy)
        return _with_timeout(fields, written)
    if "approval_policy" in fields:
        place = _place(node, "approval_policy")
        reader.question(place, "`approval_policy` is for tasks of the method MANUAL", "write `method: MANUAL`")
    for answer in sorted(ANSWERS & fields.get("on_exit_code", {}).keys()):
        place = _place(node, "on_exit_code")
        reader.question(place, f"`{answer}` is an outcome of MANUAL tasks alone", "write `method: MANUAL`")
    return fields


def _senseless(fields: Mapping[str, Any], written: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(key, what is wrong, remedy)."""
    if fields.get("always_run"):
        yield "always_run", "A MANUAL task cannot be always_run: the end of a job waits for nobody", "remove it"
    if "matrix" in fields:
        yield "matrix", "A MANUAL task has no matrix: people are asked once", "remove it"
    for key in _OF_ANTS:
        if key in written:
            yield key, f"`{key}` means nothing here: nothing of a MANUAL task runs", "move it to another task"
    ways: list[tuple[str, Target | None]] = [(key, fields.get(key)) for key in ("on_completed", "on_failed")]
    ways += [("on_exit_code", target) for target in fields.get("on_exit_code", {}).values()]
    for key, target in ways:
        if target is not None and target.name in _ASKED_ONCE:
            yield key, f"`{target.name}` is not for a MANUAL task: people are asked once", "use RESTART_JOB"


def _with_timeout(fields: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """The task's own `timeout`, where it is written, says how long people have; there is no usual one."""
    policy: ApprovalPolicy = fields.get("approval_policy", ApprovalPolicy())
    if "timeout" in written and policy.timeout is None:
        policy = policy.model_copy(update={"timeout": written["timeout"]})
    return {**fields, "approval_policy": policy}


def _place(node: Node, key: str) -> Node:
    pairs = node.pairs if isinstance(node, MappingNode) else ()
    return next((name for name, _ in pairs if name.text == key), node)
