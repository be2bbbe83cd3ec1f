"""Versions of plugins over HTTP: what an organization may fork, and nothing of what others keep to themselves."""

import pytest

from formicary.runner.core.records import Repository, Role, Version
from formicary.runner.core.released import Plugin

PATH = "/api/plugins"


@pytest.fixture
async def kept(store):
    """(job, version, organization, public)."""
    wanted = [
        ("io.acme.scan", "1.0", "default", True),
        ("io.acme.scan", "1.10", "default", True),
        ("io.acme.scan", "1.9-dev", "default", True),
        ("audit", "2.0", "default", False),
        ("org.far.lint", "0.1", "far", True),
        ("secret", "1.0", "far", False),
    ]

    def write(tx):
        places = {
            name: tx.put_repository(Repository(id=0, organization_id=name, name=f"{name}-repo", path=f"/{name}"))
            for name in ("default", "far")
        }
        return [tx.put_plugin(plugin(tx, places[one[2]], *one)) for one in wanted]

    return await store.write(write)


def plugin(tx, repository, job_type, sem_version, organization_id, public):
    at = {"organization_id": organization_id, "repository_id": repository.id, "job_type": job_type, "commit": "c" * 40}
    text = f"job_type: {job_type}\nsem_version: {sem_version}\n"
    version = Version(id=0, version=0, digest=sem_version, path="a.yml", index=0, text=text, **at)
    released = "-" not in sem_version
    return Plugin(
        sem_version=sem_version,
        plain=sem_version.replace("-", ".0-") if not released else f"{sem_version}.0",
        public=public,
        released=released,
        version_id=tx.put_version(version).id,
        digest="d",
        **at,
    )


async def listed(client, headers, **query):
    answer = (await client.get(PATH, headers=headers, params=query)).json()
    return [(one["job_type"], one["sem_version"], one["repository"]) for one in answer["records"]]


async def test_an_organization_sees_its_own_and_what_is_public(client, as_, kept):
    viewer = await as_(Role.VIEWER)
    scans = [("io.acme.scan", version, "default-repo") for version in ("1.10", "1.9-dev", "1.0")]
    assert await listed(client, viewer) == [
        ("audit", "2.0", "default-repo"),
        *scans,
        ("org.far.lint", "0.1", ""),
    ]
    assert await listed(client, viewer, job_type="io.acme.scan") == scans
    assert await listed(client, viewer, job_type="io.acme.scan", wanted="^1.0") == [scans[0], scans[2]]
    assert await listed(client, viewer, q="LINT") == [("org.far.lint", "0.1", "")]


async def test_one_version_is_shown_with_its_text(client, as_, kept):
    viewer = await as_(Role.VIEWER)
    one = (await client.get(f"{PATH}/{kept[1].id}", headers=viewer)).json()
    assert one["text"] == "job_type: io.acme.scan\nsem_version: 1.10\n" and one["released"]
    for wrong in (kept[5].id, 999):
        assert (await client.get(f"{PATH}/{wrong}", headers=viewer)).status_code == 404
    assert (await client.get(PATH, headers=viewer, params={"wanted": "~1"})).status_code == 422
