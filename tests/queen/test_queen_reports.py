"""Reports on their way from an ant to the store, to the attempt's figures, and to what people are told."""

from formicary.runner.core.reports import Case, Coverage, Reports, Suite, Tally
from formicary.runner.core.states import State
from formicary.runner.publish.status import task_verdict, verdict

CI = "job_type: ci\ntasks:\n- task_type: unit\n  script: [make]\n  retry: 1\n  reports: {junit: ['*.xml']}\n"
BAD = Reports(tests=Suite(passed=116, failed=3, skipped=1, cases=(Case(name="test_login", verdict="failed"),)))
GOOD = Reports(tests=Suite(passed=119, skipped=1), coverage=Coverage(covered=871, valid=1000))


async def test_each_attempt_has_its_own(hive, repo):
    """The second attempt passes: what is told is its."""
    repo.commit({".formicary/ci.yml": CI})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        first = await ant.claim()
        assert first.task.reports.junit == ("*.xml",)
        await ant.work(first, exit_code=1, reports=BAD)
        await ant.work(await ant.claim(), reports=GOOD)
        await hive.ended(request.id)
    run = hive.execution(request.id).tasks["unit"]
    assert [one.tally.bad for one in run.attempts] == [3, 0]
    reports = hive.store.read().reports(request.id)
    assert [(one.task_execution_id, one.task_type, one.failed) for one in reports] == [
        (first.task_execution_id, "unit", 3), (run.last.id, "unit", 0),
    ]  # fmt: skip
    assert hive.store.read().report_cases(reports[0].id).records[0].name == "test_login"
    said = verdict(hive.request(request.id), None, hive.execution(request.id))
    assert said.description.endswith("; 119 tests passed, 87.1% of lines covered")


async def test_a_failure_is_told_by_its_first_test(hive, repo):
    repo.commit({".formicary/ci.yml": CI.replace("retry: 1", "retry: 0")})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        await ant.work(await ant.claim(), exit_code=1, reports=BAD)
        ended = await hive.ended(request.id)
    execution = hive.execution(request.id)
    plan = hive.store.read().plan(execution.id)
    assert ended.state is State.FAILED
    assert ended.error_message == "task `unit` failed with exit code 1: 3 of 120 tests failed: test_login"
    sentence = "`unit` failed: 3 of 120 tests failed: test_login"
    assert verdict(ended, plan.definition, execution).description == sentence
    assert task_verdict(ended, execution, "unit").description == "failed: 3 of 120 tests failed: test_login"


def test_sentences_of_tallies():
    assert Tally(tests=1, bad=1).failing == "1 of 1 test failed"
    assert Tally(tests=1).passing == "1 test passed" and Tally(tests=2, bad=1).passing == ""
    assert Tally(covered=999, valid=1000).passing == "99.9% of lines covered"
    assert Tally(covered=9999, valid=10000).share == "99.9%", "100% is all of them"
    assert Tally(covered=7, valid=7).told == "100.0% of 7 lines covered"
    assert Tally().told == "0 tests" and Tally().passing == Tally().failing == ""
