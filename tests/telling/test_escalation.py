"""People who did not decide in time are told of it once, and the job waits on: from a repository to a mail."""

import time

import anyio
import pytest

from formicary.runner.core.execution import Execution
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import State
from formicary.runner.publish.messages import Mail, MessagePublisher, Ways
from formicary.runner.publish.outbox import Outbox
from formicary.runner.publish.status import verdict
from formicary.runner.queen.people.approvals import Ballot
from formicary.runner.queen.told import Told
from formicary.runner.telling.breakage import Composer
from formicary.runner.telling.escalation import EscalationPublisher, channel_of, escalation_effect
from formicary.runner.telling.outward import Outward

JOB = """\
job_type: ci
tasks:
  - task_type: ok
    method: MANUAL
    approval_policy:
      sla_deadline: 200ms
      timeout: 400ms
      timeout_action: ESCALATE
      escalation_recipients: boss@example.org
      escalation_message: "{{ GitBranch }} is waiting"
"""


async def test_each_deadline_is_told_once(open_hive, repo, mail_server):
    repo.commit({".formicary/ci.yml": JOB})
    async with (
        open_hive(told=Told([escalation_effect]), url="https://ci.example") as hive,
        mail_server() as server,
        anyio.create_task_group() as group,
    ):
        outward = Outward(hive.store, lambda: hive.queen.secrets, time.time, "https://ci.example")
        composer = Composer(hive.store, hive.logs, hive.sources, outward, hive.queen.mask)
        ways = Ways(mail=Mail("127.0.0.1", server.port, "insecure", "Formicary <ci@ants.example>"))
        publishers = [EscalationPublisher(hive.store, outward), MessagePublisher(ways, composer.message)]
        outbox = Outbox(hive.store, publishers, time.time)
        hive.store.when_owed(outbox.wake)
        group.start_soon(outbox.run)
        await hive.watch(repo)
        request = await hive.submit()
        with anyio.fail_after(10):
            while len(server.mails) < 2 or hive.store.read().outbox_counts().living:
                await anyio.sleep(0.01)
        assert hive.request(request.id).state is State.MANUAL_APPROVAL_REQUIRED, "it waits on"
        await hive.queen.vote(request.id, Ballot(approved=True, by="ann", role="developer"))
        assert (await hive.ended(request.id)).state is State.COMPLETED
        group.cancel_scope.cancel()
    assert sorted(letter["Subject"] for letter in server.mails) == [
        f"ci #{request.id} waits for an approval of ok for {span} by now" for span in ("200ms", "400ms")
    ]
    text = server.mails[0].get_body(("plain",)).get_content()
    assert "Message: main is waiting" in text and "Who decides: a developer" in text
    assert "0 of 1 have approved" in text and f"https://ci.example/requests/{request.id}" in text
    assert {letter["To"] for letter in server.mails} == {"boss@example.org"}


@pytest.mark.parametrize(
    ("recipient", "channel"), [("a@b.org", "email"), ("#ops", "slack"), ("@ann", "slack"), ("ntfy://topic", "urls")]
)
def test_the_channel_is_seen_by_the_look(recipient, channel):
    assert channel_of(recipient) == channel


def test_the_commits_status_says_who_is_waited_for():
    request = JobRequest(id=1, version_id=1, job_type="ci", created_at=1.0, state=State.MANUAL_APPROVAL_REQUIRED)
    execution = Execution.model_validate(
        {"id": 1, "request_id": 1, "created_at": 1, "tasks": {"ok": {"name": "ok", "state": request.state}}}
    )
    assert verdict(request, None, execution) == ("pending", "waits for an approval of `ok`")
