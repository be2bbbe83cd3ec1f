"""The live pages over a real door: who sees what, the content policy, forms, streams."""

import re

import anyio
import pytest

from formicary.runner.core import logframes
from formicary.runner.core.records import Definition, Repository, Role
from formicary.runner.core.states import State
from formicary.runner.queen.changes import Change
from formicary.webhook.pages.routes import page_routes
from formicary.webhook.pages.streams import Watch


@pytest.fixture
def door(door):
    door.pages = page_routes(door)
    return door


@pytest.fixture
async def session(client, door):
    """A browser that has followed the login link."""
    answer = await client.get(door.login_link())
    assert answer.status_code == 303
    return client


def csrf(page):
    return re.search(r'name="csrf_token" value="([0-9a-f]+)"', page.text)[1]


async def test_pages_want_a_caller_and_static_files_do_not(client, definition):
    """T17: a page without a token leads to the login; styles and scripts are open."""
    assert (await client.get("/")).status_code in (303, 401)
    assert (await client.get("/requests/1")).status_code in (303, 401)
    style = await client.get("/static/formicary.css")
    assert style.status_code == 200 and style.headers["content-type"].startswith("text/css")
    assert (await client.get("/static/secret.txt")).status_code == 404


async def test_every_page_answers_under_a_policy_without_anything_inline(client, admin, make_request, make_execution):
    """T15: nothing inline can run, so an escape that was forgotten could not either."""
    request = await make_request(params={"GitCommitMessage": "<script>alert(1)</script>"})
    execution = await make_execution(request, State.FAILED)
    paths = ["/", "/repos/demo", "/repos/demo/jobs/ci", f"/requests/{request.id}", f"/tasks/{execution.id}-1/log"]
    for path in paths:
        page = await client.get(path, headers=admin)
        assert page.status_code == 200, path
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'") and "unsafe" not in policy
        assert "<script>alert" not in page.text
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script>|javascript:", page.text), path
        assert "https://" not in page.text and not re.search(r"http://(?!www\.w3\.org)", page.text)


async def test_a_fragment_is_the_inside_of_main(client, admin, definition):
    whole = (await client.get("/", headers=admin)).text
    fragment = (await client.get("/?fragment=1", headers=admin)).text
    assert "<html" not in fragment and fragment.strip() in whole


async def test_what_is_not_there_is_a_page_with_404(client, admin, definition):
    for path in ("/requests/999", "/repos/nobody", "/repos/demo/jobs/nothing", "/tasks/1-1/log", "/tasks/..%2f1/log"):
        answer = await client.get(path, headers=admin)
        assert answer.status_code == 404, path
    assert "Nothing here" in (await client.get("/requests/999", headers=admin)).text


async def test_no_address_at_all_is_a_page_for_browsers_and_a_document_for_programs(client, admin):
    browser = {**admin, "accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = await client.get("/nowhere", headers=browser)
    assert page.status_code == 404 and "Nothing here" in page.text and "overview" in page.text
    for path, headers in (("/nowhere", admin), ("/api/nowhere", browser)):
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"


async def test_a_token_of_one_repository_sees_nothing_of_another(
    client, as_, other_repository, make_request, make_execution
):
    """What belongs to another is 404 on pages, logs, streams and actions alike."""
    request = await make_request()
    execution = await make_execution(request)
    stranger = await as_(Role.ADMIN, repository_id=other_repository.id)
    log = f"/tasks/{execution.id}-1/log"
    for path in (f"/requests/{request.id}", "/repos/demo", "/repos/demo/jobs/ci", log, f"{log}/tail"):
        assert (await client.get(path, headers=stranger)).status_code == 404, path
    assert (await client.post(f"/requests/{request.id}/cancel", headers=stranger)).status_code == 404
    page = await client.get("/", headers=stranger)
    assert "other" in page.text and "demo" not in page.text


async def test_a_viewer_has_no_buttons_and_may_not_post(client, as_, make_request, queen):
    request = await make_request()
    viewer = await as_(Role.VIEWER)
    page = await client.get(f"/requests/{request.id}", headers=viewer)
    assert "/cancel" not in page.text
    assert (await client.post(f"/requests/{request.id}/cancel", headers=viewer)).status_code == 403
    assert queen.calls == []


async def test_cancel_wants_the_csrf_token_and_leads_back(session, make_request, queen):
    request = await make_request()
    page = await session.get(f"/requests/{request.id}")
    path = f"/requests/{request.id}/cancel"
    assert path in page.text
    assert (await session.post(path, data={})).status_code == 403 and queen.calls == []
    answer = await session.post(path, data={"csrf_token": csrf(page)})
    assert answer.status_code == 303 and answer.headers["location"] == f"/requests/{request.id}"
    assert queen.calls[0][:2] == ("cancel", request.id)
    again = await session.post(path, data={"csrf_token": csrf(page)})
    assert again.status_code == 409 and "ended already" in again.text


async def test_run_again_keeps_completed_tasks_only_when_asked(session, make_request, make_execution, queen):
    request = await make_request()
    await make_execution(request, State.FAILED)
    page = await session.get(f"/requests/{request.id}")
    for fields, failed in (({}, False), ({"failed": "1"}, True)):
        answer = await session.post(f"/requests/{request.id}/restart", data={"csrf_token": csrf(page), **fields})
        assert answer.status_code == 303
        assert queen.calls[-1][-1] is failed


async def test_a_job_is_asked_for_with_its_parameters(session, door, store, definition, queen):
    """Empty fields leave the default; the definition's text gives the form its fields."""
    text = (
        "job_type: deploy\nparams:\n  Where: {default: prod, enum: [prod, test]}\n  Count: {default: 3}\nscript: make\n"
    )

    def register(tx):
        version = tx.version(definition.version_id)
        version = tx.put_version(version.model_copy(update={"job_type": "deploy", "digest": "d2", "text": text}))
        tx.put_definition(
            Definition(
                id=0, repository_id=definition.repository_id, job_type="deploy", path="x.yml", version_id=version.id
            )
        )

    await store.write(register)
    page = await session.get("/repos/demo/jobs/deploy")
    assert (
        "<option selected>prod</option>" in page.text and 'name="param.Count" autocomplete="off" value="3"' in page.text
    )
    fields = {"csrf_token": csrf(page), "param.Where": "test", "param.Count": "5", "ref": ""}
    answer = await session.post("/repos/demo/jobs/deploy/run", data=fields)
    assert answer.status_code == 303
    ask = queen.asks[-1]
    assert (ask.job_type, ask.repository, ask.ref) == ("deploy", "demo", None)
    assert dict(ask.params) == {"Where": "test", "Count": 5}


async def test_names_with_slashes_have_pages(client, admin, store):
    made = await store.write(lambda tx: tx.put_repository(Repository(id=0, name="team/app", path="/src/app")))
    assert made.id and (await client.get("/repos/team/app", headers=admin)).status_code == 200


async def test_a_badge_is_open_for_public_repositories_only(client, admin, store, repository, make_request):
    await make_request(state=State.SKIPPED, reason="docs only")
    assert (await client.get("/badges/demo/ci.svg")).status_code == 404
    assert (await client.get("/badges/demo/ci.svg", headers=admin)).status_code == 200
    await store.write(lambda tx: tx.put_repository(repository.model_copy(update={"visibility": "public"})))
    answer = await client.get("/badges/demo/ci.svg")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("image/svg+xml")
    assert "ci: skipped" in answer.text


class Browser:
    """Reads a stream as an EventSource does: the events that came, until `stop` of them or the end."""

    def __init__(self, app, headers):
        self.app, self.headers = app, headers
        self.text, self.grew = "", anyio.Event()
        self.left = anyio.Event()

    async def open(self, path, query=""):
        asked = False

        async def receive():
            nonlocal asked
            if asked:
                await self.left.wait()
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            if message["type"] == "http.response.body":
                self.text += message["body"].decode()
                self.grew.set()
                self.grew = anyio.Event()

        headers = [(b"host", b"127.0.0.1:7777"), *((k.lower().encode(), v.encode()) for k, v in self.headers.items())]
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "scheme": "http",
            "server": ("127.0.0.1", 7777),
            "client": ("127.0.0.1", 5),
            "http_version": "1.1",
        }
        await self.app(scope, receive, send)

    async def until(self, part):
        with anyio.fail_after(10):
            while part not in self.text:
                await self.grew.wait()


async def test_a_page_hears_of_its_own_changes_only(app, admin, queen, make_request):
    mine, other = await make_request(), await make_request()
    browser = Browser(app, admin)
    async with anyio.create_task_group() as group:
        group.start_soon(browser.open, "/pages/events", f"request={mine.id}")
        await browser.until("hello")
        queen.changes.publish(Change("request", request_id=other.id))
        queen.changes.publish(Change("log", request_id=mine.id))
        queen.changes.publish(Change("task", request_id=mine.id))
        await browser.until("event: changed")
        browser.left.set()
    assert browser.text.count("event: changed") == 1


def test_what_a_page_watches():
    assert Watch(request_id=1).wants(Change("task", request_id=1))
    assert not Watch(request_id=1).wants(Change("log", request_id=1))
    assert Watch(repository_id=3).wants(Change("request", repository_id=3))
    assert not Watch(repository_id=3).wants(Change("request", repository_id=4))
    assert not Watch().wants(Change("task"))
    assert Watch(request_id=1).wants(Change("missed"))


async def test_a_log_grows_on_the_page_and_ends(app, admin, store, queen, make_request, make_execution):
    """D13: lines come as they are written, a line that is not whole waits, the end comes after the last byte."""
    request = await make_request()
    execution = await make_execution(request, State.EXECUTING)
    one = f"{execution.id}-1"

    def write(text):
        data = logframes.frame(1000.0, "out", text.encode())
        queen.logs.append(one, queen.logs.size(one), data)
        queen.changes.publish(Change("log", request_id=request.id, task_execution_id=one))

    browser = Browser(app, admin)
    write("first <b>\nsec")
    async with anyio.create_task_group() as group:
        group.start_soon(browser.open, f"/tasks/{one}/log/tail", "from=0-0-0")
        await browser.until("first &lt;b&gt;")
        assert "sec" not in browser.text.replace("second", "")
        write("ond\n::group::more\ninside\n::endgroup::\nlast")
        await browser.until("second")
        ended = execution.model_copy(
            update={
                "state": State.COMPLETED,
                "ended_at": 2000.0,
                "tasks": {
                    "build": execution.tasks["build"].model_copy(
                        update={
                            "state": State.COMPLETED,
                            "attempts": (
                                execution.tasks["build"].last.model_copy(
                                    update={"state": State.COMPLETED, "ended_at": 2.0}
                                ),
                            ),
                        }
                    )
                },
            }
        )
        await store.write(lambda tx: tx.save_execution(ended))
        queen.changes.publish(Change("task", request_id=request.id, task_execution_id=one))
    events = re.findall(r"^event: (\w+)", browser.text, re.M)
    assert events == ["lines", "lines", "endgroup", "group", "lines", "endgroup", "lines", "end"]
    ids = re.findall(r"^id: ([0-9-]+)", browser.text, re.M)
    again = Browser(app, {**admin, "Last-Event-ID": ids[0]})
    await again.open(f"/tasks/{one}/log/tail", "from=0-0-0")
    assert "first" not in again.text and "second" in again.text and "last" in again.text


async def test_streams_end_when_the_door_closes(app, admin, door, definition):
    browser = Browser(app, admin)
    async with anyio.create_task_group() as group:
        group.start_soon(browser.open, "/pages/events")
        await browser.until("hello")
        door.close()
