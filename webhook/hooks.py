"""Hooks: check the signature over the raw bytes, write the delivery down, answer, wake the reconciler. Nothing else.

Nothing hangs on the wake-up: the reconciler looks by itself too, and sees the same. A body whose signature is wrong is
never parsed (T9); without a secret nothing is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import anyio
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from formicary.runner.core.records import Fact, Repository
from formicary.webhook.forges import commit, gitea, github, gitlab, signature
from formicary.webhook.ledger import Accepted, Came, delivery_key, named, refuse, take
from formicary.webhook.operations import Call, Operation

FORGE: Final = "commit"
_UNFIT: Final = "The signature fits no secret that is set here. Set the same secret here and at the hook."
_LARGE: Final = 1 << 20
_DEFAULT: Final = 0
"""Stands for the forge's default secret, where repositories' own secrets stand by the repositories' numbers."""


async def on_commit(call: Call) -> Response:
    door, body = call.door, await call.request.body()
    repositories = {repository.id: repository for repository in door.store.read().repositories()}
    secrets = {id_: secret for id_, secret in door.hook_secrets.all().items() if id_ in repositories}
    signers = await _signers(_by_commit, secrets, body, call.request.headers, door.clock())
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


_Signers = Callable[[Mapping[int, bytes], bytes, Mapping[str, str], float], list[int]]


class _Forge(NamedTuple):
    """A forge's way of calling: who signed (`signers`: secrets, body, headers, now), what it calls the delivery, and
    what that says (headers, body → the JSON and the fact)."""

    name: str
    signature: tuple[str, ...]
    signers: _Signers
    key: Callable[[Mapping[str, str], bytes], str]
    read: Callable[[Mapping[str, str], bytes], tuple[str, Fact]]
    keys: str


async def _on_forge(call: Call, forge: _Forge) -> Response:
    door, body, headers = call.door, await call.request.body(), call.request.headers
    known = [one for one in door.store.read().repositories() if one.forge == forge.name]
    own = {one.id: secret for one in known if (secret := door.forge_secret(one))}
    default = {_DEFAULT: secret} if (secret := door.default_secrets.get(forge.name)) else {}
    signers = await _signers(forge.signers, {**own, **default}, body, headers, door.clock())
    if not signers:
        refuse(door, _UNFIT if any(headers.get(name) for name in forge.signature) else _unsigned(forge))
    key = named(forge.key(headers, body), forge.keys)
    text, fact = _fact(forge, headers, body)
    speaks_for = [one for one in known if (one.id if one.id in own else _DEFAULT) in signers]
    repository = _called(speaks_for, fact.slug)
    if repository is None and (_DEFAULT not in signers or _called(known, fact.slug)):
        refuse(door, "This secret does not speak for this repository.")
    return await take(door, Came(forge.name, key, body, text, fact), repository, _ignored(repository, fact))


async def on_github(call: Call) -> Response:
    return await _on_forge(call, _GITHUB)


async def on_old_github(call: Call) -> Response:
    """Where the hooks of the original point to; what its query says is ignored."""
    return await on_github(call)


async def on_gitlab(call: Call) -> Response:
    return await _on_forge(call, _GITLAB)


async def on_gitea(call: Call) -> Response:
    return await _on_forge(call, _GITEA)


def _fact(forge: _Forge, headers: Mapping[str, str], body: bytes) -> tuple[str, Fact]:
    try:
        return forge.read(headers, body)
    except github.WrongType as error:
        raise HTTPException(415, str(error)) from error
    except ValidationError:
        raise
    except RecursionError as error:
        raise HTTPException(400, "The body cannot be read: it is nested too deep") from error
    except ValueError as error:
        raise HTTPException(400, f"The body cannot be read: {error}") from error


def _by_commit(secrets: Mapping[int, bytes], body: bytes, headers: Mapping[str, str], _now: float) -> list[int]:
    return signature.signers(secrets, body, headers.get(commit.SIGNATURE, ""))


def _by_github(secrets: Mapping[int, bytes], body: bytes, headers: Mapping[str, str], _now: float) -> list[int]:
    return signature.signers(secrets, body, headers.get(github.SIGNATURE, ""))


def _of_github(headers: Mapping[str, str], body: bytes) -> tuple[str, Fact]:
    text = github.payload_text(headers.get("content-type", ""), body)
    return text, github.fact_of(headers.get(github.EVENT, ""), text)


def _of_gitlab(headers: Mapping[str, str], body: bytes) -> tuple[str, Fact]:
    text = github.json_text(headers.get("content-type", ""), body)
    return text, gitlab.fact_of(text)


def _of_gitea(headers: Mapping[str, str], body: bytes) -> tuple[str, Fact]:
    text = github.payload_text(headers.get("content-type", ""), body)
    return text, gitea.fact_of(gitea.event_of(headers), text)


_GITHUB: Final = _Forge(
    github.FORGE,
    (github.SIGNATURE,),
    _by_github,
    lambda headers, _body: headers.get(github.DELIVERY, ""),
    _of_github,
    "X-GitHub-Delivery",
)
_GITLAB: Final = _Forge(
    gitlab.FORGE, (gitlab.TOKEN, gitlab.SIGNATURE), gitlab.signers, gitlab.key_of, _of_gitlab, "webhook-id"
)
_GITEA: Final = _Forge(
    gitea.FORGE,
    (gitea.SIGNATURE, "x-forgejo-signature"),
    gitea.signers,
    gitea.key_of,
    _of_gitea,
    "X-Gitea-Delivery",
)


def _unsigned(forge: _Forge) -> str:
    return f"The call has no {' and no '.join(forge.signature)}. Set a secret at the hook, and the same one here."


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


async def _signers(
    signers: _Signers, secrets: Mapping[int, bytes], body: bytes, headers: Mapping[str, str], now: float
) -> list[int]:
    if len(body) * len(secrets) > _LARGE:
        return await anyio.to_thread.run_sync(signers, secrets, body, headers, now)
    return signers(secrets, body, headers, now)


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
        "/hooks/gitlab",
        "GitLab's hook: push, tag push, merge request; by X-Gitlab-Token, or signed with webhook-signature",
        on_gitlab,
        tag="Hooks",
        role=None,
        signed=True,
        answer=Accepted,
        status=202,
        errors=_ERRORS,
    ),
    Operation(
        "POST",
        "/hooks/gitea",
        "Gitea's and Forgejo's hook: push, create, delete, pull_request; signed with X-Gitea-Signature",
        on_gitea,
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
