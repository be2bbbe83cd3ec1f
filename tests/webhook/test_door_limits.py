"""Switches and limits over HTTP: definitions, how often jobs are asked for, how long a request will wait."""

from __future__ import annotations

import pytest

from formicary.runner.core.estimate import Estimate
from formicary.runner.core.records import Role
from formicary.webhook.rates import Submits

DEFINITIONS, REQUESTS = "/api/jobs/definitions", "/api/jobs/requests"


async def test_a_definition_is_disabled_and_enabled(client, as_, queen, definition):
    headers, one = await as_(Role.MAINTAINER), f"{DEFINITIONS}/{definition.id}"
    answer = await client.post(f"{one}/disable", headers=headers)
    assert (answer.status_code, answer.json()["disabled"]) == (200, True)
    assert queen.calls[-1] == ("registered", "ci")
    assert (await client.get(one, headers=headers)).json()["disabled"] is True
    before = queen.store.read().cron_last(definition.id)
    assert (await client.post(f"{one}/enable", headers=headers)).json()["disabled"] is False
    assert before is None and queen.store.read().cron_last(definition.id), "runs of that time are not made up for"


async def test_the_limit_of_a_definition_is_set(client, as_, definition):
    headers, one = await as_(Role.MAINTAINER), f"{DEFINITIONS}/{definition.id}/concurrency"
    answer = await client.put(one, headers=headers, json={"max_concurrency": 7})
    assert (answer.status_code, answer.json()["max_concurrency"]) == (200, 7)
    assert (await client.put(one, headers=headers, json={"max_concurrency": 0})).status_code == 422


@pytest.mark.parametrize("verb", ["disable", "enable"])
async def test_only_a_maintainer_who_sees_it_may(client, as_, definition, other_repository, verb):
    path = f"{DEFINITIONS}/{definition.id}/{verb}"
    assert (await client.post(path, headers=await as_(Role.DEVELOPER))).status_code == 403
    bound = await as_(Role.MAINTAINER, repository_id=other_repository.id)
    assert (await client.post(path, headers=bound)).status_code == 404


async def test_who_asks_too_often_is_told_when_to_come_back(client, as_, door, definition):
    now = [0.0]
    door.submits.of_token, door.submits.of_organization, door.submits.clock = 2, 3, lambda: now[0]
    one, other = await as_(Role.DEVELOPER), await as_(Role.DEVELOPER)

    async def ask(headers):
        return await client.post(REQUESTS, headers=headers, json={"job_type": "ci"})

    assert [(await ask(one)).status_code for _ in range(3)] == [201, 201, 429]
    refused = await ask(one)
    assert refused.headers["retry-after"] == "30"
    assert refused.json()["detail"] == "With this token 2 jobs a minute may be asked for; ask again in 30 s."
    assert [(await ask(other)).status_code for _ in range(2)] == [201, 429]
    assert "organization 3 jobs a minute" in (await ask(other)).json()["detail"]
    now[0] += 30.0
    assert [(await ask(one)).status_code for _ in range(2)] == [201, 429]
    restart = await client.post(f"{REQUESTS}/1/restart", headers=one)
    assert restart.status_code == 429


def test_those_who_ask_no_more_are_forgotten(monkeypatch):
    monkeypatch.setattr("formicary.webhook.rates.MOST_KNOWN", 10)
    now = [0.0]
    submits = Submits(1, None, lambda: now[0])

    class Caller:
        organization_id = "default"

        def __init__(self, number):
            self.token_id = number

    for number in range(10):
        submits.take(Caller(number))
    now[0] += 61.0
    submits.take(Caller(10))
    assert len(submits._left) == 1


async def test_how_long_a_request_will_wait(client, as_, queen, make_request, door):
    headers, request = await as_(Role.VIEWER), await make_request()
    path = f"{REQUESTS}/{request.id}/wait_time"
    door.clock = lambda: 1_800_000_000.0
    queen.waits = Estimate(90.0, 2)
    answer = (await client.get(path, headers=headers)).json()
    assert (answer["seconds"], answer["ahead"], answer["begins_at"]) == (90.0, 2, "2027-01-15T08:01:30Z")
    assert answer["why"] == f"Request {request.id} waits for an ant."
    queen.waits = Estimate(None, 0, "none has completed yet")
    answer = (await client.get(path, headers=headers)).json()
    assert (answer["seconds"], answer["begins_at"], answer["why"]) == (None, None, "none has completed yet")
