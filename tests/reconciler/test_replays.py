"""T10: a delivery that is looked at again makes no second request of its cause, and keeps those it made."""

import json

from formicary.runner.core.records import Delivery

CI = "job_type: ci\ntriggers: {commit: {}}\nscript: [make]\n"


async def deliver(hive, repository, number):
    body = json.dumps({"repository": "repo", "refs": [{"ref": "refs/heads/main"}]})
    one = Delivery(forge="commit", delivery_key=f"d-{number}", repository_id=repository.id, body=body)
    return (await hive.store.write(lambda tx: tx.add_delivery(one)))[0].id


async def replay(hive, number):
    """As the door does."""
    again = hive.store.read().delivery_by_id(number).model_copy(update={"verdict": "accepted", "reason": ""})
    await hive.store.write(lambda tx: tx.save_delivery(again))
    await hive.reconciler.sync(again.repository_id)
    return hive.store.read().delivery_by_id(number)


async def test_a_replayed_ref_delivery_keeps_its_request(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = (await hive.watch(repo)).id
    repository = hive.store.read().repository(repository)
    repo.commit({"a": "1"})
    number = await deliver(hive, repository, 1)
    await hive.reconciler.sync(repository.id)
    made = hive.store.read().delivery_by_id(number)
    assert made.verdict == "handled" and len(made.request_ids) == 1
    before = hive.requests()
    assert await replay(hive, number) == made
    assert hive.requests() == before


async def test_a_replay_is_a_look_at_what_has_moved_since(hive, repo):
    """Level-triggered: it finds the commit that nobody told of, and both requests stand in the ledger."""
    repo.commit({".formicary/ci.yml": CI})
    repository = hive.store.read().repository((await hive.watch(repo)).id)
    repo.commit({"a": "1"})
    number = await deliver(hive, repository, 1)
    await hive.reconciler.sync(repository.id)
    first = hive.store.read().delivery_by_id(number).request_ids
    newer = repo.commit({"a": "2"})
    again = await replay(hive, number)
    assert again.request_ids == (*first, hive.requests()[-1].id)
    assert hive.requests()[-1].commit == newer


async def test_one_that_led_to_nothing_leads_to_nothing(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = hive.store.read().repository((await hive.watch(repo)).id)
    number = await deliver(hive, repository, 1)
    await hive.reconciler.sync(repository.id)
    made = hive.store.read().delivery_by_id(number)
    assert (made.verdict, made.request_ids) == ("coalesced", ())
    assert await replay(hive, number) == made


async def test_what_nobody_wants_and_what_was_seen_already_are_told_apart(hive, repo):
    repo.commit({".formicary/ci.yml": CI.replace("commit: {}", "commit: {paths: [src/**]}"), "a": "1"})
    repository = hive.store.read().repository((await hive.watch(repo)).id)
    repo.git("rm", "-q", ".formicary/ci.yml")
    repo.commit()
    number = await deliver(hive, repository, 1)
    await hive.reconciler.sync(repository.id)
    late = await deliver(hive, repository, 2)
    await hive.reconciler.sync(repository.id)
    told = [hive.store.read().delivery_by_id(one) for one in (number, late)]
    assert [(one.verdict, one.request_ids) for one in told] == [("ignored", ()), ("coalesced", ())]
    assert [one.reason for one in told] == [
        "no job there wants what has moved",
        "an earlier look at the repository had seen all that it names",
    ]
