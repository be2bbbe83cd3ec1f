"""Versions of plugins as the tracked branch brings them: what may be registered, and what is kept of it for ever.

A released version never changes: a text that says something else under its number is a problem of the definition, as a
misspelt key is, and what was released stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import Problem
from formicary.runner.core.language.fragments import unpacked
from formicary.runner.core.language.source import documents, normal
from formicary.runner.core.load import Loaded
from formicary.runner.core.records import Repository, Version
from formicary.runner.core.released import Plugin
from formicary.runner.core.versions import read_version
from formicary.runner.queen.arriving.sources import CommitDefinitions
from formicary.runner.store import Reader, Tx

_KEY: Final = re.compile(r"^(public_plugin|sem_version):.*$", re.M)


def judged(reader: Reader, repository: Repository, found: CommitDefinitions, bundle_id: str) -> CommitDefinitions:
    """The same definitions, those that may not be registered as what they say they are with their problem."""
    return replace(found, loaded=tuple(_judged(reader, repository, one, bundle_id) for one in found.loaded))


def _judged(reader: Reader, repository: Repository, one: Loaded, bundle_id: str) -> Loaded:
    job = one.definition
    if job is None or one.problems or not (job.sem_version or job.public_plugin):
        return one
    wrong = next(_wrong(reader, repository, one, job, bundle_id), None)
    return one if wrong is None else replace(one, problems=(_problem(one, *wrong),))


def _wrong(
    reader: Reader, repository: Repository, one: Loaded, job: JobDefinition, bundle_id: str
) -> Iterator[tuple[str, str, str]]:
    """(key, what is wrong, remedy)."""
    if job.public_plugin and not bundle_id:
        told = "The organization has no bundle id, with which the names of its public plugins begin"
        yield "public_plugin", told, "the operator sets `bundle_id`, such as `io.example`"
    elif job.public_plugin and not job.job_type.startswith(f"{bundle_id}."):
        told = f"The name of a public plugin begins with the organization's bundle id, `{bundle_id}`"
        yield "public_plugin", told, f"name it `{bundle_id}.{job.job_type.rpartition('.')[2]}`"
    version = read_version(job.sem_version)
    plain = version.plain if version else ""
    for known in reader.plugins(repository.organization_id, job.job_type):
        if known.repository_id != repository.id:
            if job.public_plugin and known.public:
                whose = reader.repository(known.repository_id)
                told = f"`{job.job_type}` is released by the repository `{whose.name if whose else ''}` already"
                yield "public_plugin", told, "a public plugin comes from one repository: give this one another name"
        elif known.plain == plain and known.released and known.digest != digest_of(one):
            told = f"Version {known.sem_version} was released at commit {known.commit[:12]}, and its text is another"
            yield "sem_version", told, "a released version never changes: give the new text a new `sem_version`"


def release(tx: Tx, repository: Repository, one: Loaded, version: Version, commit: str) -> None:
    """Within a change: keep this text as the version that it says it is, unless that is kept already."""
    job = one.definition
    number = read_version(job.sem_version) if job else None
    if job is None or number is None:
        return
    digest, organization_id = digest_of(one), repository.organization_id
    for known in tx.plugins(organization_id, job.job_type):
        same = (known.repository_id, known.plain) == (repository.id, number.plain)
        if same and (known.released or (known.digest, known.public) == (digest, job.public_plugin)):
            return
    plugin = Plugin(
        organization_id=organization_id,
        repository_id=repository.id,
        job_type=job.job_type,
        sem_version=job.sem_version,
        plain=number.plain,
        public=job.public_plugin,
        released=number.released,
        version_id=version.id,
        digest=digest,
        commit=commit,
        created_at=tx.now,
    )
    tx.put_plugin(plugin)


def digest_of(one: Loaded) -> str:
    """Of the job's own document and the fragments of its file; what other jobs say in the file does not matter."""
    _, own, fragments = _own(one)
    text = sha256(own.strip().encode(errors="surrogatepass"))
    for path, fragment in sorted(fragments.items()):
        text.update(f"\n{path}\n{fragment}".encode(errors="surrogatepass"))
    text.update(one.dialect.encode())
    return text.hexdigest()


def _own(one: Loaded) -> tuple[int, str, dict[str, str]]:
    """Where the document begins in its file, its text, and the fragments."""
    text, fragments = unpacked(one.text)
    document = documents(normal(text))[one.index]
    return document.offset, document.text, fragments


def _problem(one: Loaded, key: str, told: str, remedy: str) -> Problem:
    offset, own, _ = _own(one)
    found = next((line for line in _KEY.finditer(own) if line[1] == key), None)
    if found is None:
        return Problem(one.path, 0, 0, told, remedy)
    before = normal(unpacked(one.text)[0])[: offset + found.start()]
    return Problem(one.path, before.count("\n") + 1, 1, told, remedy, found[0])


def refused(found: CommitDefinitions, by: CommitDefinitions) -> Sequence[Loaded]:
    """Those of `found` that have a problem in `by` alone."""
    return [one for one, other in zip(found.loaded, by.loaded, strict=True) if other.problems and not one.problems]
