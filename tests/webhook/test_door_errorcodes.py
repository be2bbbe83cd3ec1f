"""Error codes over HTTP: listed, set, changed, forgotten; of one's own organization; written down."""

import pytest

from formicary.runner.core.errorcodes import ErrorCode
from formicary.runner.core.records import Role

PATH = "/api/errors"
DISK = {"error_code": "ERR_DISK_FULL", "regex": "No space left", "action": "HARD_FAILURE", "message": "clean up"}


async def test_set_change_and_forget(client, as_, store):
    headers = await as_(Role.MAINTAINER, user_id="ada")
    made = await client.post(PATH, json=DISK, headers=headers)
    assert made.status_code == 201 and made.headers["location"] == f"{PATH}/{made.json()['id']}"
    one = made.json()
    assert (one["error_code"], one["regex"], one["exit_code"], one["retry"]) == (
        "ERR_DISK_FULL",
        "No space left",
        None,
        0,
    )
    body = {**DISK, "action": "RETRY_TASK", "retry": 2, "exit_code": 1}
    changed = await client.put(f"{PATH}/{one['id']}", json=body, headers=headers)
    assert changed.json() | {"updated_at": ""} == one | {
        "action": "RETRY_TASK", "retry": 2, "exit_code": 1, "updated_at": "",
    }  # fmt: skip
    listed = await client.get(PATH, headers=await as_(Role.VIEWER))
    assert [row["id"] for row in listed.json()["records"]] == [one["id"]]
    assert (await client.get(f"{PATH}?error_code=ERR_OTHER", headers=headers)).json()["total_records"] == 0
    assert (await client.delete(f"{PATH}/{one['id']}", headers=headers)).status_code == 204
    assert (await client.get(f"{PATH}/{one['id']}", headers=headers)).status_code == 404
    audits = store.read().audits({"user_id": "ada"}).records
    assert [(row.action, row.subject) for row in audits] == [
        ("error.delete", "ERR_DISK_FULL"), ("error.set", "ERR_DISK_FULL"), ("error.set", "ERR_DISK_FULL"),
    ]  # fmt: skip
    assert audits[2].detail == {"regex": "No space left", "then": "HARD_FAILURE"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"error_code": "disk"}, "error_code"),
        ({"error_code": "ERR_FATAL"}, "means something to Formicary"),
        ({"error_code": "ERR_ANT_LOST"}, "means something to Formicary"),
        ({"regex": ""}, "by what a failure is known"),
        ({"action": "SUSPEND_JOB"}, "action"),
        ({"action": "RETRY_TASK"}, "they need it"),
        ({"retry": 2}, "`retry` belongs to"),
        ({"regex": "a" * 2000}, "regex"),
        ({"regex": "(?=x)"}, "no regular expression of RE2"),
        ({"more": 1}, "more"),
    ],
)
async def test_what_is_refused(client, as_, change, why):
    answer = await client.post(PATH, json={**DISK, **change}, headers=await as_(Role.ADMIN))
    assert answer.status_code in (400, 422) and why in answer.text


async def test_who_may(client, as_, store):
    """T9, T22: developers look; another organization's are not there."""
    other = await store.write(
        lambda tx: tx.put_error_code(ErrorCode(error_code="ERR_A", exit_code=1, organization_id="elsewhere"))
    )
    assert (await client.post(PATH, json=DISK, headers=await as_(Role.DEVELOPER))).status_code == 403
    admin = await as_(Role.ADMIN)
    assert (await client.get(PATH, headers=admin)).json()["records"] == []
    for call in (client.get, client.delete):
        assert (await call(f"{PATH}/{other.id}", headers=admin)).status_code == 404
    assert (await client.put(f"{PATH}/{other.id}", json=DISK, headers=admin)).status_code == 404
    assert store.read().error_code(other.id) is not None
