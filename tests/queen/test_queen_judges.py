"""Error codes at work: a failure is known by its exit code, its message and the last lines of its log."""

import pytest
from costs import within

from formicary.runner.core.errorcodes import ErrorCode
from formicary.runner.core.errors import NotFound, UserError
from formicary.runner.core.execution import Result
from formicary.runner.core.logframes import frame
from formicary.runner.core.states import State
from formicary.runner.queen.keeping.judging import compiled, judge
from formicary.runner.queen.keeping.logs import Logs

CI = "job_type: ci\ntasks:\n- task_type: unit\n  script: [make]\n  retry: 1\n"


async def coded(hive, **fields):
    return await hive.queen.registry.put_error_code(ErrorCode(**{"error_code": "ERR_X", **fields}))


async def test_the_last_lines_of_the_log_name_a_failure(hive, repo):
    """Its own retries are in place of the task's; the next failure is another one."""
    repo.commit({".formicary/ci.yml": CI})
    await hive.watch(repo)
    await coded(
        hive, error_code="ERR_NET", regex="^Connection reset$", action="RETRY_TASK", retry=3, message="try later"
    )
    await coded(hive, error_code="ERR_DISK", regex="No space left", action="HARD_FAILURE")
    async with hive.ant() as ant:
        request = await hive.submit()
        for _ in range(3):
            order = await ant.claim()
            await ant.log(order, "building\n\x1b[31mConnection reset\x1b[0m\nmake: *** [all] Error 1\n")
            await ant.work(order, exit_code=2)
        order = await ant.claim()
        await ant.log(order, "cp: No space left on device\n")
        await ant.work(order, exit_code=2)
        ended = await hive.ended(request.id)
    run = hive.execution(request.id).tasks["unit"]
    assert [one.error_code for one in run.attempts] == ["ERR_NET"] * 3 + ["ERR_DISK"]
    assert (ended.state, ended.error_code) == (State.FAILED, "ERR_DISK") and run.attempts[-1].hard
    assert run.attempts[0].error_message == (
        "task `unit` failed with exit code 2 (ERR_NET: try later) (attempt 1 of 4)"
    )


async def test_codes_of_other_organizations_and_jobs_are_not_meant(hive, repo):
    """T9."""
    repo.commit({".formicary/ci.yml": CI.replace("retry: 1", "retry: 0")})
    await hive.watch(repo)
    await coded(hive, exit_code=2, organization_id="other")
    await coded(hive, exit_code=2, job_type="nightly")
    await coded(hive, exit_code=2, task_type="lint")
    await coded(hive, exit_code=2, platform="windows")
    await coded(hive, exit_code=3)
    async with hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim(), exit_code=2)
        assert (await hive.ended(request.id)).error_code == "ERR_EXIT_CODE"
        await coded(hive, error_code="ERR_MINE", exit_code=2, job_type="ci", task_type="unit", platform="*")
        request = await hive.submit()
        await ant.work(await ant.claim(), exit_code=2)
        assert (await hive.ended(request.id)).error_code == "ERR_MINE"


async def test_what_succeeded_is_not_looked_at(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    await hive.watch(repo)
    await coded(hive, regex=".")
    async with hive.ant() as ant:
        request = await hive.submit()
        order = await ant.claim()
        await ant.log(order, "anything\n")
        await ant.work(order)
        assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_expressions_that_are_none(hive):
    for regex in ("(", "(?=ahead)", r"\1", "a{2000}"):
        with pytest.raises(UserError, match="no regular expression of RE2"):
            await coded(hive, regex=regex)
    with pytest.raises(NotFound):
        await coded(hive, id=77, exit_code=1)
    assert hive.store.read().error_codes("default") == []


def judged(tmp_path, said, *codes, message="", **result):
    logs = Logs(tmp_path / "logs")
    path = logs.path("1-1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(frame(1.0, "out", said.encode()) if said else b"")
    where = ("ci", "unit", "linux")
    found = judge(codes, where, Result(error_message=message, **{"exit_code": 1, **result}), logs, "1-1")
    return found.error_code if found else None


def code(number, **fields):
    return ErrorCode(id=number, error_code=f"ERR_{number}", **fields)


def test_which_code_it_is(tmp_path):
    assert judged(tmp_path, "a\nb\n", code(1, regex="^b$"), code(2, regex="a")) == "ERR_1", "the older one"
    assert judged(tmp_path, "a\nb\n", code(1, regex="^c$"), code(2, regex="a")) == "ERR_2"
    assert judged(tmp_path, "a\n", code(1, regex="a"), code(2, regex="a", job_type="ci")) == "ERR_2", "the narrower one"
    assert judged(tmp_path, "", code(1, regex="timeout of 5s"), message="it ran into its timeout of 5s") == "ERR_1"
    assert judged(tmp_path, "a\n", code(1, regex="a", exit_code=7), exit_code=8) is None
    assert judged(tmp_path, "a\n", code(1, exit_code=7), exit_code=7) == "ERR_1"
    assert judged(tmp_path, "a\nA\n", code(1, regex="^A\na$")) is None
    assert judged(tmp_path, "a\r\nA\r\n", code(1, regex="(?i)^A\na$")) == "ERR_1"
    many = "first\n" + "more\n" * 300
    assert judged(tmp_path, many, code(1, regex="first")) is None, "only the last lines are looked at"


def test_no_expression_takes_long(tmp_path):
    """T18: what takes Python's own engine for ever is nothing to this one."""
    said = "a" * 60_000 + "b\n"
    codes = [code(number, regex=f"(a+)+(a|aa)+{number}$") for number in range(20)]
    assert within(1.0, lambda: judged(tmp_path, said, *codes)) is None


def test_an_expression_is_made_once():
    assert compiled("x+y") is compiled("x+y")
