"""Retention: what is too old goes whole, and what others still need stays."""

import io
import os
import time

from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.records import Delivery
from formicary.runner.queen.keeping.retention import BATCH, DAY, Keeping, Retention

CI = "job_type: ci\ntasks: [{task_type: t, script: [make], artifacts: {paths: [out], expires_after: 1h}}]\n"


async def ran(hive, repo, digest):
    repo.commit({".formicary/ci.yml": CI})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        order = await ant.claim()
        await ant.log(order, "hello\n")
        await ant.work(order, artifacts=(ArtifactRef(name="out", digest=digest.sha256, size=digest.size),))
        await hive.ended(request.id)
    return request, order.task_execution_id


def aged(objects, digest, days):
    path = next(path for path in objects._objects.rglob("*") if path.is_file() and path.name == digest.sha256[2:])
    path.chmod(0o600)
    os.utime(path, (time.time() - days * DAY,) * 2)


async def test_old_requests_go_with_logs_bytes_and_pages(hive, repo, tmp_path):
    objects, told = DirectoryStore(tmp_path / "objects"), []
    digest = objects.put(io.BytesIO(b"made"))
    aged(objects, digest, 100)
    request, attempt = await ran(hive, repo, digest)

    async def gone(ids):
        told.extend(ids)

    def keeping(days):
        return Keeping(hive.store, hive.logs, objects, Retention(), lambda: time.time() + days * DAY, [gone])

    await keeping(0).tidy()
    assert (hive.request(request.id) is not None, objects.has(digest.sha256), told) == (True, True, [])
    await keeping(0.5).tidy()
    assert hive.store.read().artifacts().total_records == 0
    assert not objects.has(digest.sha256)
    await keeping(91).tidy()
    assert hive.request(request.id) is None
    assert not hive.logs.path(attempt).exists()
    assert told == [request.id]


async def test_bytes_that_were_made_again_lately_stay(hive, repo, tmp_path):
    objects = DirectoryStore(tmp_path / "objects")
    digest = objects.put(io.BytesIO(b"made"))
    await ran(hive, repo, digest)
    await Keeping(hive.store, hive.logs, objects, Retention(), lambda: time.time() + 7200).tidy()
    assert hive.store.read().artifacts().total_records == 0
    assert objects.has(digest.sha256)


async def test_old_caches_go(hive, tmp_path):
    objects = DirectoryStore(tmp_path / "objects")
    digest = objects.put(io.BytesIO(b"kept"))
    objects.names.link("cache/a/key", digest)
    await Keeping(hive.store, hive.logs, objects, Retention(), lambda: time.time() + 29 * DAY).tidy()
    assert objects.names.resolve("cache/a/key")
    await Keeping(hive.store, hive.logs, objects, Retention(), lambda: time.time() + 31 * DAY).tidy()
    assert objects.names.resolve("cache/a/key") is None
    assert not objects.has(digest.sha256)


async def test_the_secrets_of_ended_requests_are_in_no_file(hive, repo, tmp_path):
    """T8: not in the write-ahead log either, once it is tidied up."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nparams: {Token: {secret: true}}\nscript: ['echo {{ Token }}']\n"})
    await hive.watch(repo)

    def holders():
        return [path.name for path in hive.folder.iterdir() if path.is_file() and b"hush-hush-77" in path.read_bytes()]

    async with hive.ant() as ant:
        request = await hive.submit(params={"Token": "hush-hush-77"})
        order = await ant.claim()
        assert holders()
        await ant.work(order)
        await hive.ended(request.id)
    await Keeping(hive.store, hive.logs, DirectoryStore(tmp_path / "o"), Retention(), time.time).tidy()
    assert holders() == []


async def test_all_old_deliveries_go_at_once(hive, tmp_path):
    """Not a few an hour: more than that may come."""

    def deliver(tx):
        for number in range(3 * BATCH):
            tx.add_delivery(Delivery(forge="commit", delivery_key=f"1:{number}", received_at=time.time()))

    await hive.store.write(deliver)
    await Keeping(
        hive.store, hive.logs, DirectoryStore(tmp_path / "o"), Retention(), lambda: time.time() + 31 * DAY
    ).tidy()
    assert hive.store.read().deliveries().total_records == 0


RETENTION = """
job_type: ci
triggers: {commit: {paths: [docs/**]}}
retention: {completed: 1h, failed: 1000h}
script: [make]
"""


async def test_a_definition_says_how_long_its_requests_are_kept(hive, repo):
    """By how each of them ended; what it does not name goes by the server's setting; running again begins anew."""
    repo.commit({".formicary/ci.yml": RETENTION})
    await hive.watch(repo)
    repo.commit({"a.txt": "1"})
    await hive.reconciler.sync(1)
    skipped = {one.id for one in hive.requests()}
    async with hive.ant() as ant:
        good = await hive.submit()
        await ant.work(await ant.claim())
        await hive.ended(good.id)
        bad = await hive.submit()
        await ant.work(await ant.claim(), exit_code=1)
        await hive.ended(bad.id)
        again = await hive.submit()
        await ant.work(await ant.claim())
        await hive.ended(again.id)
    cancelled = await hive.submit()
    await hive.queen.cancel(cancelled.id, by="ada")
    await hive.queen.restart(again.id, by="ada")

    async def expired(days):
        later = time.time() + days * 86400
        change = hive.store._writer
        clock, change._clock = change._clock, lambda: later
        try:
            return await hive.store.write(lambda tx: tx.expire(ended_before=later - 30 * 86400, deliveries_before=0))
        finally:
            change._clock = clock

    assert set((await expired(0.5)).requests) == {*skipped, good.id}
    assert (await expired(29)).requests == ()
    assert (await expired(31)).requests == (cancelled.id,)
    assert (await expired(50)).requests == (bad.id,)
    assert [one.id for one in hive.requests()] == [again.id]
