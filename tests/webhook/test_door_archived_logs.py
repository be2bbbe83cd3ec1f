"""A log that lies in the archive is read like any other: through the API, raw and as records, and on its page."""

import io

import pytest

from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.core.errors import WorldError
from formicary.runner.core.logframes import frame
from formicary.runner.queen.keeping.shelf import Shelf


class Archive(DirectoryStore):
    away = False

    def open(self, sha256):
        if self.away:
            raise WorldError("The bucket is away.")
        return super().open(sha256)


@pytest.fixture
async def archived(queen, make_request, make_execution, tmp_path):
    """(path of the API, what it answered before, the archive)"""
    execution = await make_execution(await make_request())
    name, out = f"{execution.id}-1", io.BytesIO()
    for number in range(200):
        out.write(frame(1.0 + number, "out", f"line {number}\n".encode()))
    queen.logs.append(name, 0, out.getvalue())
    queen.logs.close(name)
    archive = Archive(tmp_path / "archive")
    queen.logs.shelf = Shelf(archive, queen.logs.folder)
    return name, archive


async def test_it_is_served_as_before(client, admin, archived, queen):
    """Raw, in parts, as records: the same bytes (D13)."""
    name, _archive = archived
    calls = [(f"/api/tasks/{name}/log", {}), (f"/api/tasks/{name}/log", {"range": "bytes=100-299"})]
    calls += [(f"/api/tasks/{name}/log?format=records", {})]

    async def answers():
        found = [await client.get(path, headers={**admin, **more}) for path, more in calls]
        return [(one.status_code, one.content) for one in found]

    before = await answers()
    assert [status for status, _ in before] == [200, 206, 200] and b"line 199" in before[0][1]
    queen.logs.shelf.put(queen.logs.path(name))
    assert not queen.logs.path(name).exists()
    assert await answers() == before


async def test_an_archive_that_is_away_is_said(client, admin, archived, queen):
    """503, and not an empty log."""
    name, archive = archived
    queen.logs.shelf.put(queen.logs.path(name))
    archive.away = True
    answer = await client.get(f"/api/tasks/{name}/log", headers=admin)
    assert answer.status_code == 503 and "The bucket is away." in answer.json()["detail"]
