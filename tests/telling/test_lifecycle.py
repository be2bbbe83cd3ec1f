"""Lifecycle webhooks: every change that a definition asks for arrives, once, in order, as events.md says."""

import json
import time
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest

from formicary.cli.masterkey import MasterKey
from formicary.runner.core.records import Secret
from formicary.runner.publish.guard import Guard, Reach
from formicary.runner.publish.outbox import Outbox
from formicary.runner.publish.webhook import WebhookPublisher
from formicary.runner.queen.secrets import Secrets
from formicary.runner.queen.told import Told
from formicary.runner.store.seal import Seal
from formicary.runner.telling.lifecycle import LifecycleEffect
from formicary.runner.telling.outward import Outward

JOB = """\
job_type: ci
params: {{Branch: {{default: main}}, Password: {{secret: true}}}}
webhook: {{url: "{url}", query: {{job: "{{{{ JobType }}}}", id: "{{{{ JobID }}}}"}}}}
tasks:
  - task_type: build
    script: [make]
    on_completed: test
    webhook: {{url: "{url}/task", headers: {{X-Team: ants}}}}
  - {{task_type: test, script: [make test]}}
"""


@pytest.fixture
async def hive(open_hive):
    async with open_hive(told=Told([LifecycleEffect()])) as opened:
        yield opened


@asynccontextmanager
async def sending(hive, allow=("127.0.0.0/8",)):
    """The outbox, with a webhook publisher that may call this machine."""
    outward = Outward(hive.store, lambda: hive.queen.secrets, time.time)
    publisher = WebhookPublisher(hive.store.read, outward.hook, Guard(Reach.of(allow)), hive.queen.mask)
    outbox = Outbox(hive.store, [publisher], time.time)
    hive.store.when_owed(outbox.wake)
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        yield outbox
        group.cancel_scope.cancel()


def split(calls):
    tasks = [call for call in calls if call.path == "/hook/task"]
    return [call for call in calls if call not in tasks], tasks


async def came(receiver, count):
    return [json.loads(call.body) for call in await anyio.to_thread.run_sync(receiver.wait, count)]


async def settled(hive):
    """Everything owed has been sent, or is dead."""
    with anyio.fail_after(10):
        while hive.store.read().outbox_counts().living:
            await anyio.sleep(0.01)


async def run(hive, **ask):
    async with hive.ant() as ant:
        request = await hive.submit(**ask)
        await ant.work(await ant.claim(), outputs={"size": "3"})
        await ant.work(await ant.claim(), exit_code=2)
        return await hive.ended(request.id)


async def test_a_run_is_told_from_its_asking_to_its_end(hive, repo, receive):
    """Each in its order, numbered without gaps, rendered with the request's names; secret parameters are not shown."""
    receiver = receive()
    repo.commit({".formicary/ci.yml": JOB.format(url=receiver.url())})
    await hive.watch(repo)
    async with sending(hive):
        request = await run(hive, params={"Password": "hunter22"})
        await settled(hive)
    events = await came(receiver, 9)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["v"] == 1 and event["organization_id"] == "default" for event in events)
    assert all(event["at"].endswith("Z") and event["request_id"] == request.id for event in events)
    said = [(event["event_type"].removesuffix("LifecycleEvent"), event["state"]) for event in events]
    assert said[0] == ("JobRequest", "PENDING")
    assert said[-2:] == [("JobExecution", "FAILED"), ("JobRequest", "FAILED")]
    tasks = [state for kind, state in said if kind == "TaskExecution"]
    assert tasks[-1] == "COMPLETED" and set(tasks) <= {"READY", "STARTED", "EXECUTING", "COMPLETED"}
    first, last = events[0], events[-1]
    assert first["params"]["Password"] == "***" and first["params"]["Branch"] == "main"
    assert (first["repository"], first["commit"]) == (repo.path.name, request.commit)
    assert (first["waiting_for"], last["waiting_for"]) == ("its turn", "")
    execution = events[-2]
    assert execution["outputs"] == {"build": {"size": "3"}} and "test" in execution["error_message"]
    task = next(event for event in events if event["event_type"].startswith("Task") and event["state"] == "COMPLETED")
    assert (task["task_type"], task["attempt"], task["exit_code"], task["ant_id"]) == ("build", 1, 0, "a1")
    assert task["task_execution_id"] == f"{request.execution_id}-1" and task["method"] == "SHELL"
    assert b"hunter22" not in b"".join(call.body for call in receiver.calls)
    jobs, others = split(receiver.calls)
    assert {call.path for call in jobs} == {f"/hook?job=ci&id={request.id}"}
    assert all(call.headers["X-Team"] == "ants" for call in others)


async def test_who_asks_for_nothing_pays_nothing(hive, repo):
    """No event, no number, no entry."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim())
        await hive.ended(request.id)
    assert hive.store.read().outbox().total_records == 0
    assert await hive.store.write(lambda tx: tx.next_seq("default")) == 1


async def test_a_skipped_task_is_told_without_an_attempt(hive, repo, receive):
    receiver = receive()
    text = "job_type: ci\ntasks:\n  - {task_type: one, script: [a]}\n  - task_type: two\n    needs: [one]\n"
    text += f"    script: [b]\n    webhook: {{url: '{receiver.url()}'}}\n"
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    async with sending(hive), hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim(), exit_code=1)
        await hive.ended(request.id)
        (event,) = await came(receiver, 1)
        await settled(hive)
    assert (event["state"], event["task_execution_id"], event["attempt"]) == ("SKIPPED", "", 0)
    assert len(receiver.calls) == 1


async def test_a_change_that_is_undone_leaves_no_gap(hive):
    """The number is given in the change itself."""

    def broken(tx):
        assert tx.next_seq("default") == 1
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await hive.store.write(broken)
    numbers = [await hive.store.write(lambda tx: tx.next_seq("default")) for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert await hive.store.write(lambda tx: tx.next_seq("other")) == 1


async def test_a_failing_receiver_gets_the_rest_later_and_in_order(hive, repo, receive):
    """D10: what comes after an event waits for it."""
    receiver = receive()
    receiver.answers.extend(
        [(503, {}, b"down"), (503, {"retry-after": "0"}, b"down"), (429, {"retry-after": "0"}, b"")]
    )
    repo.commit({".formicary/ci.yml": JOB.format(url=receiver.url())})
    await hive.watch(repo)
    async with sending(hive):
        await run(hive)
        await settled(hive)
    events = [json.loads(call.body) for call in receiver.calls[3:]]
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    assert len({event["id"] for event in events}) == len(events) >= 9


async def test_a_refusal_is_a_dead_letter_and_stops_nothing_else(hive, repo, receive):
    receiver = receive()
    receiver.answers.append((404, {}, b"there is <b>no</b> such hook\x1b[31m"))
    repo.commit({".formicary/ci.yml": JOB.format(url=receiver.url())})
    await hive.watch(repo)
    async with sending(hive):
        await run(hive)
        await settled(hive)
    (dead,) = hive.store.read().outbox(dead=True).records
    assert dead.payload["event"]["seq"] == 1
    assert dead.error == "`127.0.0.1` answers 404 Not Found: there is <b>no</b> such hook[31m"


async def test_addresses_inside_are_refused(hive, repo, receive):
    """T14."""
    receiver = receive()
    repo.commit({".formicary/ci.yml": JOB.format(url=receiver.url("localhost"))})
    await hive.watch(repo)
    async with sending(hive, allow=()):
        await run(hive)
        await settled(hive)
    counts = hive.store.read().outbox_counts()
    assert counts.dead >= 9 and receiver.calls == []
    assert "`allow_networks`" in hive.store.read().outbox(dead=True).records[0].error


SECRET = """\
job_type: ci
webhook: {{url: "{url}", headers: {{Authorization: "Bearer {{{{ HookToken }}}}"}}}}
script: [make]
"""


@asynccontextmanager
async def with_secret(open_hive, name, value, key=lambda _: Seal(b"k" * 32)):
    """A hive that holds one secret config."""
    async with open_hive(told=Told([LifecycleEffect()])) as hive:
        hive.queen.secrets = Secrets(hive.store, key)
        hive.queen._engine.secrets = hive.queen.secrets
        await hive.queen.secrets.put(Secret(name=name), value)
        yield hive


async def one_run(hive):
    async with hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim())
        await hive.ended(request.id)
    await settled(hive)


async def test_secrets_are_filled_in_at_sending_and_shown_nowhere(open_hive, repo, receive):
    """T8: the outbox holds no value, and an answer that repeats one is masked."""
    receiver = receive()
    receiver.answers.append((400, {}, b"you said Bearer s3cr3t-of-hook, and that is wrong"))
    repo.commit({".formicary/ci.yml": SECRET.format(url=receiver.url())})
    async with with_secret(open_hive, "HookToken", "s3cr3t-of-hook") as hive:
        await hive.watch(repo)
        async with sending(hive):
            await one_run(hive)
        (dead,) = hive.store.read().outbox(dead=True).records
        assert dead.error == "`127.0.0.1` answers 400 Bad Request: you said Bearer ***, and that is wrong"
    assert {call.headers["Authorization"] for call in receiver.calls} == {"Bearer s3cr3t-of-hook"}


async def test_while_the_master_key_is_away_it_is_tried_again(open_hive, repo, receive, tmp_path):
    """What a person can bring back is no dead letter; it is said where people look, and nothing has to be resent."""
    receiver = receive()
    repo.commit({".formicary/ci.yml": SECRET.format(url=receiver.url())})
    async with with_secret(open_hive, "HookToken", "s3cr3t", key=MasterKey(tmp_path, {})) as hive:
        assert hive.queen.health()["secrets"] == ""
        kept = (tmp_path / "master.key").rename(tmp_path / "kept")
        hive.queen.secrets = hive.queen._engine.secrets = Secrets(hive.store, MasterKey(tmp_path, {}))
        await hive.watch(repo)
        async with sending(hive):
            async with hive.ant() as ant:
                request = await hive.submit()
                await ant.work(await ant.claim())
                await hive.ended(request.id)
            await hive.until(lambda: any(one.error for one in hive.store.read().outbox().records))
            owed = hive.store.read().outbox().records
            assert not any(one.dead for one in owed) and receiver.calls == []
            said = next(one.error for one in owed if one.error)
            assert "needs a secret: 1 secret is sealed" in said and "master.key is not there" in said
            assert "master.key is not there" in hive.queen.health()["secrets"]
            kept.rename(tmp_path / "master.key")
            await settled(hive)
        assert hive.queen.health()["secrets"] == "" and hive.store.read().outbox().records == ()
    assert {call.headers["Authorization"] for call in receiver.calls} == {"Bearer s3cr3t"}


async def test_a_url_may_be_a_secret_as_a_whole(open_hive, repo, receive):
    """Loading knows nothing of it; the first event is sent all the same, and in its order."""
    receiver = receive()
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\nwebhook: {url: '{{ HookUrl }}'}\n"})
    async with with_secret(open_hive, "HookUrl", receiver.url()) as hive:
        await hive.watch(repo)
        async with sending(hive):
            await one_run(hive)
        assert hive.store.read().outbox().total_records == 0
    events = [json.loads(call.body) for call in receiver.calls]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["state"], events[-1]["state"]) == ("PENDING", "COMPLETED")


async def test_a_secret_parameter_is_gone_at_the_end_and_that_is_said(hive, repo, receive):
    receiver = receive()
    text = SECRET.format(url=receiver.url()) + "params: {HookToken: {secret: true}}\n"
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    async with sending(hive):
        async with hive.ant() as ant:
            request = await hive.submit(params={"HookToken": "once-only"})
            await came(receiver, 1)
            await ant.work(await ant.claim())
            await hive.ended(request.id)
        await settled(hive)
    assert {call.headers["Authorization"] for call in receiver.calls} == {"Bearer once-only"}
    assert "forgotten at its end" in hive.store.read().outbox(dead=True).records[0].error


async def test_an_entry_whose_request_is_gone_is_settled(hive, repo, receive):
    receiver = receive()
    repo.commit({".formicary/ci.yml": JOB.format(url=receiver.url())})
    await hive.watch(repo)
    request = await hive.submit()
    await hive.queen.cancel(request.id, by="ada")
    await hive.store.write(lambda tx: tx.expire(ended_before=time.time() + 60, deliveries_before=0))
    async with sending(hive):
        await settled(hive)
    assert receiver.calls == [] and hive.store.read().outbox().total_records == 0
