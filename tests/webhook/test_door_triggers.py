"""Webhook triggers over HTTP: proof first, the call on disk before it is answered, one request a cause."""

import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager
from urllib.parse import quote

import anyio
import httpx
import pytest

from formicary.cli.masterkey import MasterKey
from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.core.records import Secret
from formicary.webhook.app import build_app, build_hooks_app
from formicary.webhook.datafolder import first_start, read_admin_token
from formicary.webhook.parts import Door, Settings
from formicary.webhook.rates import TriggerRates

BASE = "http://127.0.0.1:7777"
KEY = "correct horse"
DEPLOY = """job_type: deploy
params: {Version: {pattern: "[0-9.]+"}}
triggers:
  webhook:
    name: deploy
    auth: hmac_sha256
    secret_config: DeployKey
    params: {Version: "{{ body.version }}", By: "{{ headers['x-by'] | default('nobody') }}"}
    filter: "{{ body.env == 'prod' }}"
    dedup_key: "{{ body.id | default(body.version) }}"
script: 'echo "$Version"'
"""
PLAIN = """job_type: plain
triggers:
  webhook: {name: run, auth: token, secret_config: DeployKey, rate_limit: {max: 2, window: 1m}}
script: make
"""


def signed(body, secret=KEY, header="X-Hub-Signature-256"):
    return {header: "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


class House:
    """A door over a real queen; `client` calls it as the internet would."""

    def __init__(self, hive, door, client):
        self.hive, self.door, self.client = hive, door, client

    async def call(self, fields, address="deploy/deploy", *, secret=KEY, kind="application/json", **headers):
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Content-Type": kind, **signed(body, secret), **headers}
        return await self.client.post(f"/hooks/trigger/{address}", content=body, headers=headers)

    async def settled(self, answer):
        """The delivery of an answer, once it was carried out."""
        number = answer.json()["delivery_id"]
        await self.hive.until(lambda: self.delivery(number).verdict != "accepted")
        return self.delivery(number)

    def delivery(self, number):
        return self.hive.store.read().delivery_by_id(number)

    def deliveries(self):
        return list(self.hive.store.read().deliveries().records)

    def of_triggers(self):
        return [one for one in self.hive.requests() if one.event == "webhook"]


@pytest.fixture
def open_house(open_hive, tmp_path, make_repo):
    @asynccontextmanager
    async def opened(*texts, secret=KEY, hooks=False, **limits):
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        key = MasterKey(data, {})
        async with open_hive(data, key=key) as hive:
            if not hive.store.read().repositories():
                repo = make_repo("demo")
                repo.commit({f".formicary/{n}.yml": text for n, text in enumerate(texts)})
                await hive.watch(repo)
            if secret:
                await hive.queen.secrets.put(Secret(name="DeployKey", **limits), secret)
            door = Door(
                store=hive.store,
                queen=hive.queen,
                reconciler=hive.reconciler,
                objects=DirectoryStore(data / "artifacts"),
                secrets=hive.queen.secrets,
                data=data,
                settings=Settings(url=BASE),
            )
            app = build_hooks_app(door) if hooks else build_app(door)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
                yield House(hive, door, client)

    return opened


async def test_a_call_makes_a_request_of_the_registered_definition(open_house):
    """D1: it is on disk when 202 is said. T6: what was sent is tainted."""
    async with open_house(DEPLOY) as house:
        answer = await house.call({"env": "prod", "version": "1.4", "id": 7}, X_By="ann", X_Api_Key="hush")
        assert answer.status_code == 202
        assert house.delivery(answer.json()["delivery_id"]).verdict in ("accepted", "handled")
        delivery = await house.settled(answer)
        (request,) = house.of_triggers()
        assert (delivery.verdict, delivery.request_ids) == ("handled", (request.id,))
        assert (delivery.forge, delivery.event) == ("trigger", "deploy/deploy")
        assert delivery.fact["headers"]["x-by"] == "ann"
        assert not {"x-api-key", "x-hub-signature-256"} & delivery.fact["headers"].keys()
        assert request.params["Version"] == "1.4" and request.params["By"] == "ann"
        assert {"Version", "By"} <= set(request.tainted)
        assert (request.event, request.ref, request.created_by) == ("webhook", "refs/heads/main", "webhook deploy")
        assert request.commit == house.hive.store.read().definition_named("deploy").commit


async def test_what_was_sent_becomes_no_code(open_house):
    """T6: in a script it is read as a variable; put into the text it is refused, unless it is a plain word."""
    text = PLAIN.replace("secret_config: DeployKey", "secret_config: DeployKey, params: {Who: '{{ body.who }}'}")
    async with open_house(text.replace("script: make", "script: 'echo {{ Who }}'")) as house, house.hive.ant() as ant:
        proof = {"Authorization": f"Bearer {KEY}"}
        await house.settled(await house.call({"who": "ann"}, "plain/run", **proof))
        order = await ant.claim()
        assert order.task.script == ("echo ann",)
        await ant.work(order)
        await house.settled(await house.call({"who": "$(id)"}, "plain/run", **proof))
        first, second = house.of_triggers()
        async with anyio.create_task_group() as group:
            group.start_soon(ant.claim)
            ended = await house.hive.ended(second.id)
            group.cancel_scope.cancel()
        assert house.hive.request(first.id).state == "COMPLETED" and ended.state == "FAILED"
        said = str(house.hive.execution(second.id))
        assert "holds what outsiders can write" in said and "$(id)" not in ended.error_message


async def test_one_request_a_key_whatever_the_delivery_is_called(open_house):
    """T10: generic triggers by dedup_key or id, never by body."""
    async with open_house(DEPLOY, PLAIN) as house:
        body = {"env": "prod", "version": "1", "id": 7}
        first = await house.settled(await house.call(body, X_Formicary_Delivery="a"))
        again = await house.call(body, X_Formicary_Delivery="a")
        assert again.status_code == 200
        assert again.json() == {"delivery_id": first.id, "duplicate": True, "request_ids": list(first.request_ids)}
        other = await house.settled(await house.call({**body, "version": "2"}, X_Formicary_Delivery="b"))
        assert (other.verdict, other.request_ids) == ("coalesced", first.request_ids)
        assert "same `dedup_key`" in other.reason
        assert len(house.of_triggers()) == 1
        for _ in range(2):
            await house.settled(await house.call({}, "plain/run", Authorization=f"Bearer {KEY}"))
        assert len(house.of_triggers()) == 3


async def test_what_the_filter_excludes_is_said_and_runs_when_it_is_wanted_after_all(open_house):
    async with open_house(DEPLOY) as house:
        answer = await house.call({"env": "test", "version": "1"})
        assert answer.status_code == 202
        delivery = house.delivery(answer.json()["delivery_id"])
        assert (delivery.verdict, delivery.reason) == ("ignored", "its filter says `false`, not `true`")
        assert house.of_triggers() == []


async def test_a_call_that_does_not_fit_is_answered_so_and_kept(open_house):
    async with open_house(DEPLOY) as house:
        for body, told in (({"env": "prod", "id": 1}, "no `version`"), ({}, "no `env`"), ([1], "`filter` cannot be")):
            answer = await house.call(body)
            assert answer.status_code == 422 and told in answer.json()["detail"]
            assert house.deliveries()[0].verdict == "refused" and told in house.deliveries()[0].reason
        delivery = await house.settled(await house.call({"env": "prod", "version": "$(rm)", "id": 2}))
        assert delivery.verdict == "refused" and "does not match" in delivery.reason
        assert house.of_triggers() == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": KEY},
        {"X-Hub-Signature-256": "sha256=é"},
        signed(b"{}", "wrong"),
        signed(b"{} "),
        {"Authorization": f"Bearer {KEY}"},
    ],
    ids=str,
)
async def test_without_proof_nothing_is_read(open_house, headers):
    """T9: fail closed; nothing of the call is on disk."""
    async with open_house(DEPLOY) as house:
        headers = {name: value.encode() for name, value in headers.items()}
        answer = await house.client.post("/hooks/trigger/deploy/deploy", content=b"{}", headers=headers)
        assert answer.status_code == 401 and house.deliveries() == []
        assert house.door.verdicts["bad_signature"] == 1


@pytest.mark.parametrize("address", ["deploy/other", "other/deploy", "elsewhere/deploy/deploy", "deploy/deploy"])
async def test_one_answer_for_everything_that_is_not_there(open_house, address):
    async with open_house(DEPLOY, secret="" if address == "deploy/deploy" else KEY) as house:
        answer = await house.call({}, address)
        assert answer.status_code == 401 and "No trigger here takes this call" in answer.json()["detail"]


async def test_a_trigger_without_its_secret_is_in_the_list_once_an_hour(open_house):
    """T9: no secret, no call; and whoever wonders finds the reason, and nothing of what was sent."""
    async with open_house(DEPLOY, secret="") as house:
        now = [1_800_000_000.0]
        house.door.clock = lambda: now[0]
        for later in (0, 60, 3600):
            now[0] += later
            assert (await house.call({"env": "prod"})).status_code == 401
        newest, oldest = house.deliveries()
        assert newest.verdict == oldest.verdict == "refused" and newest.body == ""
        assert "there is no secret `DeployKey`" in newest.reason


async def test_a_secret_for_other_branches_is_none(open_house):
    async with open_house(DEPLOY, branches=("release",)) as house:
        assert (await house.call({"env": "prod"})).status_code == 401
        assert "is not for its calls: it is for branches `release` only" in house.deliveries()[0].reason


async def test_a_rate_is_kept_by_the_second_and_duplicates_are_free(open_house):
    async with open_house(PLAIN) as house:
        now = [100.0]
        house.door.rates.clock = lambda: now[0]

        async def call(name):
            return await house.call({}, "plain/run", Authorization=f"bearer {KEY}", X_Formicary_Delivery=name)

        assert [(await call(name)).status_code for name in ("a", "a", "a", "b")] == [202, 200, 200, 202]
        now[0] += 20
        limited = await call("c")
        assert (limited.status_code, limited.headers["Retry-After"]) == (429, "40")
        now[0] += 40
        assert [(await call(name)).status_code for name in ("c", "d", "e")] == [202, 202, 429]


async def test_a_rate_outlives_the_process(open_house):
    async with open_house(PLAIN, DEPLOY) as house:
        proof = {"Authorization": f"Bearer {KEY}"}
        for _ in range(2):
            await house.settled(await house.call({}, "plain/run", **proof))
    async with open_house(secret="") as house:
        limited = await house.call({}, "plain/run", **proof)
        assert limited.status_code == 429 and 0 < int(limited.headers["Retry-After"]) <= 60
        house.door.clock = lambda: time.time() + 3600
        house.door.rates = TriggerRates()
        assert (await house.call({}, "plain/run", **proof)).status_code == 202


@pytest.mark.parametrize("header", ["X-Key", ""])
async def test_a_token_in_a_header_of_its_own(open_house, header):
    text = PLAIN.replace("auth: token", f"auth: token, header: {header or 'Authorization'}")
    async with open_house(text) as house:
        good = await house.client.post("/hooks/trigger/plain/run", headers={header or "Authorization": KEY})
        assert good.status_code == 202
        bad = await house.client.post(f"/hooks/trigger/plain/run?key={KEY}", headers={"X-Other": KEY})
        assert bad.status_code == 401


async def test_a_form_is_read_too(open_house):
    async with open_house(DEPLOY) as house:
        form = f"env=prod&version=3&id=x&more={quote('a b')}&more=c".encode()
        await house.settled(await house.call(form, kind="application/x-www-form-urlencoded; charset=utf-8"))
        assert house.of_triggers()[0].params["Version"] == "3"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"a": NaN}', "application/json", 400),
        (b'{"env": "\\ud800"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"1" * 5000, "application/json", 400),
        (b"<x/>", "text/xml", 415),
        (b"&".join([b"a=1"] * 2000), "application/x-www-form-urlencoded", 400),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_body_that_nobody_can_read_is_refused_and_not_kept(open_house, body, kind, status):
    async with open_house(DEPLOY) as house:
        answer = await house.call(body, kind=kind)
        assert answer.status_code == status, answer.text
        assert house.deliveries() == []


async def test_two_repositories_with_the_same_job(open_house, make_repo):
    """The secret decides whose call it is, and the address where it does not."""
    async with open_house(DEPLOY) as house:
        repo = make_repo("other")
        repo.commit({".formicary/deploy.yml": DEPLOY})
        other = await house.hive.watch(repo)
        body = {"env": "prod", "version": "1", "id": 1}
        both = await house.call(body)
        assert both.status_code == 409 and "/hooks/trigger/REPOSITORY/deploy/deploy" in both.json()["detail"]
        await house.settled(await house.call(body, "other/deploy/deploy"))
        await house.settled(await house.call(body, f"{other.id}/deploy/deploy", X_Formicary_Delivery="2"))
        assert [one.repository_id for one in house.of_triggers()] == [other.id]
        await house.hive.queen.secrets.put(Secret(name="DeployKey", repository_id=other.id), "its own")
        await house.settled(await house.call({**body, "id": 2}, secret="its own"))
        await house.settled(await house.call({**body, "id": 2}))
        assert [one.repository_id for one in house.of_triggers()] == [other.id, other.id, 1]


async def test_what_was_accepted_is_carried_out_after_a_start(open_house, monkeypatch):
    """D1: everything after 202 is resumed from disk."""
    async with open_house(DEPLOY) as house:
        house.door.reconciler = type("Deaf", (), {"wake": lambda self, id_: None})()
        answer = await house.call({"env": "prod", "version": "1", "id": 1})
        assert answer.status_code == 202 and house.of_triggers() == []
    async with open_house(DEPLOY, secret="") as house:
        await house.settled(answer)
        assert len(house.of_triggers()) == 1


@pytest.fixture
def admin_of():
    """A token's header for a house, as its first start makes one."""

    async def make(house):
        await first_start(house.door.data, house.hive.store)
        return {"Authorization": f"Bearer {read_admin_token(house.door.data)}"}

    return make


async def test_a_replay_makes_no_second_request_of_its_cause(open_house, admin_of):
    async with open_house(DEPLOY.replace('    dedup_key: "{{ body.id | default(body.version) }}"\n', "")) as house:
        delivery = await house.settled(await house.call({"env": "prod", "version": "1"}))
        path = f"/api/deliveries/{delivery.id}/replay"
        assert (await house.client.post(path, headers=await admin_of(house))).status_code == 202
        await house.hive.until(lambda: house.delivery(delivery.id).verdict != "accepted")
        assert house.delivery(delivery.id) == delivery and len(house.of_triggers()) == 1


async def test_a_call_that_was_refused_unread_cannot_be_replayed(open_house, admin_of):
    async with open_house(DEPLOY, secret="") as house:
        await house.call({"env": "prod", "version": "1"})
        path = f"/api/deliveries/{house.deliveries()[0].id}/replay"
        answer = await house.client.post(path, headers=await admin_of(house))
        assert answer.status_code == 409 and "Nobody has proven" in answer.json()["detail"]


async def test_a_disabled_job_says_so(open_house):
    async with open_house(DEPLOY) as house:
        definition = house.hive.store.read().definition_named("deploy")
        off = definition.model_copy(update={"disabled": True})
        await house.hive.store.write(lambda tx: tx.put_definition(off))
        answer = await house.call({"env": "prod", "version": "1"})
        assert house.delivery(answer.json()["delivery_id"]).reason == "`deploy` is disabled"


async def test_the_example_does_what_it_says(open_house, request):
    """examples/.formicary/webhook.yml, called as its head tells it."""
    text = (request.config.rootpath / "examples" / ".formicary" / "webhook.yml").read_text("utf-8")
    async with open_house(text) as house:
        body = b'{"id": 7, "env": "prod", "version": "1.4"}'
        proof = signed(body, header="X-Signature")
        await house.settled(await house.call(body, "webhook/deploy", X_Sender="ann", **proof))
        (request,) = house.of_triggers()
        assert (request.params["Version"], request.params["Who"]) == ("1.4", "ann")


async def test_hooks_on_a_listener_of_their_own(open_house):
    async with open_house(DEPLOY, hooks=True) as house:
        assert (await house.call({"env": "prod", "version": "1"}, Host="ci.example")).status_code == 202
