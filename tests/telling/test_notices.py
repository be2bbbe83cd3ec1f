"""Who is told that something ended, and what he reads: from a real repository, through the outbox, as a mail."""

import time
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from formicary.runner.core.definition import JobDefinition, TaskDefinition
from formicary.runner.core.execution import Attempt, Combinations, Execution, TaskRun
from formicary.runner.core.records import Secret
from formicary.runner.core.reports import Case, Reports, Suite
from formicary.runner.core.states import State
from formicary.runner.publish.messages import Mail, MessagePublisher, Ways
from formicary.runner.publish.outbox import Outbox
from formicary.runner.queen.secrets import Secrets
from formicary.runner.queen.told import Moment, Told
from formicary.runner.store.seal import Seal
from formicary.runner.telling.breakage import Composer, Ended, _duration
from formicary.runner.telling.notices import NotifyEffect, NotifyPublisher, _ended, wants
from formicary.runner.telling.outward import Outward

JOB = """\
job_type: ci
notify:
  email: {{recipients: [team@example.org], when: {when}}}
tasks:
  - {{task_type: build, script: [make], on_completed: test}}
  - {{task_type: test, script: [make test]}}
"""


@pytest.fixture
async def hive(open_hive):
    async with open_hive(told=Told([NotifyEffect()]), url="https://ci.example") as opened:
        yield opened


@asynccontextmanager
async def telling(hive, port):
    outward = Outward(hive.store, lambda: hive.queen.secrets, time.time, "https://ci.example")
    composer = Composer(hive.store, hive.logs, hive.sources, outward, hive.queen.mask)
    ways = Ways(mail=Mail("127.0.0.1", port, "insecure", "Formicary <ci@ants.example>"))
    publishers = [NotifyPublisher(hive.store, outward), MessagePublisher(ways, composer.message, hive.queen.mask)]
    outbox = Outbox(hive.store, publishers, time.time)
    hive.store.when_owed(outbox.wake)
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        yield
        with anyio.fail_after(10):
            while hive.store.read().outbox_counts().living:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()


@pytest.fixture
async def mails(hive, mail_server):
    """The mails that have come; asking for them waits for all that is owed."""
    async with mail_server() as server:

        @asynccontextmanager
        async def sent():
            async with telling(hive, server.port):
                yield server.mails

        yield sent


async def run(hive, *exit_codes, log="", **ask):
    """A run of the tasks in their order, each with its exit code; the last one writes `log`."""
    async with hive.ant() as ant:
        request = await hive.submit(**ask)
        for number, code in enumerate(exit_codes, 1):
            order = await ant.claim()
            if log and number == len(exit_codes):
                await ant.log(order, log)
            await ant.work(order, exit_code=code)
        return await hive.ended(request.id)


def plain(letter):
    return letter.get_body(("plain",)).get_content()


async def test_a_failure_tells_what_broke_since_when_and_how(hive, repo, mails):
    """Subject, commit, the commits in between, the lines of the log, exit code, who, how long, and the link."""
    repo.commit({".formicary/ci.yml": JOB.format(when="onChange")}, message="works")
    await hive.watch(repo)
    async with mails() as letters:
        good = await run(hive, 0, 0)
        for title in ("first step", "breaks <it>\n\nbody", "and on"):
            last = repo.commit({"file": title}, message=title)
        (repository,) = hive.store.read().repositories()
        await hive.reconciler.sync(repository.id)
        bad = await run(hive, 0, 3, log="fine\n\x1b[31mE   assert 1 == 2\x1b[0m\nmore\n")
    (letter,) = letters
    text, name = plain(letter), repo.path.name
    assert letter["Subject"] == f"[{name}] ci failed on main: task `test` exit code 3"
    assert letter["To"] == "team@example.org"
    assert f"commit {last[:10]} (request {bad.id}), the first time" in text
    assert f"it last passed at commit {good.commit[:10]} (request {good.id})" in text
    assert [title for title in ("first step", "breaks <it>", "and on") if title not in text] == []
    assert text.index("and on (Ada)") < text.index("first step (Ada)"), "the newest first"
    assert "E   assert 1 == 2" in text and "\x1b" not in text
    assert f"https://ci.example/requests/{bad.id}" in text and "Failed: test: exit code 3" in text
    assert "Started by: manual" in text.splitlines()


async def test_what_a_task_reports_is_the_message(hive, repo, mails):
    """`report_stdout`: of a job that completed, the end of what that task wrote; of one that failed, what failed."""
    text = JOB.format(when="always").replace("make test]}", "make test], report_stdout: true}")
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    wrote = "".join(f"line {number}\n" for number in range(5000)) + "\x1b[1mTotal\x1b[0m: 42\n"
    async with mails() as letters:
        await run(hive, 0, 0, log=wrote)
        await run(hive, 0, 1, log="Error: nothing\n")
    good, bad = map(plain, letters)
    assert "Output of test:" in good and "Total: 42" in good and "line 4999" in good and "line 10\n" not in good
    assert len(good) < 16_000 and "\x1b" not in good
    assert "Output of" not in bad and "Log of test:" in bad and "Error: nothing" in bad


async def test_a_failure_names_the_tests(hive, repo, mails):
    repo.commit({".formicary/ci.yml": JOB.format(when="always")})
    await hive.watch(repo)
    said = Reports(tests=Suite(passed=116, failed=4, cases=(Case(name="test_login", verdict="failed"),)))
    async with mails() as letters, hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim())
        await ant.work(await ant.claim(), exit_code=1, reports=said)
        await hive.ended(request.id)
    (letter,) = letters
    assert letter["Subject"].endswith("failed on main: task `test` 4 of 120 tests failed: test_login")
    assert "Failed: test: 4 of 120 tests failed: test_login" in plain(letter)
    assert "Tests: 120 tests, 4 failed" in plain(letter)


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("onChange", ["failed", "works again"]),
        ("onFailure", ["failed", "still fails"]),
        ("onSuccess", ["passed", "works again", "passed"]),
        ("always", ["passed", "failed", "still fails", "works again", "passed"]),
        ("never", []),
    ],
)
async def test_when(hive, repo, mails, when, told):
    repo.commit({".formicary/ci.yml": JOB.format(when=when)})
    await hive.watch(repo)
    async with mails() as letters:
        for code in (0, 1, 1, 0, 0):
            await run(hive, 0, code)
            while hive.store.read().outbox_counts().living:
                await anyio.sleep(0.01)
    words = [word for letter in letters for word in ("failed", "still fails", "works again", "passed")
             if f" {word} on main" in letter["Subject"]]  # fmt: skip
    assert words == told


def test_the_rules_of_when():
    """The first run that fails is a change, the first that passes is none; what was cancelled is told by `always`."""
    good, bad, cancelled = State.COMPLETED, State.FAILED, State.CANCELLED
    assert wants("onChange", bad, None) and not wants("onChange", good, None)
    assert wants("onChange", bad, good) and wants("onChange", good, bad) and not wants("onChange", bad, bad)
    assert [
        when for when in ("always", "onSuccess", "onFailure", "onChange", "never") if wants(when, cancelled, good)
    ] == ["always"]


async def test_the_tracked_branch_says_who_is_told(hive, repo, mails):
    """Whoever may push a branch may not mail the world from it (language.md)."""
    repo.commit({".formicary/ci.yml": JOB.format(when="always")})
    await hive.watch(repo)
    other = JOB.format(when="always").replace("team@example.org", "world@example.org")
    repo.git("checkout", "-q", "-b", "loud")
    repo.commit({".formicary/ci.yml": other})
    await hive.reconciler.sync(hive.store.read().repositories()[0].id)
    async with mails() as letters:
        await run(hive, 0, 1, ref="refs/heads/loud")
    (letter,) = letters
    assert letter["To"] == "team@example.org" and " on loud" in letter["Subject"]


async def test_a_task_tells_its_own_end(hive, repo, mails):
    text = JOB.format(when="never").replace(
        "script: [make], ", "script: [make], notify: {email: {recipients: [build@example.org], when: onFailure}}, "
    )
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    async with mails() as letters:
        await run(hive, 0, 1)
        await run(hive, 2)
    (letter,) = letters
    assert letter["To"] == "build@example.org"
    assert letter["Subject"] == f"[{repo.path.name}] ci: task `build` failed on main: exit code 2"


async def test_what_was_forgiven_is_not_to_blame(hive, repo, mails):
    text = JOB.format(when="onFailure").replace("script: [make], ", "script: [make], allow_failure: true, ")
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    async with mails() as letters:
        await run(hive, 9, 3)
    (letter,) = letters
    assert letter["Subject"].endswith(": task `test` exit code 3") and "build" not in plain(letter)


async def test_each_recipient_is_an_entry_of_his_own(hive, repo, mails):
    """D10: and one who cannot be told is a dead letter that names the remedy."""
    text = JOB.format(when="onFailure").replace("[team@example.org]", "[a@example.org, b@example.org]")
    text = text.replace("notify:\n", "notify:\n  slack: {recipients: ['#ci']}\n")
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    async with mails() as letters:
        await run(hive, 0, 1)
    assert sorted(letter["To"] for letter in letters) == ["a@example.org", "b@example.org"]
    (dead,) = hive.store.read().outbox(dead=True).records
    assert (dead.kind, dead.payload["recipient"]) == ("message", "#ci") and "has to set `slack`" in dead.error


async def test_recipients_are_rendered_with_the_requests_names(hive, repo, mails):
    """Those that outsiders can write are refused unless they are plain words (T6)."""
    text = "job_type: ci\nparams: {Who: {default: nobody}}\nscript: [make]\n"
    text += "notify: {email: {recipients: ['{{ Who }}@example.org']}}\n"
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    async with mails() as letters:
        await run(hive, 0, params={"Who": "ada"})
    assert [letter["To"] for letter in letters] == ["ada@example.org"]


async def test_a_recipient_may_be_a_secret(hive, repo, mails):
    """Nobody knows him before; and he is told of the end of a branch's run, whose own file names nobody."""
    hive.queen.secrets = hive.queen._engine.secrets = Secrets(hive.store, lambda _: Seal(b"k" * 32))
    await hive.queen.secrets.put(Secret(name="Boss"), "boss@example.org")
    text = "job_type: ci\nscript: [make]\n"
    repo.commit({".formicary/ci.yml": f"{text}notify: {{email: {{recipients: ['{{{{ Boss }}}}']}}}}\n"})
    await hive.watch(repo)
    repo.git("checkout", "-q", "-b", "quiet")
    repo.commit({".formicary/ci.yml": text})
    await hive.reconciler.sync(hive.store.read().repositories()[0].id)
    async with mails() as letters:
        await run(hive, 0)
        await run(hive, 0, ref="refs/heads/quiet")
    assert [letter["To"] for letter in letters] == ["boss@example.org"] * 2
    assert hive.store.read().outbox().total_records == 0


async def test_a_job_that_cannot_be_read_tells_those_who_are_named_plainly(hive, repo, mails):
    """And nobody whom an outsider's text would name (T6)."""
    text = "job_type: ci\nscript: [make]\nnotify:\n  email:\n    recipients:\n"
    text += "      - team@example.org\n      - '{{ GitCommitMessage }}@example.org'\n"
    repo.commit({".formicary/ci.yml": text}, message="evil@evil.example, x")
    await hive.watch(repo)
    async with mails() as letters:
        request = await hive.refused()
    (letter,) = letters
    assert (request.state, request.execution_id) == (State.FAILED, None)
    assert letter["To"] == "team@example.org"
    assert letter["Subject"].startswith(f"[{repo.path.name}] ci failed on main: ") and "ci.yml" in letter["Subject"]
    assert "Reason: " in plain(letter)


async def test_nobody_is_told_but_by_name(hive, repo, mails):
    """T6: where there is nobody else, it is a dead letter that says why."""
    text = "job_type: ci\nscript: [make]\nnotify: {email: {recipients: ['{{ GitCommitMessage }}@example.org']}}\n"
    repo.commit({".formicary/ci.yml": text}, message="evil@evil.example, x")
    await hive.watch(repo)
    async with mails() as letters:
        await hive.refused()
    (dead,) = hive.store.read().outbox(dead=True).records
    assert letters == [] and "what outsiders can write" in dead.error.lower()


async def test_what_was_skipped_or_has_no_notify_owes_nothing(hive, repo):
    repo.commit(
        {
            ".formicary/ci.yml": "job_type: ci\nscript: [make]\n",
            ".formicary/never.yml": "job_type: never\nskip_if: 'true'\nscript: [a]\n"
            "notify: {email: {recipients: [a@example.org]}}\n",
        }
    )
    await hive.watch(repo)
    await run(hive, 1)
    await hive.submit("never")
    assert hive.store.read().outbox().total_records == 0


async def test_secrets_of_what_runs_are_masked(hive, repo, mails):
    """T8: in a title too, which no ant has masked."""
    text = JOB.format(when="always") + "params: {Key: {secret: true}}\n"
    repo.commit({".formicary/ci.yml": text}, message="leaks s3cr3t-value here")
    await hive.watch(repo)
    hive.queen.mask = lambda text: text.replace("s3cr3t-value", "***")
    async with mails() as letters:
        await run(hive, 0, 1, log="Error: s3cr3t-value\n")
    (letter,) = letters
    assert "s3cr3t-value" not in letter.as_string() and "leaks *** here" in plain(letter)


def test_a_matrix_is_one_task_that_ends_once():
    """Its combinations tell nobody by themselves; each failed one is named in the message."""

    def moment(state, *combinations, before=None):
        runs = [TaskRun(name="test", state=state, combinations=Combinations(size=2, left=0))]
        for n in combinations:
            failed = Attempt(id=f"7-{ord(n)}", number=1, fence=1, state=State.FAILED, exit_code=2)
            runs.append(TaskRun(name=f"test (n={n})", matrix_of="test", state=State.FAILED, attempts=(failed,)))
        execution = Execution(id=7, request_id=1, created_at=0.0, tasks={run.name: run for run in runs})
        job = JobDefinition(job_type="ci", tasks=(TaskDefinition(task_type="test"),))
        return Moment(None, None, State.EXECUTING, job, execution, before or execution)

    began, one = moment(State.EXECUTING), moment(State.EXECUTING, "x")
    assert list(_ended(replace(one, before=began.execution))) == []
    both = moment(State.FAILED, "x", "y", before=one.execution)
    assert list(_ended(both)) == [("test", State.FAILED)]
    assert list(_ended(replace(both, before=both.execution))) == []
    ended = Ended(None, None, both.execution, "test", State.FAILED, None, both.definition)
    assert [run.name for run in ended.failed] == ["test (n=x)", "test (n=y)"]


def test_durations_as_people_say_them():
    said = [_duration(seconds) for seconds in (0.04, 9.94, 12, 59.4, 200, 7500)]
    assert said == ["0.0 s", "9.9 s", "12 s", "59 s", "3 min 20 s", "2 h 5 min"]
