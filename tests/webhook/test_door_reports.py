"""Reports over HTTP: figures, tests, lines; of one's own requests only."""

import pytest

from formicary.runner.core.records import NewRequest, Role
from formicary.runner.core.reported import TaskReport
from formicary.runner.core.reports import Case, Coverage, FileLines, Reports, Suite

SAID = Reports(
    tests=Suite(passed=2, failed=1, cases=(Case(name="bad", verdict="failed", message="no"), Case(name="good"))),
    coverage=Coverage(covered=1, valid=3, files=(FileLines(path="a.py", covered=1, valid=3),)),
)


@pytest.fixture
async def reported(store, queen, definition):
    def change(tx):
        made, _ = tx.create_request(NewRequest(version_id=queen.version_id, job_type="ci"))
        other, _ = tx.create_request(
            NewRequest(version_id=queen.version_id, job_type="ci", organization_id="elsewhere")
        )
        for number, one in enumerate((made, other)):
            tx.add_report(TaskReport(request_id=one.id, task_execution_id=f"{number}-1", task_type="unit"), SAID)
        return made.id, other.id

    return await store.write(change)


async def test_what_reports_say(client, as_, reported):
    mine, _ = reported
    path, headers = f"/api/jobs/requests/{mine}/reports", await as_(Role.VIEWER)
    (one,) = (await client.get(path, headers=headers)).json()["records"]
    assert (one["tests"], one["failed"], one["first"], one["covered"], one["valid"]) == (3, 1, "bad", 1, 3)
    cases = (await client.get(f"{path}/{one['id']}/cases", headers=headers)).json()
    assert [(case["name"], case["verdict"]) for case in cases["records"]] == [("bad", "failed"), ("good", "passed")]
    only = (await client.get(f"{path}/{one['id']}/cases?verdict=passed", headers=headers)).json()
    assert only["total_records"] == 1
    lines = (await client.get(f"{path}/{one['id']}/lines", headers=headers)).json()["records"]
    assert lines == [{"path": "a.py", "covered": 1, "valid": 3}]
    wrong = await client.get(f"{path}/{one['id']}/cases?verdict=maybe", headers=headers)
    assert wrong.status_code == 422


async def test_reports_of_others_are_not_there(client, as_, reported):
    """T9."""
    mine, other = reported
    headers = await as_(Role.ADMIN)
    for path in (f"{other}/reports", f"{other}/reports/2/cases", f"{mine}/reports/2/cases", f"{mine}/reports/2/lines"):
        assert (await client.get(f"/api/jobs/requests/{path}", headers=headers)).status_code == 404
