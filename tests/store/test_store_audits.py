"""Who did what: written with what is done, listed newest first, and gone where the change is undone."""

import pytest

from formicary.runner.core.records import Audit

pytestmark = pytest.mark.anyio


async def test_an_audit_is_written_with_its_change_or_not_at_all(world):
    def change(tx):
        tx.add_audit(Audit(user_id="ann", action="approve", request_id=7, detail={"comment": "yes"}))
        tx.add_audit(Audit(user_id="bob", action="cancel", request_id=7, token_id=3))
        tx.add_audit(Audit(user_id="bob", action="cancel", organization_id="other"))

    store = world.store
    await store.write(change)
    with pytest.raises(ZeroDivisionError):
        await store.write(lambda tx: (tx.add_audit(Audit(user_id="eve", action="cancel")), 1 / 0))
    reader = store.read()
    found = reader.audits({"organization_id": "default"})
    assert [(one.user_id, one.action, one.token_id) for one in found.records] == [
        ("bob", "cancel", 3),
        ("ann", "approve", None),
    ]
    assert found.records[1].detail == {"comment": "yes"} and found.records[0].at > 0
    assert [one.user_id for one in reader.audits({"action": "approve"}).records] == ["ann"]
    page = reader.audits({"request_id": 7}, page=1, page_size=1)
    assert page.total_records == 2 and [one.user_id for one in page.records] == ["ann"]
