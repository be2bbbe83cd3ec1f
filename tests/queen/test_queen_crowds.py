"""A resource for which a thousand wait: fair, told truly, and no dearer for each event than where few do."""

import time

import anyio
from costs import within

from formicary.runner.core.records import JobResource

JOB = """\
job_type: {job}
max_concurrency: 1000
resources: {{resource_type: db, value: {value}}}
script: [psql]
"""
WAITING, WORKED = 1000, 60


async def watched(hive, repo):
    """Jobs that want one unit, or both."""
    jobs = {"ci": 1, "big": 2}
    repo.commit({f".formicary/{name}.yml": JOB.format(job=name, value=value) for name, value in jobs.items()})
    await hive.watch(repo)
    await hive.queen.registry.put_resource(JobResource(resource_type="db", quota=2))


async def asked(hive, count):
    """So many requests, one after the other; each third wants two units."""
    return [await hive.submit("big" if number % 3 == 2 else "ci") for number in range(count)]


async def worked(hive, ant, count):
    """The requests that the ant gets, and the CPU seconds of each."""
    found, began = [], time.process_time()
    for _ in range(count):
        order = await ant.claim()
        found.append(order.request_id)
        await ant.work(order)
        await hive.ended(order.request_id)
    return found, (time.process_time() - began) / count


async def test_a_thousand_that_wait_for_a_resource_cost_no_more_than_a_few(hive, repo):
    await watched(hive, repo)
    few = await asked(hive, WORKED)
    async with hive.ant() as ant:
        first, least = await worked(hive, ant, WORKED)
    assert first == [one.id for one in few]
    many = await asked(hive, WAITING)
    async with hive.ant() as ant:
        with anyio.fail_after(60):
            then, most = await worked(hive, ant, WORKED)
    assert then == [one.id for one in many[:WORKED]]
    assert most < 2 * least + 2e-3, f"{most * 1e3:.1f} ms a job, and {least * 1e3:.1f} ms with few that wait"


async def test_each_of_a_thousand_is_told_what_it_waits_for(hive, repo):
    await watched(hive, repo)
    many = await asked(hive, 300)
    async with hive.ant() as ant:
        order = await ant.claim()
        said = within(1.0, lambda: {hive.queen.why(one.id) for one in many[1:]})
        await ant.work(order)
    assert said == {
        "the only hand that could run it is busy",
        "1 of 2 units of `db` are held, and it asks for 2",
        f"the free units of `db` are kept for request {many[1].id}, which comes first",
    }
