"""Which secrets reach an order, and that nothing but the order ever holds them (T3, T8)."""

import base64
import sqlite3

import anyio
import pytest

from formicary.cli.masterkey import MasterKey
from formicary.runner.core.errors import SetupError
from formicary.runner.core.execution import Begin, Claimed
from formicary.runner.core.names import secret_token
from formicary.runner.core.plan import begin, decide
from formicary.runner.core.records import NewRequest, Secret, SecretKind
from formicary.runner.core.states import State
from formicary.runner.queen.board import Live
from formicary.runner.queen.orders import make_order, render_plan
from formicary.runner.store.reader import SqliteReader

JOB = """
job_type: ci
tasks:
  - task_type: build
    script: ['make "$Token"']
  - task_type: deploy
    needs: [build]
    script: ["deploy {{ Deploy }}"]
    environment: {AUTH: "x {{ Deploy }}"}
  - task_type: listed
    needs: [deploy]
    secrets: [Token]
    script: [check]
"""


@pytest.fixture
async def world(open_hive, repo, tmp_path):
    """A hive that watches a repository, `put` for its secrets, and `order` for the next order of a job."""
    async with open_hive(key=MasterKey(tmp_path / "data", {})) as hive:

        async def put(name, value, **fields):
            stored, _ = await hive.queen.secrets.put(Secret(name=name, **fields), value)
            return stored

        hive.put = put
        repo.commit({".formicary/ci.yml": JOB})
        hive.repository = await hive.watch(repo)
        yield hive


async def orders(hive, ant):
    """The orders of one run of `ci`, in their order."""
    request = await hive.submit()
    found = []
    for _ in range(3):
        found.append(await ant.claim())
        await ant.work(found[-1])
    await hive.ended(request.id)
    return found


async def one_order(hive, repo, text, **fields):
    """The only order of a run of this definition."""
    repo.commit({".formicary/ci.yml": text})
    await hive.reconciler.sync(hive.repository.id)
    async with hive.ant() as ant:
        request = await hive.submit(**fields)
        order = await ant.claim()
        await ant.work(order)
        await hive.ended(request.id)
    return order


async def test_a_task_gets_what_it_names_and_no_more(world):
    await world.put("Token", "t0ken-value")
    await world.put("Deploy", "d3ploy-value", repository_id=world.repository.id)
    await world.put("Other", "0ther-value")
    async with world.ant() as ant:
        build, deploy, listed = await orders(world, ant)
    assert dict(build.secrets) == {"Token": "t0ken-value"} == dict(listed.secrets)
    assert dict(deploy.secrets) == {"Deploy": "d3ploy-value"}
    assert build.environment["Token"] == secret_token("Token") and "Deploy" not in build.environment
    assert deploy.task.script == (f"deploy {secret_token('Deploy')}",)
    assert deploy.task.environment["AUTH"] == f"x {secret_token('Deploy')}"
    assert "Other" not in str(build.environment) + str(deploy.environment)


async def test_the_nearest_scope_wins_and_another_repositorys_is_nobodys(world):
    await world.put("Token", "of-organization")
    await world.put("Deploy", "of-organization")
    await world.put("Deploy", "of-repository", repository_id=world.repository.id)
    await world.put("Token", "of-job", repository_id=world.repository.id, job_type="ci")
    await world.put("Token", "of-other-job", repository_id=world.repository.id, job_type="cd")
    async with world.ant() as ant:
        build, deploy, _ = await orders(world, ant)
    assert (build.secrets["Token"], deploy.secrets["Deploy"]) == ("of-job", "of-repository")


async def test_a_changed_secret_is_used_by_the_next_attempt(world, repo):
    repo.commit(
        {".formicary/ci.yml": "job_type: ci\nretry: 0\ntasks: [{task_type: t, retry: 1, script: 'x $Token'}]\n"}
    )
    await world.reconciler.sync(world.repository.id)
    await world.put("Token", "first-value")
    async with world.ant() as ant:
        request = await world.submit()
        one = await ant.claim()
        await world.put("Token", "second-value")
        assert world.queen.mask("first-value second-value") == "*** ***", "the old one may still be shown"
        await ant.work(one, exit_code=1)
        two = await ant.claim()
        await ant.work(two)
        await world.ended(request.id)
    assert (one.secrets["Token"], two.secrets["Token"]) == ("first-value", "second-value")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"branches": ("release/*",)}, "it is for branches `release/*` only, and the branch is `main`"),
        ({"events": ("push",)}, "it is for `push` only, and the event is `manual`"),
    ],
)
@pytest.mark.parametrize(
    "task",
    ["script: ['deploy {{ Deploy }}']", "script: x\n    secrets: [Deploy]", "script: x\n    secrets: [Deploy, Token]"],
)
async def test_a_secret_that_is_not_for_this_run_fails_the_task_before_it_starts(world, repo, limits, said, task):
    repo.commit({".formicary/ci.yml": f"job_type: ci\ntasks:\n  - task_type: t\n    {task}\n"})
    await world.reconciler.sync(world.repository.id)
    await world.put("Deploy", "d3ploy-value", **limits)
    await world.put("Token", "t0ken-value")
    ended = await world.refused()
    execution = world.execution(ended.id)
    last = execution.tasks["t"].last
    assert (ended.state, last.error_code) == (State.FAILED, "ERR_DEFINITION")
    assert f"The secret `Deploy` is not for this run: {said}" in last.error_message
    assert "ci.yml:" in last.error_message and "d3ploy" not in last.error_message


async def test_nobody_gets_a_branchs_secret_by_saying_that_a_commit_is_of_it(world, repo):
    """A commit runs as of a branch only if that branch holds it."""
    await world.put("Deploy", "d3ploy-value", branches=("main",))
    text = "job_type: ci\nscript: [steal]\nsecrets: [Deploy]\n"
    good = repo.commit({".formicary/ci.yml": text})
    repo.git("checkout", "-q", "-b", "evil")
    evil = repo.commit({"a": "1"})
    repo.git("checkout", "-q", "main")
    repo.commit({"b": "1"})
    await world.reconciler.sync(world.repository.id)
    async with world.ant() as ant, anyio.create_task_group() as group:
        ran = await world.submit(commit=good)
        order = await ant.claim()
        assert order.secrets and ran.ref == "refs/heads/main"
        await ant.work(order)
        await world.ended(ran.id)
        group.start_soon(ant.claim)
        for ask in ({"commit": evil}, {"commit": evil, "ref": "main"}, {"ref": "evil"}):
            ended = await world.ended((await world.submit(**ask)).id)
            assert "The secret `Deploy` is not for this run" in world.execution(ended.id).tasks["ci"].last.error_message
        group.cancel_scope.cancel()


async def test_a_name_that_no_variable_may_have_is_put_in_by_the_definition_alone(world, repo):
    """T7"""
    await world.put("DOCKER_PASSWORD", "d0cker-value")
    text = "job_type: ci\nscript: login\nsecrets: [DOCKER_PASSWORD]\n"
    order = await one_order(world, repo, text)
    assert dict(order.secrets) == {"DOCKER_PASSWORD": "d0cker-value"} and "DOCKER_PASSWORD" not in order.environment
    assert any("`DOCKER_PASSWORD` is not in the environment" in note for note in order.notes)
    order = await one_order(world, repo, text + 'environment: {DOCKER_PASSWORD: "{{ DOCKER_PASSWORD }}"}\n')
    assert order.task.environment["DOCKER_PASSWORD"] == secret_token("DOCKER_PASSWORD")


async def test_default_goes_on_without_it_and_a_variable_is_said(world, repo):
    await world.put("Deploy", "d3ploy-value", branches=("release",))
    text = "job_type: ci\nscript: ['x ${Deploy:-} {{ Deploy | default(\"none\") }}']\n"
    order = await one_order(world, repo, text)
    assert order.task.script == ("x ${Deploy:-} none",) and not order.secrets
    assert any("`Deploy` is not in the environment: it is for branches `release`" in note for note in order.notes)


async def test_an_untrusted_run_gets_none(world, repo):
    """T3"""
    await world.put("Token", "t0ken-value")
    definition = world.store.read().definition_named("ci", repository_id=world.repository.id)
    new = NewRequest(version_id=definition.version_id, repository_id=world.repository.id, job_type="ci", trusted=False)
    request, _ = await world.store.write(lambda tx: tx.create_request(new))
    order = order_of(world, request)
    assert not order.secrets and "Token" not in order.environment and not order.trusted
    assert any("`Token` is not in the environment: what outsiders" in note for note in order.notes)


def order_of(hive, request):
    """The order of its first task, as the dispatcher would make it for an ant that isolates."""
    version, seen = hive.queen.version(request.version_id), hive.queen.secrets.seen_by(request)
    live = Live(9, request, version, render_plan(request, version, {}, 1.0, "", seen), {})
    execution, _ = decide(begin(9, request.id, live.plan, 1.0), live.plan, Begin(), 1.0, 1)
    attempt = execution.tasks["build"].last
    execution, _ = decide(execution, live.plan, Claimed(attempt.id, attempt.fence, "a"), 1.0, 1)
    run = execution.tasks["build"]
    return make_order(live, execution, run, run.last, now=1.0, lease_seconds=30, url="", secrets=hive.queen.secrets)


async def test_a_job_that_names_no_secret_asks_the_store_for_none(world, repo, monkeypatch):
    """It pays nothing, however many secrets there are: no query a task."""
    await world.put("Token", "t0ken-value")
    text = "job_type: ci\nscript: make\n"
    assert not (await one_order(world, repo, text)).secrets
    asked = []
    for name in ("secrets", "sealed_secret", "secret_keys"):
        monkeypatch.setattr(SqliteReader, name, lambda *_, name=name: asked.append(name))
    async with world.ant() as ant:
        request = await world.submit()
        await ant.work(await ant.claim())
        await world.ended(request.id)
    assert not asked


async def test_nothing_on_disk_holds_a_value(world, tmp_path):
    """T8, T19: in plain or encoded; plans and executions hold tokens."""
    values = {"Token": "t0ken/va lue'x", "Deploy": "d3ploy-value-2"}
    for name, value in values.items():
        await world.put(name, value)
    async with world.ant() as ant:
        await orders(world, ant)
    deploy = world.store.read().plan(1).definition.task("deploy")
    assert deploy.script == (f"deploy {secret_token('Deploy')}",)
    shapes = [shape.encode() for value in values.values() for shape in (value, value.encode().hex())]
    shapes += [base64.b64encode(b"\0" * n + value.encode())[4:16] for value in values.values() for n in range(3)]
    for path in tmp_path.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            content = path.read_bytes()
            assert not any(shape in content for shape in shapes), path


async def test_a_moved_row_does_not_open(world, tmp_path):
    """An operator's database that somebody else can write gives nobody another's secret."""
    first = await world.put("Token", "t0ken-value", branches=("main",))
    second = await world.put("Deploy", "d3ploy-value")
    secrets = world.queen.secrets
    assert secrets.value(first.id) == "t0ken-value"
    with sqlite3.connect(tmp_path / "data" / "formicary.db", isolation_level=None) as connection:
        connection.execute("UPDATE secrets SET branches = '[]' WHERE id = ?", (first.id,))
        connection.execute(
            "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE id = ?) WHERE id = ?", (first.id, second.id)
        )
    connection.close()
    for stored, name in ((first, "Token"), (second, "Deploy")):
        with pytest.raises(SetupError, match=f"`{name}` does not open: its row was changed"):
            secrets.value(stored.id)
    assert secrets.mask("nothing") == "nothing"


async def test_what_another_key_sealed_stands_in_the_way_of_a_new_secret(world, tmp_path):
    await world.put("Token", "t0ken-value")
    secrets = world.queen.secrets
    right, secrets._key = secrets._key, MasterKey(tmp_path, {"FORMICARY_MASTER_KEY": "00" * 32})
    assert secrets.complaint().startswith("1 stored secret is sealed with the key ")
    assert secrets.complaint().endswith("or remove that secret first")
    secrets._key = right
    await world.put("Deploy", "d3ploy-value")
    secrets._key = MasterKey(tmp_path, {"FORMICARY_MASTER_KEY": "00" * 32})
    with pytest.raises(SetupError, match=r"^2 stored secrets are sealed .* or remove those secrets first$"):
        await world.put("Other", "x")


async def test_a_wrong_key_is_named_and_no_fault_of_the_script(world, tmp_path, repo):
    """D12: the attempt is lost, and says which key is wanted."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: 'x $Token'\n"})
    await world.reconciler.sync(world.repository.id)
    stored = await world.put("Token", "t0ken-value")
    other = MasterKey(tmp_path, {"FORMICARY_MASTER_KEY": "00" * 32})
    world.queen.secrets._key = other
    async with world.ant() as ant, anyio.create_task_group() as group:
        request = await world.submit()
        group.start_soon(ant.claim)

        def first():
            execution = world.request(request.id).execution_id and world.execution(request.id)
            return execution and execution.tasks["ci"].attempts[0]

        await world.until(lambda: first() and first().error_message)
        group.cancel_scope.cancel()
    assert first().error_code == "ERR_ANT_LOST"
    assert stored.key_id in first().error_message and other({}).key_id in first().error_message


async def test_texts_on_their_way_out_are_masked(world):
    """T8: API errors, statuses, notifications: what a credential holds too, but for user names."""
    await world.put("Token", "t0ken-value")
    await world.put("token", "cred-value", kind=SecretKind.CREDENTIAL, repository_id=world.repository.id)
    await world.put("username", "deploy-bot", kind=SecretKind.CREDENTIAL, repository_id=world.repository.id)
    encoded = base64.b64encode(b"t0ken-value").decode()
    masked = world.queen.mask(f"a t0ken-value b cred-value c deploy-bot {encoded} d")
    assert "t0ken" not in masked and "cred-value" not in masked and encoded not in masked and "deploy-bot" in masked
    assert world.queen.secrets.credential(world.repository.id, "token") == "cred-value"
    assert world.queen.secrets.credential(world.repository.id, "deploy_key") is None
    request = await world.submit()
    assert world.queen.secrets.values_of(request, ["Token", "Gone"]) == {"Token": "t0ken-value"}


async def test_credentials_are_read_once_until_something_changes(world, repo, monkeypatch):
    """Every hook call asks for those of every repository."""
    read = []
    looked = SqliteReader.secrets
    monkeypatch.setattr(SqliteReader, "secrets", lambda self, *keys: read.append(keys) or looked(self, *keys))
    credential = {"kind": SecretKind.CREDENTIAL, "repository_id": world.repository.id}
    await world.put("webhook_secret", "first", **credential)
    read.clear()
    secrets = world.queen.secrets
    for _ in range(3):
        assert secrets.credential(world.repository.id, "webhook_secret") == "first"
        assert [secrets.credential(number, "webhook_secret") for number in range(100, 200)] == [None] * 100
    assert len(read) == 1
    stored = await world.put("webhook_secret", "second", **credential)
    assert secrets.credential(world.repository.id, "webhook_secret") == "second"
    await secrets.delete(stored)
    assert secrets.credential(world.repository.id, "webhook_secret") is None


async def test_a_secret_parameter_replaces_a_secret_and_is_masked_too(world, repo):
    await world.put("Token", "stored-value")
    text = "job_type: ci\nparams: {Token: {secret: true}}\nscript: 'x $Token'\n"
    order = await one_order(world, repo, text, params={"Token": "given-value"})
    assert dict(order.secrets) == {"Token": "given-value"}


async def test_secret_parameters_of_what_runs_are_masked(world, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nparams: {P: {secret: true}}\nscript: x\n"})
    await world.reconciler.sync(world.repository.id)
    async with world.ant() as ant:
        request = await world.submit(params={"P": "given-value"})
        order = await ant.claim()
        shown = base64.b64encode(b"given-value").decode()
        assert world.queen.mask(f"given-value {shown} ok").startswith("*** ***") and "ok" in world.queen.mask("ok")
        await ant.work(order)
        await world.ended(request.id)


async def test_too_much_together_is_said(world, repo):
    names = [f"S{number}" for number in range(10)]
    repo.commit({".formicary/ci.yml": f"job_type: ci\nscript: x\nsecrets: [{', '.join(names)}]\n"})
    await world.reconciler.sync(world.repository.id)
    for name in names:
        await world.put(name, "x" * 60_000)
    ended = await world.refused()
    assert "512 KiB together" in world.execution(ended.id).tasks["ci"].last.error_message
