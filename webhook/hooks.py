"""Hooks: check the signature over the raw bytes, write the delivery down, answer, wake the reconciler. Nothing else.

Nothing hangs on the wake-up: the reconciler looks by itself too, and sees the same. A body whose signature is wrong is
never parsed (T9); without a secret nothing is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import anyio
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from formicary.runner.core.records import Fact, Repository
from formicary.webhook.datafolder import known_hook_secret
from formicary.webhook.forges import commit, github, signature
from formicary.webhook.ledger import Accepted, Came, delivery_key, refuse, take
from formicary.webhook.operations import Call, Operation

FORGE: Final = "commit"
_UNSIGNED: Final = f"The call has no {github.SIGNATURE}. Set a secret at the hook, and the same one here."
_UNFIT: Final = "The signature fits no secret that is set here. Set the same secret here and at the hook."
_LARGE: Final = 1 << 20
_DEFAULT: Final = 0
"""Stands for the forge's default secret, where repositories' own secrets stand by the repositories' numbers."""


async def on_commit(call: Call) -> Response:
    door, body = call.door, await call.request.body()
    repositories = {repository.id: repository for repository in door.store.read().repositories()}
    known = {id_: known_hook_secret(door.data, repository) for id_, repository in repositories.items()}
    secrets = {id_: secret for id_, secret in known.items() if secret}
    signers = await _signers(secrets, body, call.request.headers.get(commit.SIGNATURE, ""))
    if not signers:
        refuse(door, "The signature fits no watched repository. Run `formicary hook install` there again.")
    key = delivery_key(call, "X-Formicary-Delivery")
    said = commit.CommitHook.model_validate_json(body)
    for repository in (repositories[id_] for id_ in signers):
        # A secret speaks for its own repository only.
        if commit.means(said.repository, repository_id=repository.id, name=repository.name, path=repository.path):
            came = Came(FORGE, key, body, body.decode("utf-8", "replace"), Fact(event="commit"))
            return await take(door, came, repository)
    refuse(door, "The signature fits no watched repository. Run `formicary hook install` there again.")


async def on_github(call: Call) -> Response:
    door, body = call.door, await call.request.body()
    known = [one for one in door.store.read().repositories() if one.forge == github.FORGE]
    own = {one.id: secret for one in known if (secret := door.forge_secret(one))}
    default = {_DEFAULT: secret} if (secret := door.default_secrets.get(github.FORGE)) else {}
    said = call.request.headers.get(github.SIGNATURE, "")
    signers = await _signers({**own, **default}, body, said)
    if not signers:
        refuse(door, _UNFIT if said else _UNSIGNED)
    key = delivery_key(call, "X-GitHub-Delivery")
    text, fact = _github_fact(call, body)
    speaks_for = [one for one in known if (one.id if one.id in own else _DEFAULT) in signers]
    repository = _called(speaks_for, fact.slug)
    if repository is None and (_DEFAULT not in signers or _called(known, fact.slug)):
        refuse(door, "This secret does not speak for this repository.")
    return await take(door, Came(github.FORGE, key, body, text, fact), repository, _ignored(repository, fact))


async def on_old_github(call: Call) -> Response:
    """Where the hooks of the original point to; what its query says is ignored."""
    return await on_github(call)


def _github_fact(call: Call, body: bytes) -> tuple[str, Fact]:
    try:
        text = github.payload_text(call.request.headers.get("content-type", ""), body)
        return text, github.fact_of(call.request.headers.get(github.EVENT, ""), text)
    except github.WrongType as error:
        raise HTTPException(415, str(error)) from error
    except ValidationError:
        raise
    except RecursionError as error:
        raise HTTPException(400, "The body cannot be read: it is nested too deep") from error
    except ValueError as error:
        raise HTTPException(400, f"The body cannot be read: {error}") from error


def _called(repositories: list[Repository], slug: str) -> Repository | None:
    """The repository that the forge calls so; forges do not tell capitals from small letters there."""
    return next((one for one in repositories if slug and one.slug.casefold() == slug.casefold()), None)


def _ignored(repository: Repository | None, fact: Fact) -> str:
    """Why nothing follows from it; empty if something may."""
    if fact.event == "ping":
        return "the forge only asked whether somebody is here"
    if fact.event == "other":
        return "nothing here acts on such an event"
    return "" if repository else f"no repository {fact.slug or 'without a name'} is watched here"


async def _signers(secrets: Mapping[int, bytes], body: bytes, said: str) -> list[int]:
    if len(body) * len(secrets) > _LARGE:
        return await anyio.to_thread.run_sync(signature.signers, secrets, body, said)
    return signature.signers(secrets, body, said)


_ERRORS: Final = (400, 401, 413, 415, 422)

OPERATIONS: Final = (
    Operation(
        "POST",
        "/hooks/commit",
        "A local repository's hook: its refs have moved",
        on_commit,
        tag="Hooks",
        role=None,
        signed=True,
        body=commit.CommitHook,
        answer=Accepted,
        status=202,
        errors=(400, 401, 413, 422),
    ),
    Operation(
        "POST",
        "/hooks/github",
        "GitHub's hook: push, create, delete, pull_request, ping; signed with X-Hub-Signature-256",
        on_github,
        tag="Hooks",
        role=None,
        signed=True,
        answer=Accepted,
        status=202,
        errors=_ERRORS,
    ),
    Operation(
        "POST",
        "/auth/github/webhook",
        "GitHub's hook at the path that users of the original have configured; its query is ignored",
        on_old_github,
        tag="Hooks",
        role=None,
        signed=True,
        answer=Accepted,
        status=202,
        errors=_ERRORS,
    ),
)
