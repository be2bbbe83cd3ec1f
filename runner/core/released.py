"""A version of a plugin as the store keeps it: which text it is, and whose."""

from __future__ import annotations

from formicary.runner.core.records import DEFAULT_ORGANIZATION, Record


class Plugin(Record):
    """One version of a job that says `sem_version`. `sem_version` is as it was written, `plain` the one way to write
    it; `public`: other organizations may fork it; `released`: its text never changes. `digest` is that of the job's own
    document with all that it includes, `version_id` the text, `commit` where it was found first."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    repository_id: int
    job_type: str
    sem_version: str
    plain: str
    public: bool = False
    released: bool = True
    version_id: int
    digest: str
    commit: str = ""
    created_at: float = 0.0
