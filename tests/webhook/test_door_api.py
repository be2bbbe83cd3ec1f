"""The REST interface: requests, definitions, repositories, artifacts, tokens, ants, figures."""

from datetime import datetime

import pytest

from formicary.runner.core.records import Role
from formicary.runner.core.states import State

LIST = "/api/jobs/requests"


async def submit(client, headers, **body):
    return await client.post(LIST, json={"job_type": "ci", **body}, headers=headers)


# Requests


async def test_a_job_is_asked_for(client, as_, queen, definition):
    headers = await as_(Role.DEVELOPER, user_id="ada")
    response = await submit(
        client,
        headers,
        repository="demo",
        ref="refs/heads/x",
        commit="c" * 40,
        params={"A": 1, "B": [True, None]},
        priority=5,
        description="why not",
        scheduled_at="2030-01-01T00:00:00Z",
        job_version=1,
    )
    assert response.status_code == 201
    body = response.json()
    assert response.headers["location"] == f"{LIST}/{body['id']}"
    assert (body["state"], body["repository"], body["job_type"]) == ("PENDING", "demo", "ci")
    assert datetime.fromisoformat(body["created_at"]).tzinfo is not None
    (ask,) = queen.asks
    assert ask.created_by == "ada"
    assert ask.params == {"A": 1, "B": [True, None]}
    assert ask.scheduled_at == datetime.fromisoformat("2030-01-01T00:00:00+00:00").timestamp()
    assert (ask.job_version, ask.priority, ask.ref, ask.commit) == (1, 5, "refs/heads/x", "c" * 40)
    assert (await client.get(response.headers["location"], headers=headers)).json() == body


async def test_the_same_user_key_is_the_same_request(client, admin, definition):
    first = await submit(client, admin, user_key="k")
    second = await submit(client, admin, user_key="k")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]


async def test_the_old_spelling_of_ref_and_commit_is_taken(client, admin, queen, definition):
    await submit(client, admin, params={"GitBranch": "main", "GitCommitID": "abc", "X": "y"})
    await submit(client, admin, ref="dev", params={"GitBranch": "main"})
    assert (queen.asks[0].ref, queen.asks[0].commit, queen.asks[0].params) == ("main", "abc", {"X": "y"})
    assert (queen.asks[1].ref, queen.asks[1].params) == ("dev", {"GitBranch": "main"})


@pytest.mark.parametrize(
    "fields",
    [
        {"created_by": "somebody else"},
        {"organization_id": "elsewhere"},
        {"scheduled_at": "2030-01-01T00:00:00"},
        {"priority": 2**70},
        {"params": ["a"]},
        {"params": {"a": "x" * (1 << 20)}},
        {"commit": "x" * 65},
    ],
)
async def test_what_a_submit_may_not_say(client, admin, queen, definition, fields):
    """T5: who asks is known from the token and not from the body."""
    response = await submit(client, admin, **fields)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(next(iter(fields)))
    assert queen.asks == []


@pytest.mark.parametrize("value", ["1e999", "NaN", "-Infinity", "[1e999]", '"\\ud800"', "9" * 5000])
async def test_what_cannot_be_written_down_is_refused(client, admin, queen, definition, value):
    """D8: a row that cannot be read back is not made."""
    body = f'{{"job_type": "ci", "params": {{"a": {value}}}}}'
    headers = {**admin, "content-type": "application/json"}
    response = await client.post(LIST, content=body, headers=headers)
    assert response.status_code in (400, 422), response.text
    assert queen.asks == []


async def test_deep_parameters_come_back(client, admin, definition):
    """Or are refused, where they are deeper than anybody can mean."""
    deep = lambda depth: '{"job_type": "ci", "params": {"a": ' + "[" * depth + "]" * depth + "}}"  # noqa: E731  # short
    headers = {**admin, "content-type": "application/json"}
    response = await client.post(LIST, content=deep(50), headers=headers)
    assert response.status_code == 201
    assert (await client.get(response.headers["location"], headers=admin)).status_code == 200
    assert (await client.post(LIST, content=deep(100_000), headers=headers)).status_code in (400, 422)


async def test_requests_are_listed_by_page_and_filter(client, admin, make_request):
    made = [await make_request(ref=f"refs/heads/{n % 2}", commit=f"c{n}") for n in range(5)]

    async def ids(**query):
        response = await client.get(LIST, params=query, headers=admin)
        assert response.status_code == 200, response.text
        return [record["id"] for record in response.json()["records"]]

    newest_first = [request.id for request in reversed(made)]
    assert await ids() == newest_first
    assert await ids(order="id") == newest_first[::-1]
    assert await ids(page=1, page_size=2) == newest_first[2:4]
    assert await ids(ref="refs/heads/1") == [made[3].id, made[1].id]
    assert await ids(commit="c4") == [made[4].id]
    assert await ids(repository="demo", job_type="ci") == newest_first
    assert await ids(job_type="other") == []
    assert await ids(state=["FAILED", "CANCELLED"]) == []
    assert await ids(state=["PENDING", "FAILED"]) == newest_first
    assert await ids(q="c2") == [made[2].id]
    page = (await client.get(LIST, params={"page_size": 2}, headers=admin)).json()
    assert (page["total_records"], page["total_pages"]) == (5, 3)


@pytest.mark.parametrize(
    "query",
    [
        "page=-1",
        "page_size=0",
        "page_size=1001",
        "page=99999999999999999999",
        "order=name",
        "stat=FAILED",
        "state=GONE",
        "q=" + "x" * 201,
    ],
)
async def test_a_wrong_filter_is_refused_and_not_ignored(client, admin, query):
    response = await client.get(f"{LIST}?{query}", headers=admin)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(query.partition("=")[0])


@pytest.mark.parametrize("path", ["999", "99999999999999999999999999", "0"])
async def test_what_is_not_there_is_404(client, admin, path):
    response = await client.get(f"{LIST}/{path}", headers=admin)
    assert response.status_code == 404


async def test_cancel_and_restart_say_who(client, as_, queen, make_request):
    request = await make_request()
    headers = await as_(Role.DEVELOPER, user_id="ada")
    response = await client.post(f"{LIST}/{request.id}/cancel", json={"reason": "a mistake"}, headers=headers)
    assert (response.status_code, response.json()["state"]) == (200, "CANCELLED")
    again = await client.post(f"{LIST}/{request.id}/cancel", headers=headers)
    assert again.status_code == 409
    await client.post(f"{LIST}/{request.id}/restart?hard=true", headers=headers)
    assert queen.calls == [
        ("cancel", request.id, "ada", "a mistake"),
        ("cancel", request.id, "ada", ""),
        ("restart", request.id, "ada", True, False),
    ]


async def test_pause_and_resume_say_who(client, as_, queen, make_request):
    request = await make_request()
    headers = await as_(Role.DEVELOPER, user_id="ada")
    paused = await client.post(f"{LIST}/{request.id}/pause", json={"reason": "look first"}, headers=headers)
    assert (paused.status_code, paused.json()["id"]) == (200, request.id)
    assert (await client.post(f"{LIST}/{request.id}/resume", headers=headers)).status_code == 409
    assert queen.calls == [("pause", request.id, "ada", "look first"), ("resume", request.id, "ada")]
    viewer = await as_(Role.VIEWER)
    assert (await client.post(f"{LIST}/{request.id}/resume", headers=viewer)).status_code == 403


async def test_tasks_why_and_graph_of_a_request(client, admin, make_request, make_execution):
    request = await make_request()
    assert (await client.get(f"{LIST}/{request.id}/tasks", headers=admin)).json()["records"] == []
    assert (await client.get(f"{LIST}/{request.id}/dot", headers=admin)).status_code == 404
    execution = await make_execution(request)
    (task,) = (await client.get(f"{LIST}/{request.id}/tasks", headers=admin)).json()["records"]
    assert (task["task_type"], task["state"], task["execution_id"]) == ("build", "EXECUTING", execution.id)
    assert task["attempts"][0]["id"] == f"{execution.id}-1"
    why = (await client.get(f"{LIST}/{request.id}/why", headers=admin)).json()
    assert why["why"] == f"Request {request.id} waits for an ant."
    dot = (await client.get(f"{LIST}/{request.id}/dot", headers=admin)).text
    assert '"build" -> "test"' in dot and dot.startswith('digraph "ci"')
    mermaid = (await client.get(f"{LIST}/{request.id}/mermaid", headers=admin)).text
    assert "t0 -->|needs| t1" in mermaid


async def test_tasks_of_an_older_execution(client, admin, make_request, make_execution):
    one, two = await make_request(), await make_request()
    old = await make_execution(one, State.FAILED)
    new = await make_execution(one)
    foreign = await make_execution(two)
    path = f"{LIST}/{one.id}/tasks"
    assert (await client.get(path, headers=admin)).json()["records"][0]["execution_id"] == new.id
    query = {"execution": old.id}
    assert (await client.get(path, params=query, headers=admin)).json()["records"][0]["execution_id"] == old.id
    assert (await client.get(path, params={"execution": foreign.id}, headers=admin)).status_code == 404


async def test_stats_are_of_what_has_ended(client, admin, make_request, make_execution, store):
    empty = (await client.get(f"{LIST}/stats", headers=admin)).json()
    assert empty == {"requests": 0, "succeeded": 0, "success_rate": None, "latency_p50": None, "latency_p95": None}
    for state in (State.COMPLETED, State.FAILED, State.SKIPPED, State.EXECUTING):
        await make_execution(await make_request(), state)
    stats = (await client.get(f"{LIST}/stats", headers=admin)).json()
    assert (stats["requests"], stats["succeeded"]) == (3, 2)
    assert 0 <= stats["latency_p50"] <= stats["latency_p95"] < 60


# Definitions and repositories


async def test_definitions_their_text_and_their_versions(client, admin, definition):
    listed = (await client.get("/api/jobs/definitions", headers=admin)).json()
    assert [(one["job_type"], one["repository"], one["state"]) for one in listed["records"]] == [
        ("ci", "demo", "Synced")
    ]
    assert (await client.get("/api/jobs/definitions", params={"q": "CI"}, headers=admin)).json()["total_records"] == 1
    for query in ({"q": "zzz"}, {"state": "Invalid"}):
        found = (await client.get("/api/jobs/definitions", params=query, headers=admin)).json()
        assert found["total_records"] == 0
    one = (await client.get(f"/api/jobs/definitions/{definition.id}", headers=admin)).json()
    assert one == listed["records"][0]
    text = await client.get("/api/jobs/definitions/ci/yaml", params={"repository": "demo"}, headers=admin)
    assert text.text == "job_type: ci\nscript: make\n"
    assert text.headers["content-type"].startswith("application/yaml")
    versions = (await client.get("/api/jobs/definitions/ci/versions", headers=admin)).json()
    assert [(one["version"], one["in_force"]) for one in versions["records"]] == [(1, True)]
    assert (await client.get("/api/jobs/definitions/nope/yaml", headers=admin)).status_code == 404


async def test_a_job_whose_name_holds_a_slash(client, admin, store, definition):
    await store.write(lambda tx: tx.put_definition(definition.model_copy(update={"job_type": "a/b"})))
    for name in ("a/b", "a%2Fb"):
        assert (await client.get(f"/api/jobs/definitions/{name}/yaml", headers=admin)).status_code == 200
        assert (await client.get(f"/api/jobs/definitions/{name}/versions", headers=admin)).status_code == 200


async def test_repositories_and_their_sync(client, admin, as_, repository, definition):
    listed = (await client.get("/api/repos", headers=admin)).json()["records"]
    assert [one["name"] for one in listed] == ["demo"]
    assert (await client.get(f"/api/repos/{repository.id}", headers=admin)).json() == listed[0]
    sync = (await client.get(f"/api/repos/{repository.id}/sync", headers=admin)).json()
    assert sync["definitions"][0]["job_type"] == "ci"
    assert (await client.post(f"/api/repos/{repository.id}/sync", headers=admin)).json() == sync
    viewer = await as_(Role.VIEWER)
    assert (await client.post(f"/api/repos/{repository.id}/sync", headers=viewer)).status_code == 403


async def test_a_repository_that_cannot_be_read_says_so(client, admin, door, repository):
    async def sync(repository_id):
        return repository.model_copy(update={"state": "unavailable", "error": "the folder is gone"})

    door.reconciler.sync = sync
    response = await client.post(f"/api/repos/{repository.id}/sync", headers=admin)
    assert response.status_code == 503
    assert response.json()["detail"] == "demo cannot be read now: the folder is gone", "a moment brings it not back"


# Artifacts


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "1960-01-01T00:00:00Z"])
async def test_a_moment_that_no_page_could_tell_is_refused(client, admin, definition, at):
    """D8: one such request would be the end of every list that holds it."""
    response = await submit(client, admin, scheduled_at=at)
    assert response.status_code == 422 and "1970" in response.text
    assert (await client.get(LIST, headers=admin)).json()["total_records"] == 0
    tokens = await client.post("/api/users/admin/tokens", json={"name": "n", "expires_at": at}, headers=admin)
    assert tokens.status_code == 422


async def test_a_moment_out_of_reach_that_is_stored_already_stops_no_list(client, admin, make_request):
    await make_request(scheduled_at=1e15)
    assert (await client.get(LIST, headers=admin)).status_code == 200
    assert (await client.get("/", headers={**admin, "accept": "text/html"})).status_code in (200, 404)
