"""What is known of a request when something of it is told outside: its definition, the registered one, and its secrets.

Blocking; publishers run these in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from formicary.runner.core.definition import Hook, JobDefinition, Notify
from formicary.runner.core.errors import DefinitionError, Locked, SetupError, Undeliverable
from formicary.runner.core.load import load
from formicary.runner.core.names import fill, secrets_in
from formicary.runner.core.records import Definition, JobRequest, Version
from formicary.runner.publish.webhook import Ready
from formicary.runner.queen.orders import render_plan
from formicary.runner.queen.secrets import Secrets
from formicary.runner.store import Reader, Store


@dataclass(frozen=True, slots=True)
class Outward:
    store: Store
    secrets: Callable[[], Secrets]
    clock: Callable[[], float]
    url: str = ""

    def hook(self, payload: Mapping[str, Any]) -> Ready | None:
        """Where the event of an entry goes, with its secrets; None where request or hook are gone. Raises
        Undeliverable."""
        reader = self.store.read()
        request = reader.request(int(payload["event"]["request_id"]))
        if request is None:
            return None
        hook = _hook_of(self.job(reader, request), str(payload["task"]))
        if hook is None:
            return None
        values = self.values(reader, request, f"the webhook of `{request.job_type}`", hook)
        filled = Hook(
            url=fill(hook.url, values),
            headers={fill(name, values): fill(text, values).strip() for name, text in hook.headers.items()},
            query={fill(name, values): fill(text, values) for name, text in hook.query.items()},
        )
        return Ready(filled, tuple(values.values()))

    def job(self, reader: Reader, request: JobRequest) -> JobDefinition:
        """The definition as this request's execution follows it, or would. Raises Undeliverable."""
        plan = reader.plan(request.execution_id) if request.execution_id is not None else None
        if plan is not None:
            return plan.definition
        version = reader.version(request.version_id)
        assert version is not None, "a request's version is never deleted before it"
        return self.rendered(reader, request, version)

    def told(self, reader: Reader, request: JobRequest, task: str) -> tuple[Notify, ...]:
        """Who is to be told of the end of a task, or of the job where `task` is empty: what the registered definition
        says with this request's names. Where it cannot be read with these, which may be why the request failed, those
        whom the file names without a template. Raises Undeliverable where that is nobody."""
        found = registered_of(reader, request)
        version = reader.version(found.version_id) if found and found.version_id is not None else None
        if version is None:
            return ()
        try:
            return notify_of(self.rendered(reader, request, version), task)
        except Undeliverable:
            written = _written(version, task)
            if not written:
                raise
            return written

    def rendered(self, reader: Reader, request: JobRequest, version: Version) -> JobDefinition:
        """A text with the names of this request. Raises Undeliverable."""
        own = reader.secret_params(request.id) if request.has_secrets else {}
        try:
            seen = self.secrets().seen_by(request)
            return render_plan(request, version, own, self.clock(), self.url, seen).definition
        except DefinitionError as error:
            raise Undeliverable(f"the definition cannot be read for this request: {error}") from error

    def values(self, reader: Reader, request: JobRequest, what: str, *texts: Any) -> dict[str, str]:
        """The values of the secrets that these texts name. Raises Undeliverable where this request sees one not, Locked
        while their key is away."""
        names = secrets_in(*texts)
        if not names:
            return {}
        own = reader.secret_params(request.id) if request.has_secrets else {}
        try:
            values = {**self.secrets().values_of(request, names), **{name: own[name] for name in names & own.keys()}}
        except Locked as error:
            raise Locked(f"{what} needs a secret: {error}") from error
        except (SetupError, DefinitionError) as error:
            raise Undeliverable(f"{what} needs a secret: {error}") from error
        missing = sorted(names - values.keys())
        if missing:
            raise Undeliverable(
                f"{what} needs the secret `{missing[0]}`, which this request does not see: secret parameters are "
                "forgotten at its end, and untrusted requests see no secrets at all"
            )
        return values


def registered_of(reader: Reader, request: JobRequest) -> Definition | None:
    """The registered definition of the request's own repository, which the tracked branch gives."""
    found = reader.definition_named(
        request.job_type, repository_id=request.repository_id, organization_id=request.organization_id
    )
    return found if found is not None and found.repository_id == request.repository_id else None


def notify_of(job: JobDefinition, task: str) -> tuple[Notify, ...]:
    """What a task's `notify` says, or the job's where `task` is empty."""
    if not task:
        return job.notify
    return next((one.notify for one in job.tasks if one.task_type == task), ())


def _written(version: Version, task: str) -> tuple[Notify, ...]:
    """The recipients that stand in the text as they are."""
    loaded = load(version.text, path=version.path, dialect=version.dialect)
    job = loaded[version.index].definition if version.index < len(loaded) else None
    channels = notify_of(job, task) if job else ()
    kept = [(one, tuple(name for name in one.recipients if name in version.text)) for one in channels]
    return tuple(one.model_copy(update={"recipients": names}) for one, names in kept if names)


def _hook_of(job: JobDefinition, task: str) -> Hook | None:
    if not task:
        return job.webhook
    return next((one.webhook for one in job.tasks if one.task_type == task), None)
