"""From a commit to its statuses at GitHub: a queen, an outbox, and a forge that is strict and at times away (D10)."""

CI = """job_type: ci
triggers: {commit: {paths: ["src/**", ".formicary/**"]}}
tasks:
  - {task_type: build, script: [make], on_completed: test}
  - {task_type: test, script: [make test]}
"""


async def test_a_commit_is_pending_and_then_a_success(world, github, proxy, repo):
    """Through the proxy that holds every request against GitHub's description."""
    double = github()
    checked = proxy(double.url)
    commit = repo.commit({".formicary/ci.yml": CI})
    async with world(double, checked.url) as told:
        await told.watch(repo)
        (request,) = told.hive.requests()
        await told.landed(1)
        assert told.double.last("formicary/ci")[0] == "pending"
        async with told.hive.ant() as ant:
            await ant.work(await ant.claim())
            await ant.work(await ant.claim())
            await told.hive.ended(request.id)
        await told.told()
    *before, last = told.double.history()[commit, "formicary/ci"]
    assert (set(before), last) == ({"pending"}, "success")
    last = told.double.posts[-1]
    assert last["description"].startswith("2 tasks passed in ")
    assert last["target_url"] == f"https://ci.example/requests/{request.id}"
    assert checked.violations() == []


async def test_a_failure_says_which_task_and_how(world, repo):
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told, told.hive.ant() as ant:
        await told.watch(repo)
        await ant.work(await ant.claim())
        await ant.work(await ant.claim(), exit_code=3)
        await told.hive.ended(told.hive.requests()[0].id)
        await told.told()
    state, said = told.double.last("formicary/ci")
    assert state == "failure" and said.startswith("1 of 2 tasks passed; `test` failed: exit code 3")


async def test_a_quick_job_is_told_once(world, repo, monkeypatch):
    """D10: what follows within a second coalesces; a final state goes at once."""
    monkeypatch.setattr("formicary.runner.telling.statuses.COALESCE", 30.0)
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told, told.hive.ant() as ant:
        await told.watch(repo)
        for _ in range(2):
            await ant.work(await ant.claim())
        await told.hive.ended(told.hive.requests()[0].id)
        await told.told()
    assert list(told.double.history().values()) == [["success"]]


async def test_the_forge_is_away_for_a_while(world, repo):
    """D10: nothing is lost, nothing old comes after something new; jobs run on meanwhile."""
    async with world() as told, told.hive.ant() as ant:
        repo.commit({".formicary/ci.yml": CI})
        repository = await told.watch(repo)
        told.double.answers.extend([500, (502, {"lands": True}, "landed, and the answer was lost"), 503])
        told.double.down = True
        commits = []
        for number in range(3):
            commits.append(repo.commit({"src/a": str(number)}))
            await told.hive.reconciler.sync(repository.id)
            for code in (0, number % 2):
                await ant.work(await ant.claim(), exit_code=code)
        for request in told.hive.requests():
            if request.state.value == "PENDING" or request.state.value == "EXECUTING":
                await told.hive.queen.cancel(request.id, by="ada")
        await told.hive.until(lambda: all(one.ended_at for one in told.hive.requests()))
        assert told.double.posts == [] and told.hive.store.read().outbox_counts().living >= 3
        told.double.down = False
        await told.told()
        assert told.dead() == []
        ended = {one.commit: one.state.value for one in told.hive.requests()}
    history = told.double.history()
    states = {"COMPLETED": "success", "FAILED": "failure", "CANCELLED": "error"}
    assert {commit: history[commit, "formicary/ci"][-1] for commit in ended} == {
        commit: states[state] for commit, state in ended.items()
    }


async def test_a_rate_limit_is_waited_for_and_then_the_newest_is_told(world, repo):
    """D10: Retry-After."""
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told, told.hive.ant() as ant:
        told.double.answers.append((403, {"retry-after": 1}, "You have exceeded a secondary rate limit"))
        await told.watch(repo)
        for _ in range(2):
            await ant.work(await ant.claim())
        await told.hive.ended(told.hive.requests()[0].id)
        await told.told()
    first, second = told.double.calls[:2]
    assert second["at"] - first["at"] >= 1.0
    assert told.double.last("formicary/ci")[0] == "success" and len(told.double.posts) <= 2


async def test_a_skipped_job_is_a_success_that_says_why(world, repo):
    """D11."""
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told:
        repository = await told.watch(repo)
        commit = repo.commit({"README": "x"})
        await told.hive.reconciler.sync(repository.id)
        await told.told()
    state, said = told.double.last("formicary/ci", commit)
    assert state == "success" and said.startswith("skipped: ") and "src/**" in said


async def test_a_commit_that_is_not_at_the_forge_is_a_dead_letter(world, github, repo):
    """It says what to do, can be resent, and then arrives."""
    double = github(commits=set())
    commit = repo.commit({".formicary/ci.yml": CI})
    async with world(double) as told:
        await told.watch(repo)
        await told.told()
        (letter,) = told.dead()
        assert "acme/app has no commit" in letter.error and "push it, then resend it" in letter.error
        assert letter.payload == {"request_id": 1}, "ids only: no text that could hold a secret"
        double.commits.add(commit)
        await told.hive.store.write(lambda tx: tx.resend(letter.id))
        await told.told()
        assert told.dead() == []
    assert double.last("formicary/ci", commit)[0] == "pending"


async def test_without_a_token_or_a_repository_somebody_is_told(world, repo):
    repo.commit({".formicary/ci.yml": CI})
    async with world(token=None) as told:
        repository = await told.watch(repo)
        await told.told()
        (letter,) = told.dead()
        assert f"there is no token for {repository.name}" in letter.error
        await told.hive.reconciler.remove(repository.id)
        await told.hive.store.write(lambda tx: tx.resend(letter.id))
        await told.told()
        (letter,) = told.dead()
        assert "is watched no longer" in letter.error


async def test_nothing_is_owed_where_no_forge_takes_it(world, repo):
    """A bare repository, one without a name at its forge, a job that wants none."""
    repo.commit({".formicary/ci.yml": CI})
    async with world() as told:
        await told.hive.watch(repo)
        await told.hive.watch(repo, name="nameless", forge="github")
        assert told.hive.store.read().outbox().records == ()


async def test_an_invalid_definition_is_told_and_so_is_the_next_valid_one(world, repo):
    """`formicary/sync`: path, line and sentence on the commit that broke it, success on the one that mends it."""
    good = repo.commit({".formicary/ci.yml": CI})
    async with world() as told:
        repository = await told.watch(repo)
        bad = repo.commit({".formicary/ci.yml": CI.replace("on_completed: test", "on_completed: tset")})
        await told.hive.reconciler.sync(repository.id)
        mended = repo.commit({".formicary/ci.yml": CI})
        await told.hive.reconciler.sync(repository.id)
        after = repo.commit({"src/a": "1"})
        await told.hive.reconciler.sync(repository.id)
        await told.told()
    state, said = told.double.last("formicary/sync", bad)
    assert state == "failure" and said.startswith(".formicary/ci.yml:4: ") and "tset" in said
    assert told.double.last("formicary/sync", mended) == ("success", "every definition is valid")
    assert told.double.last("formicary/sync", good) is None and told.double.last("formicary/sync", after) is None


async def test_what_is_owed_outlives_the_process(world, github, repo, tmp_path):
    """D10: the outbox is on disk."""
    double = github()
    double.down = True
    repo.commit({".formicary/ci.yml": CI})
    async with world(double, folder=tmp_path / "data") as told:
        await told.watch(repo)
        (request,) = told.hive.requests()
        await told.hive.queen.cancel(request.id, by="ada")
    double.down = False
    async with world(double, folder=tmp_path / "data") as told:
        await told.told()
    assert double.last("formicary/ci") == ("error", "cancelled by ada")
